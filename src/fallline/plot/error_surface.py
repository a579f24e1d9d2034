"""The error surface as a map: darker where the error is larger, the ways on it step by step, a black dot at the minimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.plot._map import (
    NO_GROUND,
    WAYS,
    black_dot,
    errors_in_words,
    framed,
    ground,
    halo,
    hatched,
    said_under,
    scale_beside,
)  # fmt: skip
from fallline.plot._shared import INK, labelled, legend_above
from fallline.plot.display import Display, labels, path_of

if TYPE_CHECKING:
    from fallline.landscape.planes import Plane
    from fallline.landscape.surface import Surface, Track

_STEPS = 100  # a way of so few steps shows each of them
_HOLLOW: dict[str, Any] = {"markersize": 8, "markerfacecolor": "white", "markeredgewidth": 1.8}
_FAR = 1e4  # times the map's size: what is further off is left out, or floats end in a picture's coordinates


@dataclass(eq=False)
class ErrorSurfaceDisplay(Display):
    """A ``Surface``, drawn as a contour map of E or the penalised error, with the paths that were laid on it.

    Bands stand at ``surface.levels()``. A way of at most 100 steps shows each of them; its start is hollow, its end a larger
    mark. The black dot is the lowest point of this plane, hollow dots are its other minima. The map is drawn to scale
    where the directions are at right angles and the picture would not become a strip: then a step along the gradient
    crosses the lines at right angles. Points of a path outside the map are cut off.

    After `plot`: ``ax_``, ``figure_``, ``contours_`` and ``lines_of_contours_`` (QuadContourSet), ``lines_``, ``starts_``
    and ``ends_`` {name of the path: Line2D}, ``minimum_``, ``local_minima_`` (Line2D), ``colorbar_``, ``text_`` (how true the map
    is to the paths, where their plane does not hold them); None where there is nothing to draw.
    """

    surface: Surface

    @classmethod
    def from_path(
        cls,
        path: Any,
        rows: Any,
        plane: Plane | str | Sequence[int | str] = "auto",
        *,
        at: Any = None,
        extent: Sequence[float] | None = None,
        points: int | tuple[int, int] = 101,
        penalised: bool | None = None,
        seed: int = 0,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw the error around a path, or several by name, {"plain": path, …}.

        rows: those that were descended. The settings are those of `fallline.error_surface`, and so is what is raised.
        """
        from fallline.landscape.surface import error_surface  # only here: the numbers may come from elsewhere

        surface = error_surface(path, rows, plane, at=at, extent=extent, points=points, penalised=penalised, seed=seed)
        return cls(surface).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        plane: Plane | str | Sequence[int | str] = "auto",
        **kw: Any,
    ) -> Self:
        """Draw the error around ``estimator.path_`` on the rows it was fitted to; ``kw`` as in `from_path`.

        X, y, sample_weight: those given to ``fit``. Weights and error are those descended, in scaled units.
        """
        return cls.from_path(path_of(estimator), estimator.descended_rows(X, y, sample_weight), plane, **kw)

    def plot(
        self,
        ax: Any = None,
        *,
        levels: int = 14,
        per_row: bool = False,
        cmap: Any = None,
        colors: Sequence[Any] | None = None,
        colorbar: bool = True,
        legend: bool = True,
        say_fidelity: bool = True,
    ) -> Self:
        """Draw into ``ax``: so many bands of ``levels``, of E or, ``per_row``, E/n; ``colors`` are those of the paths in turn."""
        ax = self._into(ax)
        surface, rows = self.surface, self.surface.n_rows if per_row else 1.0
        bounds = surface.levels(levels) / rows
        self._plot_ground(ax, bounds, rows, cmap)
        framed(ax, surface.first, surface.second, surface.plane.aspect)
        labels(ax, *surface.plane.labels)
        self.colorbar_ = None
        if colorbar:
            label = {
                (False, False): "error E", (False, True): "error per row, E/n",
                (True, False): "penalised error", (True, True): "penalised error per row",
            }[surface.penalised, per_row]  # fmt: skip
            self.colorbar_ = scale_beside(ax, self.contours_, bounds, label)
        self.lines_, self.starts_, self.ends_ = (dict[str, Any]() for _ in range(3))
        for number_, track in enumerate(surface.tracks):
            self._plot_track(ax, track, number_, colors)
        self._plot_minima(ax, rows)
        if legend:
            legend_above(ax, *self._named())
        strays = any(not (track.in_plane and track.same_rows) for track in surface.tracks)
        self.text_ = said_under(ax, surface.fidelity) if say_fidelity and strays else None
        return self

    def _plot_ground(self, ax: Any, bounds: np.ndarray, rows: float, cmap: Any) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import BoundaryNorm

        surface = self.surface
        bands = len(bounds) - 1
        cmap = ground(bands) if cmap is None else colormaps[cmap] if isinstance(cmap, str) else cmap
        error = np.ma.masked_invalid(surface.error / rows)
        self.not_finite_ = None
        if error.mask.any():
            dark = {"facecolor": NO_GROUND, "edgecolor": "#8a8a8a", "label": "error not finite"}
            self.not_finite_ = hatched(ax, surface.first, surface.second, **dark)
        # Of as many colours as bands, in turn: the norm's own spreading would blend or skip some.
        shades = cmap.resampled(bands) if bands > 1 else cmap
        self.contours_ = ax.contourf(
            surface.first, surface.second, error, levels=bounds, cmap=shades, norm=BoundaryNorm(bounds, shades.N), zorder=1
        )  # fmt: skip
        self.contours_.set_edgecolor("face")  # or the paper shows between the bands of a PDF
        self.lines_of_contours_ = None
        if bands > 1:
            self.lines_of_contours_ = ax.contour(
                surface.first, surface.second, error, levels=bounds[1:-1], linestyles="solid", linewidths=0.5, zorder=1.5,
                colors=[INK if _luminance(shades(band)) > 0.3 else "white" for band in range(1, bands)], alpha=0.45,
            )  # fmt: skip

    def _plot_track(self, ax: Any, track: Track, place: int, colors: Sequence[Any] | None) -> None:
        color, marker, dashes = WAYS[place % len(WAYS)]
        if colors is not None:
            color = colors[place % len(colors)]
        way = np.array(track.coordinates)
        axes = self.surface.first, self.surface.second
        low, high = (np.array([axis[end] for axis in axes]) for end in (0, -1))
        with np.errstate(invalid="ignore"):
            way[~(np.abs(way - (low + high) / 2) <= _FAR * (high - low)).all(axis=1)] = np.nan
        alone, steps = len(self.surface.tracks) == 1, int(track.steps[-1] - track.steps[0])
        style: dict[str, Any] = {"color": color, "linewidth": 1.5, "zorder": 3 + 0.01 * place}
        style["label"] = labelled(track.name) or f"{steps:,} steps"
        if not alone:
            style["linestyle"] = dashes
        if len(way) - 1 <= _STEPS:
            style |= {"marker": marker, "markersize": 4.5 if len(way) - 1 <= _STEPS / 4 else 3.0}
        elif not alone:  # a mark here and there tells it from the others
            style |= {"marker": marker, "markersize": 4.5, "markevery": 0.17}
        halo(ax, way, style["linewidth"], 2.5)
        (self.lines_[track.name],) = ax.plot(*way.T, **style)
        ends: dict[str, Any] = {"linestyle": "", "marker": marker, "color": color}
        first = np.array([each.coordinates[0] for each in self.surface.tracks])
        if not alone and (first == first[0]).all():
            ends |= {"marker": "o", "color": INK}
        (self.starts_[track.name],) = ax.plot(*way[:1].T, **ends, **_HOLLOW, zorder=4, label="start")
        (self.ends_[track.name],) = ax.plot(
            *way[-1:].T, linestyle="", marker=marker, color=color, markersize=12, markeredgecolor="white",
            markeredgewidth=0.9, zorder=4.5 - 0.01 * place, label="end",
        )  # fmt: skip

    def _plot_minima(self, ax: Any, rows: float) -> None:
        surface = self.surface
        sign = ":" if surface.penalised else ", E =" if rows == 1.0 else ", E/n ="
        self.minimum_ = self.local_minima_ = None
        largest = float(surface.levels()[-1] / rows)
        if surface.local_minima:
            errors = [lowest.error / rows for lowest in surface.local_minima]
            what = "local minimum" if len(errors) == 1 else f"{len(errors)} local minima"
            what += "" if surface.plane.n_weights == 2 else " of this plane"
            self.local_minima_ = black_dot(
                ax, [lowest.coordinates for lowest in surface.local_minima], hollow=True,
                label=f"{what}{sign} {errors_in_words(errors, largest)}",
            )  # fmt: skip
        if surface.minimum is not None:
            what = "minimum" if surface.plane.n_weights == 2 else "minimum of this plane"
            error = errors_in_words([surface.minimum.error / rows], largest)
            self.minimum_ = black_dot(ax, surface.minimum.coordinates, label=f"{what}{sign} {error}")

    def _named(self) -> list[Any]:
        """What the legend names: the paths, where they start, the minima."""
        first = list(self.starts_.values())[:1]
        if len(self.starts_) > 1:
            from matplotlib.lines import Line2D

            first = [Line2D([], [], linestyle="", color=INK, label="start", marker="o", **_HOLLOW)]
        return [
            *self.lines_.values(), *first,
            *(each for each in (self.minimum_, self.local_minima_, self.not_finite_) if each is not None),
        ]  # fmt: skip


def _luminance(color: Any) -> float:
    """How bright a colour is, between 0 and 1."""
    from matplotlib.colors import to_rgb

    rgb = np.asarray(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
