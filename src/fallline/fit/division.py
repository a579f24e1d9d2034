"""Which rows each part of a fit gets."""

from dataclasses import dataclass, field

import numpy as np

from fallline.exceptions import SettingsError, TableError


@dataclass(frozen=True)
class Division:
    """Which rows each part got, as row numbers in ascending order: descended on, judging when to stop, kept apart."""

    train: np.ndarray
    validation: np.ndarray = field(default_factory=lambda: np.arange(0))
    test: np.ndarray = field(default_factory=lambda: np.arange(0))


def divide(
    n: int, validation: float, test: float, random: np.random.Generator, classes: np.ndarray | None = None
) -> Division:
    """n rows at random in three, as fitnet's ``dividerand`` does: shares ``validation`` and ``test``, the rest to train on.

    classes (n,) of whole numbers from 0 are spread over the parts in proportion, as far as rows can be: the first row of each
    class trains.
    Raises SettingsError for shares outside [0, 1) or without a rest, TableError where a part that was asked for gets no row.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise SettingsError(
            f"validation_fraction={validation!r} and test_fraction={test!r} are not possible: each is a share of the rows "
            "from 0 to below 1, and together they must leave rows to train on."
        )
    order = random.permutation(n)
    if classes is not None:
        order = in_proportion(order, classes, random)
    n_validation = max(round(n * validation), 1 if validation > 0 else 0)
    n_test = max(round(n * test), 1 if test > 0 else 0)
    if n_validation + n_test >= n:
        raise TableError(f"{n} rows are too few to divide in three: give more rows, or early_stopping=False.")
    cuts = np.split(order, [n - n_validation - n_test, n - n_test])
    return Division(*(np.sort(part) for part in cuts))


def in_proportion(order: np.ndarray, classes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The rows of an order (n,) such that any cut divides all ``classes`` (n,), whole numbers from 0, in the same proportion.

    As far as rows can be divided: the first row of each class comes before the second of any.
    """
    # Each class is laid out evenly over [0, 1).
    order = order[np.argsort(classes[order], kind="stable")]
    counts = np.bincount(classes)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(order[np.lexsort((random.random(len(order)), rank / np.repeat(counts, counts)))])
