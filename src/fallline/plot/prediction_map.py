"""The prediction over two inputs as a map: colour, contour lines with numbers, the rows on the same scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.plot._shared import INK, legend_above, sample_of
from fallline.plot._slice import seen, target_of, under
from fallline.plot.display import Display, is_saved, labels
from fallline.words import minus

_MARGIN = 0.04  # of the range of an input, beyond the rows
_LINES = 9


@dataclass(eq=False)
class PredictionMapDisplay(Display):
    """Predictions (m1, m2) over a grid of two inputs, ``first`` (m1,) and ``second`` (m2,), beside rows, in the user's units.

    x (n, 2) and y (n,): the rows, y None where there is none to compare with. ``inside`` (m1, m2): where the grid lies
    among the rows, in their convex hull, whose corners are ``hull`` (c, 2); outside it the network extrapolates, and
    the map is veiled. ``held``: in words, where the other inputs are held.
    After `plot`: ``ax_``, ``figure_``, ``map_`` (QuadMesh), ``contours_`` and ``veil_`` (QuadContourSet), ``outline_`` and
    ``points_`` (Line2D, PathCollection), ``colorbar_``, ``shown_`` (indices of the rows drawn). What is not drawn is None.
    """

    first: np.ndarray
    second: np.ndarray
    prediction: np.ndarray
    x: np.ndarray
    y: np.ndarray | None
    inside: np.ndarray
    hull: np.ndarray
    features: tuple[str, str] = ("x1", "x2")
    target: str | None = None
    held: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.first), len(self.second))
        if np.shape(self.prediction) != shape or np.shape(self.inside) != shape:
            raise ShapeError(
                f"prediction has shape {np.shape(self.prediction)} and inside {np.shape(self.inside)}; expected one number "
                f"for each point of the grid, {shape}."
            )
        given = None if self.y is None else np.shape(self.y)
        if np.shape(self.x) != (len(self.x), 2) or given not in (None, (len(self.x),)):
            raise ShapeError(
                f"x has shape {np.shape(self.x)} and y {given}; expected (n, 2), the two inputs, and (n,)."
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        features: tuple[int | str, int | str] = (0, 1),
        output: int | None = None,
        points: int = 121,
        names: Sequence[str] | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a fitted ``NetworkRegressor``, ``FittedNetwork``, ``SavedModel`` or another estimator over two ``features``.

        X (n, inputs) and y (n,) or (n, outputs): rows to look at it beside; y is optional, and a ``SavedModel`` takes a
        table. Other inputs are held at their medians. Raises SettingsError for features or an output that is not there.
        """
        model = seen(estimator, X, names)
        if len(features) != 2:
            raise SettingsError(f"features={features!r} is not possible: give two inputs, such as (0, 1).")
        pair = [model.feature(each) for each in features]
        if pair[0] == pair[1]:
            raise SettingsError(f"features={features!r} name one input twice: give two.")
        j = model.output(output)
        values = target_of(estimator, X, y, model) if y is not None or is_saved(estimator) else None
        rows = model.x[:, pair]
        first, second = (_axis(rows[:, k], points) for k in (0, 1))
        grid = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1)
        predicted = model.predict(model.along(pair, grid.reshape(-1, 2)))[:, j].reshape(grid.shape[:2])
        inside, hull = _among(rows, grid)
        target = model.target_name(j, y) if target is None else target
        display = cls(
            first, second, predicted, rows, None if values is None else values[:, j], inside, hull,
            (model.names[pair[0]], model.names[pair[1]]), target, model.held_words(pair),
        )  # fmt: skip
        return display.plot(ax, **plot_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        at_most: int | None = 1000,
        cmap: Any = "cividis",
        color: Any = INK,
        colorbar: bool = True,
    ) -> Self:
        """Draw into ``ax``; ``at_most`` thins the rows drawn. The colours of map and rows span what is not extrapolated."""
        from matplotlib.colors import Normalize
        from matplotlib.lines import Line2D
        from matplotlib.patheffects import withStroke
        from matplotlib.ticker import MaxNLocator

        ax = self._into(ax)
        low, high = self._range()
        norm = Normalize(low, high)
        self.map_ = ax.pcolormesh(
            self.first, self.second, self.prediction.T, cmap=cmap, norm=norm, shading="gouraud", rasterized=True
        )
        self.contours_ = self.veil_ = self.outline_ = self.points_ = self.colorbar_ = None
        levels = [level for level in MaxNLocator(_LINES).tick_values(low, high) if low < level < high]
        # A line with a number beyond the rows would claim too much.
        shown = np.ma.masked_array(self.prediction, ~(np.isfinite(self.prediction) & self.inside))
        if any(shown.min() < level < shown.max() for level in levels if shown.count()):
            style: Any = {"colors": "white", "linewidths": 1.0, "linestyles": "solid", "levels": levels}
            self.contours_ = ax.contour(self.first, self.second, shown.T, **style)
            self.contours_.set_path_effects([withStroke(linewidth=1.8, foreground=color, alpha=0.5)])
        if not self.inside.all():
            veil = {"levels": [-0.5, 0.5], "colors": [ax.get_facecolor()], "alpha": 0.62}
            self.veil_ = ax.contourf(self.first, self.second, self.inside.T.astype(float), **veil)
        if len(self.hull):
            ring = np.vstack([self.hull, self.hull[:1]])
            (self.outline_,) = ax.plot(*ring.T, color=color, linewidth=0.9, linestyle=(0, (4, 2)))
        self._plot_points(ax, at_most, norm, cmap, color)
        if self.contours_ is not None:
            for text in ax.clabel(
                self.contours_, fontsize="small", colors=color, zorder=4, fmt=lambda value: minus(f"{value:.6g}")
            ):
                text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        if colorbar:
            outside, what = self.prediction[np.isfinite(self.prediction)], self.target or "y"
            beyond = int((outside < low).any()) + 2 * int((outside > high).any())
            extend = ("neither", "min", "max", "both")[beyond]
            self.colorbar_ = ax.figure.colorbar(self.map_, ax=ax, extend=extend)
            scale = f"predicted {what}" if self.y is None else f"{what}: predicted (map), of the rows (points)"
            self.colorbar_.set_label(scale, parse_math=False)
        ax.set_xlim(self.first[0], self.first[-1])
        ax.set_ylim(self.second[0], self.second[-1])
        labels(ax, under(self.features[0], self.held), self.features[1])
        handles = []
        if self.points_ is not None:
            name = "rows, whatever their other inputs" if self.held else "rows"
            dot = {"marker": "o", "markersize": 5, "linestyle": "", "markeredgecolor": "white"}
            handles.append(Line2D([], [], color=INK, label=name, **dot))
        if self.outline_ is not None:
            self.outline_.set_label("outside: extrapolated")
            handles.append(self.outline_)
        if handles:
            legend_above(ax, *handles)
        return self

    def _plot_points(self, ax: Any, at_most: int | None, norm: Any, cmap: Any, color: Any) -> None:
        y = np.zeros(len(self.x)) if self.y is None else self.y
        self.shown_ = sample_of(y, np.zeros(len(self.x)), at_most)
        if not len(self.shown_):
            return
        size, alpha = (14, 0.75) if self.held else (26, 1.0)
        style = {"c": color} if self.y is None else {"c": y[self.shown_], "norm": norm, "cmap": cmap}
        style |= {"s": size, "alpha": alpha, "edgecolors": "white", "linewidths": 0.6, "zorder": 3}
        self.points_ = ax.scatter(*self.x[self.shown_].T, **style)

    def _range(self) -> tuple[float, float]:
        """What the colours span: predictions among the rows, and the rows."""
        told = [self.prediction[self.inside], *([] if self.y is None else [self.y])]
        values = np.concatenate(told)
        if not np.isfinite(values).any():
            values = self.prediction.ravel()
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        return (low, high) if low < high else (low - 0.5, high + 0.5)


def _axis(values: np.ndarray, points: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    margin = _MARGIN * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, points)


def _among(rows: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which points of the grid (m1, m2, 2) lie in the convex hull of the rows, and its corners; where rows lie on a line
    and have none, the box they span."""
    from scipy.spatial import ConvexHull, QhullError

    low, size = rows.min(axis=0), np.ptp(rows, axis=0)
    size = np.where(size > 0, size, 1.0)
    try:
        hull = ConvexHull((rows - low) / size)  # in units of the ranges: a flat triangle is no reason to fail
    except QhullError:
        ends = [rows.min(axis=0), rows.max(axis=0)]
        inside = ((grid >= ends[0]) & (grid <= ends[1])).all(axis=-1)
        corners = np.array([[ends[i][0], ends[j][1]] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))])
        return inside, corners
    at = (grid - low) / size
    inside = np.all(at @ hull.equations[:, :2].T + hull.equations[:, 2] <= 1e-9, axis=-1)
    return inside, rows[hull.vertices]
