"""The way of a descent, step by step: error, gradient and the descent's own numbers; the walk itself where it is flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from fallline.exceptions import ShapeError
from fallline.landscape.planes import alike
from fallline.plot._shared import ACCENT, INK, MUTED, envelope, labelled, legend_above, logarithmic, room_of
from fallline.plot.display import Display, errors_per_row, labels, one_for_each, path_of

_LINEAR = ("momentum", "effective_weights", "log_evidence")  # numbers of a descent that span no decades
_POINTS = 100  # a walk of so few steps shows each of them
_PANEL, _WIDTH, _WALK = 1.5, 6.4, 5.0  # inches


@dataclass(eq=False)
class PathDisplay(Display):
    """The training state over the steps (m,), in panels one below the other, each (m,) values.

    ``error_per_row``: E/n by the name of its rows; ``gradient_norm``: of the gradient per row; ``shown``: the numbers of
    the descent itself, such as its learning rate. ``best_step``: the step whose weights were kept. ``walk`` (k, 2):
    where the network has two weights, the way in their plane, beside the panels; ``weight_names`` are the two. ``to_scale``:
    whether the two are alike, as the weights of a neuron, and not parameters of a curve, each with a unit of its own.
    Errors and weights are those descended, in scaled units for the estimators.

    After `plot`: ``axes_`` {panel: Axes} and ``lines_`` {panel: {name: Line2D}} with the panels "error",
    "gradient_norm", each name of ``shown``, and "walk"; ``figure_``; ``ax_``, the Axes whose room they share.
    """

    steps: np.ndarray
    error_per_row: Mapping[str, np.ndarray]
    gradient_norm: np.ndarray
    shown: Mapping[str, np.ndarray] = field(default_factory=dict)
    best_step: int | None = None
    walk: np.ndarray | None = None
    weight_names: Sequence[str] = ("first", "second")
    to_scale: bool = True

    def __post_init__(self) -> None:
        self.steps, self.gradient_norm = np.asarray(self.steps), np.asarray(self.gradient_norm)
        self.error_per_row = {name: np.asarray(values) for name, values in self.error_per_row.items()}
        self.shown = {name: np.asarray(values) for name, values in self.shown.items()}
        curves = {**self.error_per_row, "gradient_norm": self.gradient_norm, **self.shown}
        one_for_each("steps", self.steps, **{repr(name): values for name, values in curves.items()})
        if self.walk is not None and (np.ndim(self.walk) != 2 or np.shape(self.walk)[1] != 2):
            raise ShapeError(f"the walk has shape {np.shape(self.walk)}; expected (points, 2), two weights.")

    @classmethod
    def from_path(cls, path: Any, *, ax: Any = None, **plot_kw: Any) -> Self:
        """Draw what was recorded: the path of ``descend``, of an estimator or of a model file.

        The walk is there where the network has two weights and every step was kept. Under a weight decay the
        penalised error, which was descended, stands beside the error.
        """
        watched = errors_per_row(path)
        curves = {"training": watched.pop("training")}
        if not np.array_equal(path.error, path.penalised_error):
            curves["training, penalised"] = np.asarray(path.penalised_error) / path.n_rows
        flat = path.model.n_weights == 2 and path.every_step
        display = cls(
            path.steps, curves | watched, np.asarray(path.gradient_norm) / path.n_rows,
            {name: _of_steps(values) for name, values in path.shown.items()}, path.best_step,
            *((np.asarray(path.weights), path.weight_names, alike(path.model)) if flat else ()),
        )  # fmt: skip
        return display.plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, y: Any = None, *, ax: Any = None, **plot_kw: Any) -> Self:
        """Draw ``estimator.path_``; X and y are accepted for the convention and not used."""
        return cls.from_path(path_of(estimator), ax=ax, **plot_kw)

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into the room of ``ax``, or into a new figure: in ``color`` what was descended, in ``accent`` what was watched."""
        panels = ["error", "gradient_norm", *self.shown]
        width = _WIDTH + (_WALK if self.walk is not None else 0.0)
        ax = self._into(ax, figsize=(width, _PANEL * len(panels) + 0.8))
        self.axes_ = _divided(ax, panels, self.walk is not None)
        self.lines_: dict[str, dict[str, Any]] = {name: {} for name in self.axes_}
        self._plot_error(color, accent)
        self._plot_curve("gradient_norm", "gradient_norm", self.gradient_norm, color=color)
        _labelled(self.axes_["gradient_norm"], "gradient norm\nper row", self.gradient_norm)
        for name, values in self.shown.items():
            self._plot_curve(name, name, values, color=color, linewidth=0.8)
            _labelled(self.axes_[name], name.replace("_", "\n"), values, linear=name in _LINEAR)
        for name in panels:
            self._mark_best(self.axes_[name])
            self.axes_[name].tick_params(labelbottom=name == panels[-1])
        last = self.axes_[panels[-1]]
        last.xaxis.get_major_locator().set_params(integer=True)
        last.set_xlabel("step")
        if self.walk is not None and len(self.walk):
            self._plot_walk(self.walk, color, accent)
        return self

    def _plot_curve(self, panel: str, name: str, values: np.ndarray, **style: Any) -> None:
        at = envelope(values)
        (self.lines_[panel][name],) = self.axes_[panel].plot(
            self.steps[at], values[at], **{"label": name, "linewidth": 1.2, **style}
        )

    def _plot_error(self, color: Any, accent: Any) -> None:
        dashes: dict[str, list[Any]] = {color: ["-", (0, (4, 2))], accent: ["-", (0, (4, 2)), (0, (1, 1.5))]}
        for name, error in self.error_per_row.items():
            ink = color if name.startswith("training") else accent
            style = dashes[ink].pop(0) if len(dashes[ink]) > 1 else dashes[ink][0]
            self._plot_curve("error", name, error, color=ink, linestyle=style, label=labelled(name))
        _labelled(self.axes_["error"], "error per row\nE/n", *self.error_per_row.values())

    def _mark_best(self, ax: Any) -> None:
        """A line at the step whose weights were kept, unless it is the last; the curves' names above the first panel."""
        kept = self.best_step is not None and len(self.steps) > 0 and self.best_step != self.steps[-1]
        if kept:
            label = f"weights kept: step {self.best_step}"
            ax.axvline(self.best_step, color=MUTED, linewidth=1.0, linestyle=(0, (1, 1.5)), label=label)
        if ax is self.axes_["error"] and (kept or len(self.error_per_row) > 1):
            legend_above(ax)

    def _plot_walk(self, walk: np.ndarray, color: Any, accent: Any) -> None:
        """The way in the plane of two weights; to scale, a step along the gradient is at right angles to the valley."""
        ax = self.axes_["walk"]
        at = np.union1d(envelope(walk[:, 0]), envelope(walk[:, 1]))
        marker = "." if len(walk) <= _POINTS else ""
        (self.lines_["walk"]["walk"],) = ax.plot(*walk[at].T, color=color, linewidth=1.2, marker=marker, markersize=4)
        ends = {"start": (walk[0], ax.get_facecolor()), f"end: step {self.steps[-1]}": (walk[-1], accent)}
        for label, (point, fill) in ends.items():
            (self.lines_["walk"][label.partition(":")[0]],) = ax.plot(
                *point[:, None], color=accent, marker="o", markersize=7, markerfacecolor=fill, linestyle="", zorder=3,
                label=label,
            )  # fmt: skip
        if self.to_scale:
            ax.set_aspect("equal", adjustable="datalim")
        ax.locator_params(nbins=6)
        labels(ax, *(f"weight {name}" for name in self.weight_names))
        legend_above(ax)


