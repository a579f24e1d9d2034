"""Numbers that may stand for a missing value, such as −999: far outside all others, and repeated."""

import re

import numpy as np

from fallline.words import counted

_NINES = re.compile(r"-?([1-9]?9{2,6}|[678]999+|8{3,6}|7{3,6})")


def sentinels(name: str, values: np.ndarray) -> list[str]:
    """A sentence on a number that lies far outside all others and repeats, as −999 for a missing value does."""
    there = values[np.isfinite(values)]
    if len(there) < 5:
        return []
    said = []
    for end in (there.min(), there.max()):
        if abs(end) < 9 or end != np.floor(end) or abs(end) >= 1e7:
            continue
        rest = there[there != end]
        often = len(there) - len(rest)
        if often < 2 or len(rest) < 3 or 2 * often > len(there):
            continue
        low, high = rest.min(), rest.max()
        gap = low - end if end < low else end - high
        times = 1.0 if _NINES.fullmatch(f"{end:.0f}") else 10.0
        if gap > times * max(high - low, abs(high), abs(low)) and len(np.unique(rest[:1000])) > 2:
            said.append(
                f"{end:.0f} stands in {counted(often, 'row')} of `{name}`, far outside its other numbers ({low:g} to {high:g}): "
                f"if it means that nothing was recorded, --na {end:.0f}."
            )
    return said
