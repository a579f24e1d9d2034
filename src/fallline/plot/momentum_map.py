"""How fast a descent converges for each learning rate and momentum, and beside it the way one of them went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import ShapeError
from fallline.plot._shared import ACCENT, INK, MUTED, decade_label, envelope, legend_above, logarithmic, room_of
from fallline.plot.display import Display, labels, path_of

if TYPE_CHECKING:
    from fallline.landscape.momentum import Convergence, PredictedPath

_RATES, _MOMENTA = 601, 361  # points of the map
_DECADES = 2.5  # of learning rates below the largest stable one
_BEYOND = 2.0  # times it: where the map ends
_MOST_MOMENTUM = 0.99  # at the top of the map, unless a pair needs more
_NEAREST = 1.0 - 1e-12  # to a momentum of 1, which an axis may be asked for
_SLOWEST = 100.0  # times the fewest steps: what is slower still has one shade
_TICKS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9998, 0.9999)
_MAP, _BESIDE, _HEIGHT = 6.6, 5.0, 4.6  # inches


@dataclass(eq=False)
class MomentumMapDisplay(Display):
    """Steps that reduce the distance from a minimum to a tenth, for each learning rate and momentum: darker is slower.

    ``learning_rates`` (a,), per row; ``momenta`` (b,); ``steps`` (b, a), infinite where the descent diverges; ``limit`` (b,),
    the largest stable rate for each momentum. ``best``: rate and momentum that need the fewest steps, ``best_steps``;
    ``taken``: pairs to mark, by name. ``nesterov``: whether the map is of Nesterov's form, else of the heavy ball. A momentum
    of 0 is plain descent. ``left_out`` of ``directions`` were too flat to count. ``beside``: a descent as it went and as the
    curvature predicts it, drawn to the right.

    After `plot`: ``axes_`` {"map": Axes, "error": Axes where there is a path}; ``contours_``, ``limit_``, ``best_``,
    ``taken_`` {name: Line2D}, ``lines_`` {"measured", "predicted"}, ``colorbar_``; ``figure_``; ``ax_``, whose room they share.
    """

    learning_rates: np.ndarray
    momenta: np.ndarray
    steps: np.ndarray
    limit: np.ndarray
    best: tuple[float, float]
    best_steps: float
    taken: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    nesterov: bool = False
    left_out: int = 0
    directions: int = 0
    beside: PredictedPath | None = None

    def __post_init__(self) -> None:
        shape = (len(self.momenta), len(self.learning_rates))
        if np.shape(self.steps) != shape or np.shape(self.limit) != shape[:1]:
            raise ShapeError(
                f"steps have shape {np.shape(self.steps)} and the limit {np.shape(self.limit)}; expected {shape} and "
                f"{shape[:1]}: momenta by learning rates."
            )

    @classmethod
    def from_convergence(
        cls,
        convergence: Convergence,
        *,
        nesterov: bool = False,
        taken: Mapping[str, tuple[float, float]] | None = None,
        beside: PredictedPath | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw what a ``Convergence`` predicts, with the pairs ``taken`` marked by their names."""
        taken = dict(taken or {})
        best = convergence.best("Nesterov" if nesterov else "heavy ball")
        pairs = np.array([(best.learning_rate, best.momentum), *taken.values()], np.float64)
        most = max(_MOST_MOMENTUM, 1.0 - 0.3 * (1.0 - float(pairs[:, 1].max())))
        # Evenly in ln(1 − β): what a momentum remembers is 1/(1 − β) steps.
        momenta = 1.0 - np.geomspace(1.0, 1.0 - most, _MOMENTA)
        limit = np.asarray(convergence.limit(momenta, nesterov))
        low = min(10.0**-_DECADES * limit.max(), 0.5 * pairs[:, 0].min())
        high = max(_BEYOND * limit.max(), 1.3 * pairs[:, 0].max())
        rates = np.geomspace(low, high, _RATES)
        steps = convergence.steps_per_decade(rates, momenta[:, None], nesterov)
        fewest = float(convergence.steps_per_decade(best.learning_rate, best.momentum, nesterov))
        display = cls(
            rates, momenta, steps, limit, (float(pairs[0, 0]), float(pairs[0, 1])), fewest, taken, nesterov,
            convergence.left_out, len(convergence.eigenvalues), beside,
        )  # fmt: skip
        return display.plot(ax, **plot_kw)

    @classmethod
    def from_path(
        cls,
        path: Any,
        rows: Any,
        *,
        minimum: Any = None,
        nesterov: bool | None = None,
        from_step: int | str = "auto",
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw the map at the minimum of a path over the ``InMemory`` rows it descended on.

        Where the path is of a ``GradientDescent``, its pair is marked and its error stands beside the predicted one, from
        ``from_step`` on; "auto": from where the surface is its local quadratic. minimum (p,): the weights of the minimum
        where the path did not go all the way; its best weights otherwise. nesterov: of which method the map is, where
        the path does not say. Raises FalllineError where the weights are no minimum, SettingsError for a rate found on the way.
        """
        from fallline.descent.gradient import GradientDescent
        from fallline.landscape.momentum import Convergence  # only here: the numbers may come from elsewhere

        convergence = Convergence.of_path(path, rows, minimum)
        beside, taken = None, {}
        if isinstance(path.descent, GradientDescent):
            beside = convergence.predict_path(path, from_step)
            rate, momentum = float(beside.descent.learning_rate), float(beside.descent.momentum)
            taken = {f"taken ({rate:.3g}, {momentum:.3g})": (rate, momentum)}
            nesterov = beside.descent.nesterov if momentum else nesterov
        return cls.from_convergence(convergence, nesterov=bool(nesterov), taken=taken, beside=beside, ax=ax, **plot_kw)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, sample_weight: Any = None, *, ax: Any = None, **plot_kw: Any
    ) -> Self:
        """Draw the map of ``estimator.path_`` over the rows it was fitted to; rates and weights are those of scaled units."""
        rows = estimator.descended_rows(X, y, sample_weight)
        return cls.from_path(path_of(estimator), rows, ax=ax, **plot_kw)

    def plot(self, ax: Any = None, *, cmap: Any = "cividis_r", color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into the room of ``ax``, or into a new figure: what was measured in ``color``, what is predicted in ``accent``."""
        ax = self._into(ax, figsize=(_MAP + (_BESIDE if self.beside is not None else 0.0), _HEIGHT))
        self.axes_ = _divided(ax, self.beside is not None)
        self._plot_map(self.axes_["map"], cmap, accent)
        self.lines_: dict[str, Any] = {}
        if self.beside is not None:
            self._plot_beside(self.axes_["error"], self.beside, color, accent)
        return self

    def _plot_map(self, ax: Any, cmap: Any, accent: Any) -> None:
        import matplotlib as mpl

        rates, momenta, levels = self.learning_rates, self.momenta, levels_of(self.best_steps)
        # A hair inside the limit steps grow without bound and outside there are none: the line alone says where it diverges.
        drawn = np.minimum(self.steps, 2.0 * levels[-1])
        colors = mpl.colormaps.get_cmap(cmap)(np.linspace(0.0, 1.0, len(levels) + 1))
        self.contours_ = ax.contourf(rates, momenta, drawn, levels=levels, colors=colors, extend="both")
        ax.contour(rates, momenta, drawn, levels=levels, colors="white", linewidths=0.5, alpha=0.6)
        (self.limit_,) = ax.plot(self.limit, momenta, color=INK, linewidth=1.6)
        hatched = {"facecolor": "#f4f4f4", "edgecolor": "#c8c8c8", "hatch": "///", "linewidth": 0.0}
        self.diverges_ = ax.fill_betweenx(momenta, self.limit, rates[-1], **hatched)
        _scaled(ax, rates, momenta)
        ax.set_ylabel("momentum, Nesterov's form" if self.nesterov else "momentum, heavy ball")
        (self.best_,) = _marked(ax, self.best, "black", "o", f"best ({self.best[0]:.3g}, {self.best[1]:.3g})")
        self.taken_ = {name: _marked(ax, pair, accent, "X", name)[0] for name, pair in self.taken.items()}
        middle = len(momenta) // 2
        ax.text(
            np.sqrt(self.limit[middle] * rates[-1]), momenta[middle], "diverges", rotation=90, ha="center", va="center",
            color=INK, bbox={"facecolor": "#f4f4f4", "edgecolor": "none", "pad": 2.0},
        )  # fmt: skip
        self.colorbar_ = ax.figure.colorbar(self.contours_, ax=ax, pad=0.02)
        flat = f"\n{self.left_out} of {self.directions} directions are too flat to count"
        self.colorbar_.set_label(f"steps to a tenth of the distance{flat * bool(self.left_out)}")
        self.colorbar_.set_ticks(levels, labels=[f"{level:,g}" for level in levels])
        legend_above(ax)

    def _plot_beside(self, ax: Any, beside: PredictedPath, color: Any, accent: Any) -> None:
        curves = {
            "measured": (beside.measured, {"color": color, "linewidth": 1.2}),
            "predicted": (beside.predicted, {"color": accent, "linewidth": 1.6, "linestyle": (0, (4, 2))}),
        }
        for name, (values, style) in curves.items():
            at = envelope(values)
            (self.lines_[name],) = ax.plot(beside.steps[at], values[at], label=name, **style)
        logarithmic(ax, beside.measured)
        if beside.from_step > beside.steps[0]:
            label = f"from step {beside.from_step}"
            ax.axvline(beside.from_step, color=MUTED, linewidth=1.0, linestyle=(0, (1, 1.5)), label=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        labels(ax, "step", "error per row above the minimum")
        legend_above(ax)


def levels_of(fewest: float) -> np.ndarray:
    """Round numbers of steps, 1, 2, 5, 10, …, from the fewest there are to a hundred times that."""
    least = max(fewest, 1.0)
    powers = 10.0 ** np.arange(int(np.log10(least)), int(np.log10(least)) + 4)
    rounds = np.outer(powers, [1.0, 2.0, 5.0]).ravel()
    return rounds[(rounds >= least) & (rounds <= _SLOWEST * least)]


def _scaled(ax: Any, rates: np.ndarray, momenta: np.ndarray) -> None:
    """A logarithmic axis of rates; an axis of momenta even in ln(1 − β): what a momentum remembers is 1/(1 − β) steps."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    ax.set_xscale("log")
    ax.set_xlim(rates[0], rates[-1])
    ax.xaxis.set_major_locator(LogLocator(numticks=8))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: decade_label(value)))
    ax.set_yscale("function", functions=(lambda b: -np.log1p(-np.minimum(b, _NEAREST)), lambda t: -np.expm1(-t)))
    ax.set_ylim(0.0, momenta[-1])
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if tick <= momenta[-1]]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("learning rate, per row")


def _marked(ax: Any, pair: tuple[float, float], color: Any, marker: str, label: str) -> Any:
    return ax.plot(
        *pair, color=color, marker=marker, markersize=9, markeredgecolor="white", linestyle="", zorder=4, clip_on=False,
        label=label,
    )  # fmt: skip


def _divided(ax: Any, with_error: bool) -> dict[str, Any]:
    """The room of one Axes: for the map alone, or for the map and the error beside it."""
    if not with_error:
        return {"map": ax}
    space = 0.45 if ax.figure.get_layout_engine() is None else 0.06
    grid = room_of(ax, nrows=1, ncols=2, width_ratios=[_MAP, _BESIDE], wspace=space)
    return {"map": ax.figure.add_subplot(grid[0, 0]), "error": ax.figure.add_subplot(grid[0, 1])}
