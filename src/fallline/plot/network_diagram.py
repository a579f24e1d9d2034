"""The network drawn: units in layers, a line for each weight, as wide as the weight is large."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.plot._shared import ACCENT, INK, MUTED
from fallline.plot.display import Display, is_saved

_MOST_WEIGHTS, _MOST_LAYERS = 100_000, 8  # that a diagram is drawn of at all
_WIDEST = 4.0  # points, the largest weight
_USUAL = 8.0  # medians of |weight|: lines grow up to there
_HAIRLINE = 0.2  # the smallest: dashes are as long as lines are wide, and of width 0 they never end
_APART = 2.0  # rows of the tallest layer: no layer is spread further
_DASHES = (0, (2.2, 1.1))
_LETTER = 0.6  # of the size of a font, the width of a letter

Places: TypeAlias = dict[tuple[int, int], tuple[float, float]]  # (layer, unit) → (x, y); unit −1 is the bias


class Connection(NamedTuple):
    """One weight: from unit ``source`` (−1: the bias) of layer ``layer`` to unit ``target`` of the next."""

    layer: int
    source: int
    target: int
    weight: float


@dataclass(eq=False)
class NetworkDiagramDisplay(Display):
    """A network as a drawing: ``coefs`` (inputs, outputs) of each layer and ``intercepts`` (outputs,), None without biases.

    Lines are as wide as ``|weight|`` is large, on one scale throughout; positive ones are solid, negative ones dashed and in the
    accent. ``activations`` names f of each layer but the inputs; ``units_of`` says in words what units the weights are in.
    Raises ShapeError where layers do not fit each other, SettingsError beyond 100 000 weights or 8 layers of weights.

    After `plot`: ``ax_``, ``figure_``, ``positive_`` and ``negative_`` (LineCollection), ``units_`` and ``biases_``
    (Line2D of each layer), ``labels_`` (Text of inputs, then outputs), ``connections_`` (what is drawn, the largest
    last), ``shown_`` (unit numbers of each layer), ``widest_`` (the ``|weight|`` of the widest line; a few may be larger),
    ``left_out_`` (how many weights are not drawn).
    """

    coefs: Sequence[np.ndarray]
    intercepts: Sequence[np.ndarray] | None = None
    input_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None
    activations: Sequence[str] | None = None
    units_of: str = ""

    def __post_init__(self) -> None:
        self.coefs = [np.asarray(coef, np.float64) for coef in self.coefs]
        if not self.coefs or any(coef.ndim != 2 for coef in self.coefs):
            raise ShapeError("coefs must be a list of matrices (inputs, outputs), one for each layer.")
        for below, above in itertools.pairwise(self.coefs):
            if below.shape[1] != above.shape[0]:
                raise ShapeError(
                    f"a layer of coefficients {below.shape} is followed by one of {above.shape}; expected as many inputs as "
                    "the layer before has outputs."
                )
        if self.intercepts is not None:
            self.intercepts = [np.asarray(intercept, np.float64) for intercept in self.intercepts]
            shapes = [(coef.shape[1],) for coef in self.coefs]
            if [intercept.shape for intercept in self.intercepts] != shapes:
                raise ShapeError(
                    f"intercepts have the shapes {[intercept.shape for intercept in self.intercepts]}; expected {shapes}."
                )
        for what, names, count in (
            ("input_names", self.input_names, self.sizes[0]),
            ("output_names", self.output_names, self.sizes[-1]),
            ("activations", self.activations, len(self.coefs)),
        ):
            if names is not None and len(names) != count:
                raise ShapeError(f"{what} has {len(names)} names; expected {count}.")
        if self.n_weights > _MOST_WEIGHTS or len(self.coefs) > _MOST_LAYERS:
            raise SettingsError(
                f"a diagram of {self.n_weights:,} weights in {len(self.coefs)} layers would show nothing: up to "
                f"{_MOST_WEIGHTS:,} weights and {_MOST_LAYERS} layers can be drawn. Look at what it predicts, with "
                "PredictionMapDisplay."
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer, inputs and outputs included."""
        return (self.coefs[0].shape[0], *(coef.shape[1] for coef in self.coefs))

    @property
    def n_weights(self) -> int:
        """The number of weights, biases included."""
        return sum(coef.size for coef in self.coefs) + sum(map(len, self.intercepts or ()))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        scaled: bool = True,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a fitted ``NetworkRegressor``, ``FittedNetwork`` or ``SavedModel``, or scikit-learn's ``MLPRegressor``.

        Weights are those between standardised inputs and targets, where they compare with each other; ``scaled=False`` draws
        them in the user's units, as ``coefs_`` has them. Of a fit that averages several networks one is drawn, the start shown.
        X is accepted for the convention and not used; of y only the names of the targets.
        """
        saved = is_saved(estimator)
        columns = estimator.columns if saved else getattr(estimator, "columns_", None)
        fitted = estimator.fitted if saved else getattr(estimator, "_fitted", estimator)
        if input_names is None and columns is not None:
            input_names = columns.encoded_names
        elif input_names is None:
            input_names = getattr(estimator, "feature_names_in_", None)
        if hasattr(fitted, "scaling"):
            one = fitted.alone()
            network, bias = one.network, one.network.bias
            layers = network.layers(one.weights) if scaled else one.layers
            coefs, intercepts = (
                [layer.coef for layer in layers],
                [layer.intercept for layer in layers] if bias else None,
            )
            hidden, last = network.activation, network.output_activation
            input_names = fitted.input_names(input_names) if scaled else input_names
            units = "between standardised inputs and targets" if scaled else "in the units of inputs and targets"
            averaged = sum(len(part.starts) for part in fitted.parts) if network != fitted.network else 1
            units += f", one of {averaged} networks averaged" if averaged > 1 else ""
        else:
            coefs, intercepts, units = estimator.coefs_, estimator.intercepts_, ""
            hidden, last = estimator.activation, estimator.out_activation_
        if output_names is None:
            output_names = _names_of_outputs(estimator, columns if saved else None, y, coefs[-1].shape[1])
        activations = [*[hidden] * (len(coefs) - 1), last]
        return cls(coefs, intercepts, input_names, output_names, activations, units).plot(ax, **plot_kw)

    def connections(self, shown: Sequence[np.ndarray] | None = None) -> Iterator[Connection]:
        """Every weight between the units ``shown`` of each layer, all by default; biases too."""
        shown = [np.arange(size) for size in self.sizes] if shown is None else shown
        for layer, coef in enumerate(self.coefs):
            for target in shown[layer + 1].tolist():
                for source in shown[layer].tolist():
                    yield Connection(layer, source, target, float(coef[source, target]))
                if self.intercepts is not None:
                    yield Connection(layer, -1, target, float(self.intercepts[layer][target]))

    def plot(
        self,
        ax: Any = None,
        *,
        at_most: int = 400,
        units_at_most: int = 30,
        color: Any = INK,
        accent: Any = ACCENT,
        muted: Any = MUTED,
    ) -> Self:
        """Draw into ``ax``: at most so many weights, the largest, and of each layer so many units, those of largest weights.

        What is not drawn is counted above the picture.
        """
        from matplotlib.collections import LineCollection

        self.shown_ = [self._largest_units(layer, units_at_most) for layer in range(len(self.sizes))]
        rows = max(len(shown) for shown in self.shown_) + (self.intercepts is not None)
        size = (min(2.4 + 2.2 * len(self.coefs), 14.0), min(max(0.24 * rows + 1.2, 3.2), 9.0))
        ax = self._into(ax, figsize=size)
        connections = sorted(self.connections(self.shown_), key=lambda each: abs(each.weight))
        self.connections_ = connections[-at_most:]
        self.left_out_ = self.n_weights - len(self.connections_)
        places = self._places(rows)
        self.widest_ = self._widest()
        for name, sign, ink, style in (("positive_", 1, color, "solid"), ("negative_", -1, accent, _DASHES)):
            drawn = [each for each in self.connections_ if sign * each.weight > 0]
            widths = [_WIDEST * abs(each.weight) / self.widest_ for each in drawn]
            lines = LineCollection(
                [[places[each.layer, each.source], places[each.layer + 1, each.target]] for each in drawn],
                linewidths=np.clip(widths, _HAIRLINE, _WIDEST), colors=ink, linestyles=[style], alpha=0.8,
                zorder=1 + (sign < 0) / 2,
            )  # fmt: skip
            ax.add_collection(lines)
            setattr(self, name, lines)
        self._plot_units(ax, places, rows, color, muted)
        self._plot_legend(ax, color, accent, muted)
        return self

    def _widest(self) -> float:
        """The |weight| of the widest line: the largest, unless a few, such as the bias of a saturated unit, dwarf all others."""
        sizes = np.abs([each.weight for each in self.connections_])
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        if not sizes.size:
            return 1.0
        usual = _USUAL * float(np.median(sizes))
        return float(sizes.max()) if sizes.max() <= usual else usual

    def _largest_units(self, layer: int, at_most: int) -> np.ndarray:
        """The units of a layer to draw, in order: all, or those with the largest weights in and out."""
        size = self.sizes[layer]
        if size <= at_most:
            return np.arange(size)
        strength = np.zeros(size)
        if layer > 0:
            strength += (self.coefs[layer - 1] ** 2).sum(axis=0)
        if layer < len(self.coefs):
            strength += (self.coefs[layer] ** 2).sum(axis=1)
        return np.sort(np.argsort(-strength, kind="stable")[:at_most])

    def _places(self, rows: int) -> Places:
        """Layers side by side, each centred, the bias below its layer."""
        places = {}
        for layer, shown in enumerate(self.shown_):
            units = [*shown.tolist(), *([-1] if self._has_bias(layer) else [])]
            apart = min((rows - 1) / max(len(units) - 1, 1), _APART)
            for place, unit in enumerate(units):
                places[layer, unit] = (float(layer), (0.5 * (len(units) - 1) - place) * apart)
        return places

    def _has_bias(self, layer: int) -> bool:
        return self.intercepts is not None and layer < len(self.coefs)

    def _plot_units(self, ax: Any, places: Places, rows: int, color: Any, muted: Any) -> None:
        box, dpi = ax.get_window_extent(), ax.figure.dpi
        width, row = box.width * 72 / dpi, max(box.height * 72 / dpi - 30.0, 30.0) / (rows + 0.2)
        size, letters = float(np.clip(0.62 * row, 3.0, 15.0)), float(np.clip(0.8 * row, 5.0, 10.0))
        paper = ax.get_facecolor()
        style: dict[str, Any] = {"linestyle": "", "markersize": size, "markeredgecolor": color, "zorder": 3}
        self.units_, self.biases_ = [], []
        top = 0.5 * (rows - 1) + 0.6
        last = len(self.coefs)
        for layer, shown in enumerate(self.shown_):
            at = np.array([places[layer, unit] for unit in shown.tolist()])
            self.units_ += ax.plot(*at.T, marker="o", markerfacecolor=paper, **style)
            if self._has_bias(layer):
                at = np.array([places[layer, -1]])
                self.biases_ += ax.plot(*at.T, marker="s", markerfacecolor=muted, **style)
            side = "right" if layer == 0 else "left" if layer == last else "center"
            words = {"va": "bottom", "color": muted, "fontsize": "small", "parse_math": False}
            ax.text(layer, top, self._caption(layer), ha=side, **words)
        names = {
            layer: [f"{letter}{i + 1}" for i in range(self.sizes[layer])] if given is None else list(given)
            for layer, letter, given in ((0, "x", self.input_names), (last, "y", self.output_names))
        }
        self.labels_ = []
        for layer, sign, side in ((0, -1, "right"), (last, 1, "left")):
            for unit in self.shown_[layer].tolist():
                self.labels_.append(
                    ax.annotate(
                        str(names[layer][unit]), places[layer, unit], xytext=(sign * (0.5 * size + 4), 0), ha=side, va="center",
                        textcoords="offset points", fontsize=letters, parse_math=False,
                    )
                )  # fmt: skip
        # Room for the names inside the Axes: a figure without a layout engine would cut them.
        left, right = (
            min(0.4, (max(len(str(name)) for name in each) * _LETTER * letters + size + 8) / width)
            for each in (names[0], names[last])
        )
        span = last / max(1.0 - left - right, 0.1)
        ax.set_xlim(-left * span, last + right * span)
        ax.set_ylim(-top, top + 30.0 / row)  # two lines of captions
        ax.set_axis_off()

    def _caption(self, layer: int) -> str:
        size, shown = self.sizes[layer], len(self.shown_[layer])
        last = len(self.coefs)
        what = "input" if layer == 0 else "output" if layer == last else "unit"
        activation = self.activations[layer - 1] if self.activations and layer else "identity"
        kind = "" if activation == "identity" else f"{activation} "
        between = "\n" if 0 < layer < last and kind else ""
        caption = f"{size} {kind.strip() if between else kind}{between}{what}{'s' if size > 1 else ''}"
        return caption if shown == size else f"{shown} drawn of\n{caption}".replace("\nunits", " units")

    def _plot_legend(self, ax: Any, color: Any, accent: Any, muted: Any) -> None:
        from matplotlib.lines import Line2D

        size = f"{self.widest_:.2g}"
        cut = any(abs(each.weight) > self.widest_ for each in self.connections_)
        wide: dict[str, Any] = {"xdata": [], "ydata": [], "linewidth": _WIDEST}
        handles = [
            Line2D(**wide, color=color, label=f"+{size}{' or more' * cut}"),
            Line2D(**wide, color=accent, linestyle=_DASHES, label=f"−{size}{' or less' * cut}"),
        ]
        if self.intercepts is not None:
            square = {"marker": "s", "markerfacecolor": muted, "markeredgecolor": color, "linestyle": ""}
            handles.append(Line2D([], [], **square, label="bias"))
        largest = f"the {len(self.connections_):,} largest of {self.n_weights:,} "
        title = f"{largest if self.left_out_ else ''}weights {self.units_of}".strip()
        legend = ax.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False, fontsize="small",
            handlelength=3.2, columnspacing=1.2, borderaxespad=0.2, title=title, title_fontsize="small",
        )  # fmt: skip
        legend.get_title().set_color(muted)


def _names_of_outputs(estimator: Any, columns: Any, y: Any, outputs: int) -> list[str] | None:
    """What the outputs are called: by the targets of a table or the names of y, with the class where there are several."""
    targets = getattr(columns, "targets", None)
    if targets is None and y is not None:
        name = getattr(y, "name", None)
        targets = [name] if isinstance(name, str) else getattr(y, "columns", None)
    classes = getattr(columns, "classes", None) or getattr(estimator, "classes_", None)
    if classes is None or not len(classes):
        names = None if targets is None else [str(name) for name in targets]
    else:
        of = "" if targets is None else f"{targets[0]}="
        names = [f"{of}{name}" for name in (classes if outputs > 1 else classes[1:])]
    return names if names is not None and len(names) == outputs else None
