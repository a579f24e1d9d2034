"""The values that a column took, a few of them, as they are encoded: to look at a prediction along them."""

import numpy as np

from fallline.table.encoding import DAY, Entry, spelled_boolean

_NUMBERS, _DATES = 24, 120  # values at most; a date goes through years and weeks
_CATEGORIES = 12  # a picture has room for so many


def values_taken(entry: Entry, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one column's encoded inputs (n, w): what a few values are called (m,), and their encoding (m, w).

    Numbers and dates (datetime64) in ascending order: as many evenly among the rows as over their range, so that neither a crowd
    nor a gap is passed over. Categories by name, the most frequent first. Rows where the column is missing are left out,
    but for those of a category.
    """
    kind = entry["kind"]
    if kind in ("category", "boolean"):
        return _categories(entry, encoded)
    there = encoded[encoded[:, -1] == 0] if entry["missing"] else encoded
    order = np.argsort(there[:, 0], kind="stable")
    first = there[order, 0]
    if not len(first):
        return first, there
    half = (_DATES if kind == "date" else _NUMBERS) // 2
    even = np.searchsorted(first, np.linspace(first[0], first[-1], half))
    chosen = np.union1d(np.linspace(0, len(first) - 1, half).round(), even).astype(int)
    # A date is several inputs that belong together: its days choose rows, and these the rest.
    at, where = np.unique(first[chosen], return_index=True)
    if kind == "date":
        at = np.round((at + entry["origin"]) * DAY).astype("datetime64[us]")
    return at, there[order[chosen[where]]]


def _categories(entry: Entry, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kinds, counts = np.unique(encoded, axis=0, return_counts=True)
    kinds = kinds[np.argsort(-counts, kind="stable")][:_CATEGORIES]
    if entry["kind"] == "boolean" or "share" in entry:
        two = [spelled_boolean(0.0), spelled_boolean(1.0)] if "share" not in entry else entry["categories"]
        names = [two[int(value)] if value in (0.0, 1.0) else "missing" for value in kinds[:, 0]]
    else:
        names = [*entry["categories"], *["other"] * entry["other"], *["missing"] * entry["missing"], "missing"]
        names = [names[np.append(row, 1.0).argmax()] for row in kinds]
    return np.array(names, object), kinds
