"""Targets that follow from inputs by ranks, products, ratios and sums of many: planted, and where nothing is planted."""

import numpy as np
import pytest

from fallline.table.columns import Columns
from fallline.table.sample import Sample


def judged(block, **asked):
    return Columns.fit([block], ["y"], **asked)


def use(columns, name):
    return next(entry for entry in columns.uses if entry.name == name)


def parts(random, count, rows, decimals=None):
    """Columns p0, p1, … of positive numbers, and noise in two further columns."""
    values = random.gamma(3, 10, (count, rows))
    values = values if decimals is None else np.round(values, decimals)
    return {f"p{i}": values[i] for i in range(count)} | {"a": random.normal(size=rows), "b": random.normal(size=rows)}


@pytest.mark.parametrize("rows", [60, 700, 5000])
@pytest.mark.parametrize("decimals", [None, 0, 2])
@pytest.mark.parametrize("count", [4, 6, 12])
def test_the_sum_of_any_number_of_columns_is_left_out(count, decimals, rows, random):
    block = parts(random, count, rows, decimals)
    signs = np.where(np.arange(count) % 3 == 2, -1.0, 1.0)
    y = signs @ np.array([block[f"p{i}"] for i in range(count)])
    columns = judged(block | {"y": y})
    assert columns.encoded_names == ("a", "b")
    assert use(columns, "p0").says.startswith("dropped: leaks the target, `p0` + `p1` + ")
    assert columns.doubts == ()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_total_whose_parts_were_rounded_is_left_out_with_them(count, random):
    block = parts(random, count, 500)
    y = np.round(sum(block[f"p{i}"] for i in range(count)), 1)
    rounded = {name: np.round(values, 1) if name[0] == "p" else values for name, values in block.items()}
    assert judged(rounded | {"y": y}).encoded_names == ("a", "b")


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        (np.log, ""),
        (lambda y: 2.54 * y, ""),
        (lambda y: 1.8 * y + 32, ""),
        (lambda y: np.round(np.sqrt(y), 3), ""),
        (lambda y: -1 / y, ""),
        (lambda y: -(y**3), "−"),
        (lambda y: np.argsort(np.argsort(y)) + 1.0, ""),
        (lambda y: -np.argsort(np.argsort(y)) * 1.0, "−"),
    ],
    ids=["logarithm", "inches", "Fahrenheit", "rounded root", "inverse", "falling cube", "ranks", "ranks from the top"],
)
@pytest.mark.parametrize("rows", [80, 4000])
def test_a_near_copy_is_named_with_the_option_and_kept(change, sign, rows, random):
    block = parts(random, 3, rows)
    y = random.gamma(2, 10, rows) + 1
    columns = judged(block | {"near copy": change(y), "y": y})
    assert "near copy" in columns.encoded_names
    [doubt] = columns.doubts
    drawn = "2,048 rows drawn at random" if rows > 2048 else f"{rows} rows"
    assert f"(rank correlation {sign}1.00000 in {drawn})" in doubt
    assert doubt.endswith("known only when `y` is, leave it out: --drop 'near copy'.")


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        (lambda p: p[0] * p[1], "`y` is `p0` · `p1` in"),
        (lambda p: p[2] / p[1], "`y` is `p2` / `p1` in"),
        (lambda p: np.round(100 * p[0] / p[2], 1), "`y` is 100 · `p0` / `p2` in"),
        (lambda p: np.round(p[0] / p[1], 2), "`y` is `p0` / `p1` in"),
        (lambda p: -0.5 * p[1] * p[2], "`y` is -0.5 · `p1` · `p2` in"),
        (lambda p: 0.5 * (p[0] + p[1]), "`y` is 0.5 `p0` + 0.5 `p1` in"),
        (lambda p: 2 * p[0] - 3 * p[1] + 0.25 * p[2] + 7, "`y` is 2 `p0` − 3 `p1` + 0.25 `p2` + 7 in"),
        (lambda p: p[0] - p[2] - 12.5, "`y` is `p0` − `p2` − 12.5 in"),
        (lambda p: 1000 * (p[0] + p[1] + p[2]), "`y` is 1000 `p0` + 1000 `p1` + 1000 `p2` in"),
    ],
    ids=[
        *["product", "ratio", "rounded percentage", "rounded ratio", "factor"],
        *["mean", "any coefficients", "shifted", "other units"],
    ],
)
@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("rows", [80, 4000])
def test_a_formula_of_some_inputs_is_named_with_the_options_and_they_are_kept(rows, decimals, relation, says, random):
    block = parts(random, 4, rows, decimals)
    y = relation([block[f"p{i}"] for i in range(4)])
    columns = judged(block | {"y": y})
    assert columns.encoded_names == ("p0", "p1", "p2", "p3", "a", "b")
    [doubt] = columns.doubts
    assert doubt.startswith(says)
    named = [f"--drop p{i}" for i in range(4) if f"`p{i}`" in says]
    assert doubt.endswith(f"when `y` is, leave them out: {' '.join(named)}.")


