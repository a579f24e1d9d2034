"""Identifiers and codes among columns of whole numbers: the F test against closed forms, and what is said of a table."""

import numpy as np
import pytest
from scipy.stats import f

from fallline.table.codes import odd_as_quantity
from fallline.table.columns import Columns


def groups(means, rows, spread=1.0, values=None):
    """Each mean ± spread in so many rows, an even number, and the value each belongs to."""
    values = np.arange(len(means)) + 1.0 if values is None else np.array(values, float)
    y = np.repeat(np.array(means, float), rows) + spread * np.tile([1.0, -1.0], rows * len(means) // 2)
    return np.repeat(values, rows), y


@pytest.mark.parametrize(
    ("means", "pooled"), [((0, 5, 3), [(1, 2)]), ((4, 0, 9), [(0, 1)]), ((1, 6, 4, 9, 7), [(1, 2), (3, 4)])]
)
@pytest.mark.parametrize("rows", [6, 20])
def test_codes_counted_from_one_are_held_against_the_nearest_monotone_means(means, pooled, rows):
    x, y = groups(means, rows, spread=0.2)
    left = sum(rows * 0.5 * (means[a] - means[b]) ** 2 for a, b in pooled)
    more = len(y) - len(means)
    expected = f.sf(left / len(pooled) / (len(y) * 0.04 / more), len(pooled), more)
    assert odd_as_quantity(x, y) == (pytest.approx(expected, rel=1e-9) if expected < 1e-7 else 1.0)
    assert expected < 1e-4


@pytest.mark.parametrize(
    ("means", "values"),
    [
        ((0, 1, 10, 11, 30), [1, 2, 3, 4, 5]),
        ((9, 4, 3, 1), [0, 1, 2, 3]),
        ((0, 5, 9, 4, 1), [10, 20, 30, 40, 50]),
        ((9, 5, 1, 4, 7), [3, 5, 6, 7, 8]),
    ],
    ids=["rising steps", "falling", "a top", "a bottom"],
)
def test_what_a_quantity_can_do_is_no_code(means, values):
    assert odd_as_quantity(*groups(means, 20, 0.1, values)) == 1


def test_other_numbers_are_codes_where_means_turn_twice():
    assert odd_as_quantity(*groups((0, 5, 1, 6), 20, 0.1, [10, 20, 35, 50])) < 1e-7
    assert odd_as_quantity(*groups((0, 5, 1, 6), 4, 0.1, [10, 20, 35, 50])) == 1  # too few rows of each
    assert odd_as_quantity(np.arange(200.0), np.sin(np.arange(200.0))) == 1  # too many values


@pytest.mark.parametrize(
    "law", [lambda x: 0 * x, np.sqrt, lambda x: np.exp(-x), lambda x: x > 4], ids=["none", "root", "decay", "step"]
)
def test_a_noisy_quantity_is_no_code_in_thousands_of_tables(law):
    random, found = np.random.default_rng(0), []
    for _ in range(2000):
        x = random.integers(1, 9, 200) * 1.0
        found.append(odd_as_quantity(x, law(x) + random.normal(size=200)))
    assert np.min(found) > 1e-7


def judged(block, target="y", **asked):
    return Columns.fit([block], [target], **asked)


def codes_table(random, rows=400):
    region, size = random.integers(1, 6, rows) * 1.0, random.normal(size=rows)
    y = np.array([3.0, 9.0, 1.0, 7.0, 4.0])[region.astype(int) - 1] + size + 0.5 * random.normal(size=rows)
    return {"region": region, "size": size, "y": y}


def test_a_code_is_named_with_the_option_and_used_as_a_number_until_it_is_given(random):
    block = codes_table(random)
    columns = judged(block)
    assert columns.encoded_names == ("region", "size")
    [doubt] = columns.doubts
    assert doubt.startswith("The mean of `y` goes up and down with `region` as with no quantity (p = ")
    assert doubt.endswith("read them as categories: --category region.")
    assert judged(block, categories=["region"]).doubts == ()
    assert judged(block, keep=["region"]).doubts == ()
    assert judged(block, drop=["region"]).doubts == ()


def test_the_numbers_of_three_classes_have_no_mean(random):
    block = codes_table(random)
    block["y"] = np.array(["b", "c", "a", "c", "b"], object)[block["region"].astype(int) - 1]
    assert Columns.fit([block], ["y"], classes=("a", "b", "c")).doubts == ()


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (np.arange(100) * 10.0 + 7, "`order no` rises from row to row, 7 to 997,"),
        (2000.0 - np.arange(100), "`order no` falls from row to row, 1901 to 2000,"),
        (np.cumsum(np.arange(100) % 7 + 1.0), "`order no` rises from row to row, 1 to "),
    ],
    ids=["in tens", "downwards", "with gaps"],
)
def test_an_identifier_in_order_is_named_with_the_option_and_kept(column, says, random):
    block = {"order no": column, "x": random.normal(size=100), "y": random.normal(size=100)}
    columns = judged(block)
    assert columns.encoded_names == ("order no", "x")
    [doubt] = columns.doubts
    assert doubt.startswith(says)
    assert doubt.endswith("leave it out: --drop 'order no'.")
    assert judged(block, keep=["order no"]).doubts == ()


@pytest.mark.parametrize(
    "column",
    [
        np.arange(100) % 31 + 1.0,
        np.random.default_rng(1).permutation(100) * 1.0,
        np.sort(np.random.default_rng(1).integers(0, 60, 100)) * 1.0,
        np.arange(100) / 10,
    ],
    ids=["days of months", "not in order", "numbers twice", "not whole"],
)
def test_what_is_no_number_of_a_row_is_not_named(column, random):
    assert judged({"n": column, "x": random.normal(size=100), "y": random.normal(size=100)}).doubts == ()


def test_the_only_input_is_what_there_is_to_learn_from(random):
    assert judged({"year": np.arange(100) + 1900.0, "y": random.normal(size=100)}).doubts == ()
