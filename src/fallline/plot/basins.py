"""Basins: every start painted by the minimum it ends in, one panel for each descent, and whom one descent saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import SettingsError
from fallline.plot._map import black_dot, framed, hatched, lines_of, on_map
from fallline.plot._shared import INK, LEGEND, columns_for, room_of
from fallline.plot.display import Display, labels
from fallline.words import label, listed

if TYPE_CHECKING:
    from fallline.landscape.minima import Basins

# The lowest minimum is open country; each next one darker, and apart from the others for the colour-blind.
BASINS = ("#fbf6e4", "#ecc05b", "#6fb1d6", "#c0675b", "#466a9f", "#5b2a59", "#1c1c24")
NO_MINIMUM, HATCH = "#d9d9d9", "#6e6e6e"
SAVED, HARMED, SAME = "#5cb8a0", "#8f3a06", "#f5f5f2"

_STIPPLES = 44  # dots along a side of a panel, where starts had not arrived
_PANEL, _LINE = 3.1, 0.2  # inches
_IN_PLANE = 1e-6


@dataclass(eq=False)
class BasinDisplay(Display):
    """What `fallline.find_basins` found, drawn: each start in the colour of the minimum it ends in, a panel for each descent.

    The lowest minimum is the lightest; where a start reaches none, the ground is grey and hatched; stipples where it had not
    arrived after ``max_iter`` steps, but was on its way. A black dot at the lowest minimum and hollow ones at the others
    carry their numbers, where they lie in the plane. ``saved``: (by, than) names two descents, and a further panel shows
    the starts that the first takes to a lower minimum than the second, and to a higher one.

    After `plot`: ``axes_``, ``meshes_``, ``dots_`` (list of Line2D), ``stipples_`` (Line2D or None) by the name of the descent;
    ``saved_ax_``, ``saved_mesh_``, ``text_`` (the comparison in words), None without that panel; ``legend_``; ``figure_``;
    ``ax_``, whose room they share.
    """

    basins: Basins
    saved: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for name in self.saved or ():
            if name not in self.basins.index:
                raise SettingsError(
                    f"there is no descent {name!r} to compare: saved=(by, than) names two of "
                    f"{listed(map(repr, self.basins.index))}."
                )

    def plot(self, ax: Any = None, *, colors: Sequence[Any] = BASINS, legend: bool = True) -> Self:
        """Draw into the room of ``ax``, or into a new figure; ``colors`` of the minima, the last of all further ones."""
        names = list(self.basins.index)
        panels = len(names) + (self.saved is not None)
        entries = self._entries(colors)
        said = self.basins.comparison(*self.saved) if self.saved is not None else ""
        lines = (len(entries) + 1) // 2 * legend + 2 * bool(said)
        ax = self._into(ax, figsize=(_PANEL * panels + 0.7, _PANEL + 0.9 + _LINE * lines))
        columns = min(columns_for(ax, [entry.get_label() for entry in entries]), 2)
        height = ax.get_position().height * ax.figure.get_figheight()
        above = _LINE * (-(-len(entries) // columns) + 0.6) if legend else 0.0
        said = lines_of(said, ax, LEGEND)
        under = _LINE * (said.count("\n") + 1.8) if said else 0.0
        free = max(height - above - under, 0.3 * height)
        places = room_of(
            ax, nrows=3, ncols=panels, height_ratios=[above or 1e-3, free, under or 1e-3],
            **({"hspace": 0.35, "wspace": 0.12} if ax.figure.get_layout_engine() is None else {"hspace": 0.02}),
        )  # fmt: skip
        self.axes_, self.meshes_, self.dots_, self.stipples_ = (dict[str, Any]() for _ in range(4))
        self.saved_ax_ = self.saved_mesh_ = self.text_ = self.legend_ = None
        for column, name in enumerate(names):
            panel = self.axes_[name] = ax.figure.add_subplot(places[1, column])
            self._plot_basins(panel, name, colors)
            self._finish(panel, name, column == 0)
        if self.saved is not None:
            by, than = self.saved
            self.saved_ax_ = ax.figure.add_subplot(places[1, -1])
            values = self.basins.saved(by, than) + 1
            self.saved_mesh_ = _painted(self.saved_ax_, self.basins, values, (HARMED, SAME, SAVED))
            self._finish(self.saved_ax_, f"{by} against {than}", False)
            under = ax.figure.add_subplot(places[2, :])
            under.set_axis_off()
            self.text_ = under.text(0.0, 0.5, said, va="center", fontsize=LEGEND, parse_math=False)
        if legend:
            self.legend_ = _listed(ax.figure.add_subplot(places[0, :]), entries, columns)
        return self

    def _entries(self, colors: Sequence[Any]) -> list[Any]:
        """What the legend says of each colour: the minimum, E there, and how many starts of each descent end in it."""
        from matplotlib.patches import Patch

        basins, last, entries = self.basins, len(colors) - 1, []

        def entry(color: Any, words: str, edge: Any = INK, **look: Any) -> None:
            entries.append(Patch(facecolor=color, label=words, edgecolor=edge, linewidth=0.5, **look))

        penalised = any(each.error != each.penalised_error for each in basins.minima)
        for which, minimum in enumerate(basins.minima[: last + 1]):
            shared = which == last and len(basins.minima) > len(colors)
            what = f"minima {which + 1} to {len(basins.minima)}" if shared else f"minimum {which + 1}"
            at = f"{'penalised ' * penalised}E = {label(minimum.penalised_error)}{' and more' * shared}"
            own = slice(which, None if shared else which + 1)
            ends = _counted({name: basins.counts(name)[own].sum() for name in basins.index})
            entry(colors[which], f"{what}, {at}: {ends}")
        lost = {name: (index < 0).sum() for name, index in basins.index.items()}
        if any(lost.values()):
            entry(NO_MINIMUM, f"no minimum: {_counted(lost)}", hatch="////", edge=HATCH)
        late = {name: (~basins.arrived[name] & (index >= 0)).sum() for name, index in basins.index.items()}
        if any(late.values()):
            entry("white", f"not yet there after {basins.max_iter:,} steps: {_counted(late)}", hatch="....")
        if self.saved is not None:
            by, than = self.saved
            sign = basins.saved(by, than)
            entry(SAVED, f"to a lower minimum by {by} than by {than}: {(sign > 0).sum():,}")
            entry(HARMED, f"to a higher minimum by {by} than by {than}: {(sign < 0).sum():,}")
        return entries

    def _plot_basins(self, ax: Any, name: str, colors: Sequence[Any]) -> None:
        basins, index = self.basins, self.basins.index[name]
        if (index < 0).any():
            hatched(ax, basins.first, basins.second, facecolor=NO_MINIMUM, edgecolor=HATCH)
        shown = np.minimum(index, len(colors) - 1)
        self.meshes_[name] = _painted(ax, basins, np.ma.masked_less(shown, 0), colors)
        late = ~basins.arrived[name] & (index >= 0)
        self.stipples_[name] = _stippled(ax, basins.first, basins.second, late)

    def _finish(self, ax: Any, title: str, first: bool) -> None:
        """Frame, names and the dots of the minima."""
        basins = self.basins
        dots = []
        for which, minimum in enumerate(basins.minima):
            at = basins.plane.coordinates(minimum.weights)
            away = float(basins.plane.distance(minimum.weights))
            beyond = away > _IN_PLANE * (1.0 + float(np.linalg.norm(minimum.weights)))
            if beyond or not on_map(at, basins.first, basins.second):
                continue
            dots.append(black_dot(ax, at, hollow=which > 0, markersize=12, markeredgewidth=1.2))
            ax.annotate(
                str(which + 1), at, color="black" if which else "white", fontsize=7.5, ha="center", va="center_baseline",
                zorder=7, annotation_clip=True,
            )  # fmt: skip
        self.dots_[title] = dots
        framed(ax, basins.first, basins.second, basins.plane.aspect)
        ax.set_title(title, fontsize="medium", parse_math=False)
        labels(ax, basins.plane.labels[0], basins.plane.labels[1] if first else None)
        ax.tick_params(labelleft=first)


def _counted(starts: Mapping[str, Any]) -> str:
    """ "plain 2,313, momentum 4,512": how many starts of each descent."""
    return ", ".join(f"{name} {int(count):,}" for name, count in starts.items())


def _painted(ax: Any, basins: Basins, values: np.ndarray, colors: Sequence[Any]) -> Any:
    """Each start in its colour, by the number of it."""
    from matplotlib.colors import ListedColormap

    return ax.pcolormesh(
        basins.first, basins.second, values, cmap=ListedColormap(list(colors)), vmin=-0.5, vmax=len(colors) - 0.5,
        shading="nearest", rasterized=True, zorder=1,
    )  # fmt: skip


def _stippled(ax: Any, first: np.ndarray, second: np.ndarray, where: np.ndarray) -> Any:
    """Dots, offset in every second row, over the part of the map that ``where`` (b, a) names."""
    if not where.any():
        return None
    sides = np.array([np.ptp(first), np.ptp(second)])
    along, down = np.maximum((_STIPPLES * sides / sides.max()).astype(int), 12).tolist()
    v, u = np.meshgrid(np.arange(down) + 0.5, np.arange(along) + 0.25, indexing="ij")
    u[1::2] += 0.5
    u, v = u.ravel() / along, v.ravel() / down
    rows = np.rint(v * (len(second) - 1)).astype(int)
    columns = np.rint(u * (len(first) - 1)).astype(int)
    here = where[rows, columns]
    x, y = first[0] + u[here] * np.ptp(first), second[0] + v[here] * np.ptp(second)
    (dots,) = ax.plot(x, y, linestyle="", marker="o", markersize=1.3, markeredgewidth=0, color=INK, zorder=2)
    return dots


def _listed(ax: Any, entries: Sequence[Any], columns: int) -> Any:
    """The legend, in Axes of its own."""
    ax.set_axis_off()
    legend = ax.legend(
        handles=list(entries), loc="center left", bbox_to_anchor=(0.0, 0.5), frameon=False, borderaxespad=0.0, borderpad=0.0,
        fontsize=LEGEND, labelspacing=0.3, handlelength=1.6, ncols=columns,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend
