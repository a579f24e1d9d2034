"""One curve for several groups of rows: some parameters shared, all others each group's own; fitted as one model."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError
from fallline.model.curve import Curve, check_names


@dataclass(frozen=True)
class GroupedCurve(Curve):
    """A curve whose rows say, by a number in their last column, to which of the ``groups`` they belong.

    each: the curve of every group. shared: its parameters that are the same in all groups. The names of the weights are those,
    and ``rate[b]`` for the rate of group b. Build it by ``GroupedCurve.of``. Raises SettingsError for names that do not fit.
    """

    each: Any = None
    groups: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    @classmethod
    def of(cls, curve: Curve, groups: Sequence[str], shared: Sequence[str] = (), column: str = "group") -> Self:
        """The curve over these groups; ``column`` is what their numbers are called."""
        shared = (shared,) if isinstance(shared, str) else tuple(shared)
        check_names(shared, curve.names)
        names = [
            name if name in shared else f"{name}[{group}]"
            for name in curve.names
            for group in (groups[:1] if name in shared else groups)
        ]
        while column in curve.columns:
            column += "_"
        columns = (*curve.columns, column)
        return cls(curve.function, tuple(names), columns, each=replace(curve), groups=tuple(groups), shared=shared)

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise SettingsError(f"each parameter needs a name of its own, but got {', '.join(self.names)}.")
        object.__setattr__(self, "given", tuple(check_names(self.given, self.names)))
        if not self.free:
            raise SettingsError("every parameter of the curve is fixed: leave at least one free.")

    @functools.cached_property
    def places(self) -> np.ndarray:
        """(groups, p): which of all parameters each parameter of a group's curve is."""
        found = [
            [self.names.index(name if name in self.shared else f"{name}[{group}]") for name in self.each.names]
            for group in self.groups
        ]
        return np.array(found)

    def named_as_groups(self, given: Any) -> Any:
        """Start values, fixed ones or bounds by the names of all parameters, where they name those of the curve alone."""
        own = self.each.names
        if isinstance(given, Mapping):
            for_all = {
                self.names[i]: value
                for name, value in given.items()
                if name in own
                for i in self.places[:, own.index(name)].tolist()
            }
            return for_all | {name: value for name, value in given.items() if name not in own or name in self.names}
        sized = given is not None and len(given) == len(own) < len(self.names)
        return self.named_as_groups(dict(zip(own, given, strict=True))) if sized else given

    def parts(self, weights: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, Curve, np.ndarray, np.ndarray]]:
        """Of each group its name, the curve, its own weights, and which rows (m,) are its."""
        whole = self._whole(weights, x)
        for g, group in enumerate(self.groups):
            rows = np.flatnonzero(x[:, len(self.each.columns)] == g)
            if len(rows):
                yield group, self.each, whole[self.places[g]], rows

    def _whole(self, weights: Any, x: Any) -> np.ndarray:
        """All parameters, the given ones among them."""
        values = self.named(weights, x)
        return np.array([values[name] for name in self.names])

    def _own(self, x: np.ndarray) -> np.ndarray:
        return x[:, : len(self.each.columns)]

    def _called(self, weights: Any, x: np.ndarray) -> np.ndarray:
        found = np.full(len(x), np.nan)
        for _, each, own, rows in self.parts(weights, x):
            found[rows] = each._called(own, self._own(x[rows]))
        return found

    def _slopes(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self._spread(x, weights, lambda each, own, rows, g: each._slopes(own, self._own(x[rows])))

    def jacobian_along(self, weights: Any, x: Any, direction: Any) -> np.ndarray:
        weights, x = self._checked(weights, x)
        way = np.zeros(len(self.names))
        way[self._free_places] = direction

        def along(each: Curve, own: np.ndarray, rows: np.ndarray, g: int) -> np.ndarray:
            return each.jacobian_along(own, self._own(x[rows]), way[self.places[g]])[:, 0]

        return self._spread(x, weights, along)[:, None, :]

    def _spread(self, x: np.ndarray, weights: np.ndarray, slopes: Any) -> np.ndarray:
        """(n, n_weights): the slopes (m, p) of each group's rows, in the columns of its parameters."""
        found = np.zeros((len(x), len(self.names)))
        for group, each, own, rows in self.parts(weights, x):
            g = self.groups.index(group)
            found[np.ix_(rows, self.places[g])] = slopes(each, own, rows, g)
        return found[:, self._free_places]

    @functools.cached_property
    def _free_places(self) -> list[int]:
        return [self.names.index(name) for name in self.free]

    @property
    def derivatives(self) -> str:
        return str(self.each.derivatives)

    def afresh(self) -> Self:
        return replace(self, each=self.each.afresh())

    def by_differences(self) -> Self:
        return replace(self, each=self.each.by_differences())

    def slopes_agree(self, weights: np.ndarray, x: np.ndarray) -> bool:
        return all(each.slopes_agree(own, self._own(x[rows])) for _, each, own, rows in self.parts(weights, x))

    def formula(self, weights: np.ndarray, x: np.ndarray) -> None:
        """None: no single formula says the curves of all groups."""