def _of_steps(values: Any) -> np.ndarray:
    """A descent's number at each point; where it is 0 at the start, no step had been taken that it could belong to."""
    values = np.array(values, np.float64)
    if len(values) and values[0] == 0:
        values[0] = np.nan
    return values


def _divided(ax: Any, panels: Sequence[str], with_walk: bool) -> dict[str, Any]:
    """The room of one Axes divided: panels below each other with one axis of steps, the plane of the walk beside them."""
    columns = [_WIDTH, _WALK] if with_walk else [_WIDTH]
    shape: dict[str, Any] = {"nrows": len(panels), "ncols": len(columns), "width_ratios": columns}
    # A layout engine makes room for labels by itself.
    shape["wspace"] = 0.3 if ax.figure.get_layout_engine() is None else 0.03
    shape["hspace"] = 0.12
    grid = room_of(ax, **shape)
    axes: dict[str, Any] = {}
    for row, name in enumerate(panels):
        axes[name] = ax.figure.add_subplot(grid[row, 0], sharex=axes.get("error"))
    if with_walk:
        axes["walk"] = ax.figure.add_subplot(grid[:, 1])
    ax.figure.align_ylabels([axes[name] for name in panels])
    return axes


def _labelled(ax: Any, label: str, *curves: np.ndarray, linear: bool = False) -> None:
    """A vertical axis with a name and few labels: logarithmic, unless the values are of one size."""
    if linear:
        ax.locator_params(axis="y", nbins=4)
        ax.ticklabel_format(axis="y", useOffset=False)
    else:
        logarithmic(ax, *curves, ticks=6)
    sizes = np.unique([value for values in curves for value in values[np.isfinite(values)]])
    if len(sizes) == 1:  # a rate that was given
        ax.set_yticks(sizes, labels=[f"{sizes[0]:.4g}"])
    labels(ax, y=label)