def test_places_in_the_order_of_a_target_with_equal_values_are_named(random):
    y = random.integers(0, 30, 500) * 1.0
    block = parts(random, 2, 500) | {"place": np.argsort(np.argsort(-y, kind="stable")) + 1.0, "y": y}
    assert judged(block).doubts[0].startswith("`place` sorts the rows backwards, as `y` does (rank correlation −0.999")
    coarse = block | {"place": np.floor(y / 3)}
    assert judged(coarse).doubts == ()


def test_two_formulas_are_both_named(random):
    block = parts(random, 4, 300)
    y = block["p0"] * block["p1"]
    columns = judged(block | {"price": y / block["p2"], "root": np.sqrt(y), "y": y})
    assert len(columns.doubts) == 3
    assert [doubt.partition(" in ")[0] for doubt in columns.doubts[1:]] == [
        "`y` is `p0` · `p1`",
        "`y` is `p2` · `price`",
    ]


@pytest.mark.parametrize(
    "relation",
    [lambda p: 2 * p[0] + 3 * p[1] + 1, lambda p: p[0] * p[1], lambda p: p[0] / p[1]],
    ids=["plane", "product", "ratio"],
)
def test_what_all_inputs_together_say_is_what_there_is_to_learn(relation, random):
    x = random.gamma(3, 10, (2, 200))
    assert judged({"p0": x[0], "p1": x[1], "y": relation(x)}).doubts == ()
    assert judged({"p0": x[0], "y": np.exp(x[0] / 30)}).doubts == ()


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("decimals", [1, 3, 9])
def test_what_noise_blurs_beyond_the_printed_decimals_is_not_named(noise, decimals, random):
    block = parts(random, 5, 600, decimals)
    p = [block[f"p{i}"] for i in range(5)]
    for clean in (2 * p[0] + 3 * p[1], p[0] + p[1] + p[2] + p[3], p[0] * p[1], p[2] / p[3], np.log(p[4] + 1)):
        y = clean + noise * clean.std() * random.normal(size=600)
        columns = judged(block | {"y": np.round(y, decimals + 2)})
        assert columns.doubts == ()
        assert len(columns.encoded_names) == 7


@pytest.mark.parametrize("seed", range(20))
def test_tables_of_noise_and_codes_are_not_said_to_give_anything_away(seed):
    random = np.random.default_rng(seed)
    rows, width = int(random.integers(10, 120)), int(random.integers(2, 60))
    block = {
        f"c{i}": random.integers(0, random.integers(2, 12), rows) * 1.0 if i % 2 else random.normal(size=rows).round(int(i % 5))
        for i in range(width)
    }  # fmt: skip
    for y in (random.integers(0, 8, rows) * 1.0, random.normal(size=rows).round(1), random.normal(size=rows)):
        block["y"] = y
        columns = judged(block)
        assert columns.doubts == ()
        assert not any("leaks" in entry.says for entry in columns.uses)


def test_kept_columns_are_not_named_and_dropped_ones_not_looked_at(random):
    block = parts(random, 2, 100) | {"y": random.gamma(2, 10, 100)}
    block["log"] = np.log(block["y"])
    assert len(judged(block).doubts) == 1
    assert judged(block, keep=["log"]).doubts == ()
    assert judged(block, drop=["log"]).doubts == ()


def test_missing_cells_say_nothing_of_a_relation(random):
    block = parts(random, 5, 800)
    y = sum(block[f"p{i}"] for i in range(5))
    for name in block:
        block[name][random.random(800) < 0.05] = np.nan
    assert judged(block | {"y": y}).encoded_names == ("a", "a missing", "b", "b missing")


def test_huge_and_infinite_numbers_are_no_trouble(random):
    block = parts(random, 4, 100)
    block["p1"] = block["p1"] * 1e118
    block["p2"] = block["p2"] * 1e-118
    assert judged(block | {"y": random.normal(size=100) * 1e110}).doubts == ()


@pytest.mark.parametrize("size", [1, 100, 2048, 2049, 9999])
def test_the_sample_is_the_same_wherever_the_blocks_are_cut(size):
    x, y = np.arange(10_000.0)[:, None], -np.arange(10_000.0)[:, None]
    sample, whole = Sample(2), Sample(2)
    whole.add(x, y)
    for start in range(0, 10_000, size):
        sample.add(x[start : start + size], y[start : start + size])
    np.testing.assert_array_equal(sample.rows, whole.rows)
    assert sample.rows.shape == (2048, 2)
    assert np.all(np.diff(sample.rows[:, 0]) > 0)
    np.testing.assert_allclose(sample.rows[:, 0].mean(), 5000, atol=4 * 2887 / np.sqrt(2048))
    assert np.bincount((sample.rows[:, 0] // 1000).astype(int)).min() > 150


def test_doubts_are_read_back_from_json(random):
    block = parts(random, 2, 100) | {"y": random.gamma(2, 10, 100)}
    columns = judged(block | {"log": np.log(block["y"])})
    assert Columns.from_dict(columns.to_dict()) == columns
    assert columns.doubts
