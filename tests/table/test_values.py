"""A few values that a column took: named as a person knows them, encoded as the network does."""

import numpy as np
import pytest

from fallline import Columns
from fallline.table.values import values_taken

ROWS = 200


def taken(**columns):
    """What is taken of the first column of a table, and its encoding of all rows."""
    random = np.random.default_rng(0)
    table = {**columns, "other": random.normal(size=ROWS), "y": random.normal(size=ROWS)}
    found = Columns.fit([table], ["y"], keep=list(columns))
    name = next(iter(columns))
    entry = next(entry for entry in found.plan if entry["name"] == name)
    encoded = found.encode(table)[:, found.places[name]]
    return *values_taken(entry, encoded), encoded


def test_numbers_are_taken_from_the_crowd_and_from_the_range():
    crowd = np.r_[np.linspace(0, 1, ROWS - 20), np.linspace(10, 100, 20)]
    at, values, _ = taken(x=crowd)
    assert (np.diff(at) > 0).all()
    assert np.isin(at, crowd).all()
    assert (at[0], at[-1]) == (0.0, 100.0)
    assert (at <= 1).sum() >= 10
    assert (at > 10).sum() >= 10
    np.testing.assert_array_equal(values[:, 0], at)


def test_of_a_number_with_gaps_the_gaps_are_left_out():
    numbers = np.arange(ROWS) / 7
    numbers[::5] = np.nan
    at, values, encoded = taken(x=numbers)
    assert encoded.shape[1] == 2
    np.testing.assert_array_equal(values[:, 1], 0.0)
    assert np.isin(at, numbers[~np.isnan(numbers)]).all()


def test_categories_are_named_and_the_most_frequent_comes_first():
    kinds = np.array(["oak"] * 90 + ["ash"] * 60 + [None] * 30 + ["elm"] * 20, object)
    at, values, encoded = taken(kind=kinds)
    assert at.tolist() == ["oak", "ash", "missing", "elm"]
    np.testing.assert_array_equal(values, encoded[[0, 90, 150, 180]])


@pytest.mark.parametrize(
    ("cells", "names"),
    [(np.array(["no"] * 150 + ["yes"] * 50, object), ["no", "yes"]), (np.arange(ROWS) % 3 == 0, ["false", "true"])],
    ids=["two categories", "true or false"],
)
def test_of_two_each_is_named(cells, names):
    at, values, _ = taken(flag=cells)
    assert at.tolist() == names
    np.testing.assert_array_equal(values, [[0.0], [1.0]])


def test_a_date_keeps_year_week_and_clock_together():
    days = np.datetime64("2020-03-01T00:00:00") + np.arange(ROWS) * np.timedelta64(36 * 3600 + 7, "s")
    at, values, encoded = taken(day=days)
    places = np.searchsorted(days, at)
    assert encoded.shape[1] > 5
    np.testing.assert_array_equal(days[places], at)
    np.testing.assert_array_equal(values, encoded[places])


def test_the_places_of_all_columns_are_all_inputs_in_their_order():
    table = {
        "x": np.arange(60) * 1.5,
        "kind": np.array(list("abcdef") * 10, object),
        "y": np.random.default_rng(0).normal(size=60),
    }
    found = Columns.fit([table], ["y"])
    assert [i for places in found.places.values() for i in places] == list(range(len(found.encoded_names)))
    names = {name: {found.encoded_names[i] for i in places} for name, places in found.places.items()}
    assert names == {"x": {"x"}, "kind": {f"kind={each}" for each in "abcdef"}}
