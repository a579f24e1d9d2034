"""What becomes of a table's columns, against closed forms and against rules said in words."""

import itertools
import json
import math
import re
import time

import numpy as np
import pytest

from fallline.exceptions import ShapeError, TableError
from fallline.table.classes import class_numbers
from fallline.table.columns import Columns
from fallline.table.roles import MOST_CATEGORIES
from fallline.table.scaling import Scaling

NAN = float("nan")


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def texts(pattern, rows):
    """The pattern again and again, as a text column of so many rows; - stands for missing."""
    listed = [None if text == "-" else text for text in pattern.split()]
    return objects(*[listed[i % len(listed)] for i in range(rows)])


def dates(first, step, rows):
    return np.datetime64(first, "us") + np.arange(rows) * np.timedelta64(1, step)


def cut(block, size):
    rows = len(next(iter(block.values())))
    return [{name: values[i : i + size] for name, values in block.items()} for i in range(0, rows, size)]


def fit(targets=("y",), blocks=None, **columns):
    options = {name: columns.pop(name) for name in ("drop", "keep", "categories") if name in columns}
    if "y" not in columns:
        rows = len(next(iter(columns.values())))
        columns["y"] = np.sin(np.arange(rows) * 1.7) * 100
    return Columns.fit([columns], targets, **options)


def use(columns, name):
    return next(entry for entry in columns.uses if entry.name == name)


def spread(rows=60):
    """A column of ordinary numbers, so that there is something to learn from."""
    return np.cos(np.arange(rows) * 2.3)


# ----------------------------------------------------------------------------------------------------
# Roles and encodings


def test_a_number_stays_itself():
    columns = fit(x=np.array([102.0, 540.0, 300.5]), z=np.array([1.0, 2.0, 1.0]))
    assert use(columns, "x").role == "number"
    assert use(columns, "x").says == "a number, 102 to 540"
    assert columns.encoded_names == ("x", "z")
    assert columns.indicators.tolist() == [False, False]
    np.testing.assert_array_equal(columns.encode({"x": np.array([7.0]), "z": np.array([8.0])}), [[7.0, 8.0]])


def test_a_missing_number_becomes_the_mean_and_a_mark():
    columns = fit(x=np.array([1.0, NAN, 3.0, 8.0]))
    assert columns.encoded_names == ("x", "x missing")
    assert "1 missing" in use(columns, "x").says
    assert columns.indicators.tolist() == [False, True]
    np.testing.assert_allclose(columns.encode({"x": np.array([NAN, 5.0])}), [[4.0, 1.0], [5.0, 0.0]])


def test_a_number_missing_only_later_becomes_the_mean_in_silence():
    columns = fit(x=np.array([1.0, 3.0, 8.0]))
    np.testing.assert_array_equal(columns.encode({"x": np.array([NAN, NAN])}), [[4.0], [4.0]])


def test_a_boolean_is_one_column_of_0_and_1():
    columns = fit(b=np.array([True, False, True, True]))
    assert use(columns, "b").role == "boolean"
    assert columns.encoded_names == ("b",)
    assert columns.indicators.tolist() == [True]
    np.testing.assert_array_equal(columns.encode({"b": np.array([False, True])}), [[0.0], [1.0]])
    np.testing.assert_array_equal(columns.encode({"b": np.array([0.0, 1.0, NAN])}), [[0.0], [1.0], [0.75]])


def test_a_boolean_with_gaps_has_a_mark():
    columns = fit(b=objects(True, None, False, True))
    assert columns.encoded_names == ("b", "b missing")
    np.testing.assert_allclose(columns.encode({"b": objects(None, True)}), [[2 / 3, 1.0], [1.0, 0.0]])


def test_text_with_repeated_values_has_one_column_for_each():
    columns = fit(s=texts("b a c", 60))
    assert use(columns, "s").role == "category"
    assert use(columns, "s").says == "3 categories: a, b, c"
    assert columns.encoded_names == ("s=a", "s=b", "s=c")
    assert columns.indicators.all()
    encoded = columns.encode({"s": objects("c", "a", "unseen", None)})
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_text_of_two_values_has_one_column():
    columns = fit(s=texts("yes no no", 60))
    assert columns.encoded_names == ("s=yes",)
    encoded = columns.encode({"s": objects("yes", "no", "unseen", None)})
    np.testing.assert_allclose(encoded, [[1.0], [0.0], [1 / 3], [1 / 3]])


def test_missing_text_is_a_category_of_its_own():
    columns = fit(s=texts("f m - m", 60))
    assert columns.encoded_names == ("s=f", "s=m", "s=missing")
    np.testing.assert_array_equal(columns.encode({"s": objects(None, "f")}), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(columns.encode({"s": np.array([NAN, NAN])}), [[0, 0, 1], [0, 0, 1]])


def test_one_text_and_gaps_are_a_mark():
    columns = fit(s=texts("x - -", 60))
    assert columns.encoded_names == ("s=x", "s=missing")


def test_rare_and_unseen_categories_go_together():
    column = texts("a b c", 997).tolist() + ["r1", "r2", "r2"]
    columns = fit(s=objects(*column))
    assert columns.encoded_names == ("s=a", "s=b", "s=c", "s=other")
    assert "2 rare ones together as other" in use(columns, "s").says
    encoded = columns.encode({"s": objects("r1", "unseen", "a")})
    np.testing.assert_array_equal(encoded, [[0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("rows", "count", "kept"), [(300, 2, False), (300, 3, True), (5000, 9, False), (5000, 10, True)]
)
def test_a_category_needs_one_percent_of_the_rows_or_ten(rows, count, kept):
    column = texts("a b c", rows - count - 2).tolist() + ["edge"] * count + ["once", "else"]
    assert ("s=edge" in fit(s=objects(*column)).encoded_names) is kept


def test_of_many_categories_the_most_frequent_are_kept():
    column = [f"c{i:03d}" for i in range(80) for _ in range(20 + i)]
    columns = fit(s=objects(*column))
    assert columns.encoded_names[:-1] == tuple(f"s=c{i:03d}" for i in range(80 - MOST_CATEGORIES, 80))
    assert columns.encoded_names[-1] == "s=other"


REMARKS = objects(*["Not enough blood was drawn." if i % 9 == 0 else None for i in range(59)], "No nest was seen.")


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (objects(*[f"N{i}" for i in range(60)]), "identifier or free text: 60 different texts in 60 rows"),
        (objects(*[f"N{i // 2}A" for i in range(300)]), "identifier or free text: 150 different texts in 300 rows"),
        (
            objects(*[f"N{i // 2 if i < 16 else i}" for i in range(20)]),
            "identifier or free text: 12 different texts in 20 rows",
        ),
        (texts("Anvers", 60), "all values are 'Anvers'"),
        (np.zeros(60), "all values are 0"),
        (np.full(60, 0.998), "all values are 0.998"),
        (np.r_[NAN, np.full(59, 5.0)], "all values are 5 where there is one (1 row without)"),
        (np.ones(60, bool), "all values are true"),
        (dates("2020-01-01", "D", 1).repeat(60), "all values are 2020-01-01"),
        (np.full(60, NAN), "no value in any row"),
        (objects(*[None] * 60), "no value in any row"),
        (REMARKS, "remarks in 8 rows of 60"),
    ],
    ids=[
        *["distinct", "pairs", "more than half distinct", "one text", "zeros", "one number", "one number and a gap"],
        *["one truth", "one date", "empty", "empty text", "remarks"],
    ],
)
def test_what_tells_nothing_is_dropped_and_said(column, says):
    columns = fit(x=np.resize(spread(), len(column)), c=column)
    assert use(columns, "c").role == "dropped"
    assert use(columns, "c").says == f"dropped: {says}"
    assert columns.encoded_names == ("x",)


@pytest.mark.parametrize("name", ["id", "ID", "instant", "Unnamed: 0", "index", "row_no", "Sample Number", "column_1"])
def test_a_row_number_is_dropped(name):
    columns = fit(x=spread(), **{name: np.arange(60) + 1.0})
    assert use(columns, name).says == "dropped: row number, 1 to 60"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("day", np.arange(60) + 1.0),
        ("id", np.arange(60) * 5.0),
        ("id", np.arange(60)[::-1] + 1.0),
        ("id", np.arange(60) + 0.5),
        ("no", np.arange(60) % 3 + 1.0),
    ],
    ids=["another name", "in fives", "backwards", "halves", "short cycle"],
)
def test_what_only_resembles_a_row_number_stays(name, column):
    assert use(fit(x=spread(), **{name: column}), name).role == "number"


def test_a_row_number_that_starts_again_is_dropped_wherever_the_blocks_are_cut():
    block = {"id": np.r_[np.arange(1, 41), np.arange(1, 31)] * 1.0, "x": spread(70), "y": spread(70) ** 2}
    for size in (1, 7, 40, 70):
        assert use(Columns.fit(cut(block, size), ["y"]), "id").says == "dropped: row number, 1 to 40"


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_row_number_is_known_where_some_rows_are_held_out(share, random):
    rows = np.flatnonzero(random.random(700) < share) + 1.0
    assert use(fit(id=rows, x=spread(len(rows))), "id").role == "dropped"


def test_a_short_cycle_is_no_row_number_wherever_the_blocks_are_cut():
    block = {"no": np.arange(60) % 3 + 1.0, "x": spread(), "y": spread() ** 2}
    assert [use(Columns.fit(cut(block, size), ["y"]), "no").role for size in (1, 3, 60)] == ["number"] * 3


def test_a_row_number_that_is_the_only_input_stays():
    assert fit(id=np.arange(60) + 1.0).encoded_names == ("id",)


def test_names_of_encoded_columns_are_made_unique():
    columns = fit(**{"x": np.r_[NAN, spread(59)], "x missing": spread(), "s": texts("other a b", 60)})
    assert columns.encoded_names == ("x", "x missing", "x missing_2", "s=a", "s=b", "s=other")


def test_a_copy_of_another_input_stays_and_is_named():
    columns = fit(a=spread(), b=spread() + 1, c=spread())
    assert use(columns, "c").says.endswith("; a copy of `a`")
    assert "copy" not in use(columns, "b").says
    assert columns.encoded_names == ("a", "b", "c")


# ----------------------------------------------------------------------------------------------------
# Categories spelled otherwise than in the fit


@pytest.mark.parametrize(
    ("fitted", "given", "places"),
    [
        ("02139 10001 94105 07030", objects("2139", "7030", "10001"), [0, 1, 2]),
        ("02139 10001 94105 07030", np.array([2139.0, 7030.0, 10001.0]), [0, 1, 2]),
        ("2139 7030 x", objects("02139", "007030", "X"), [0, 1, 2]),
        ("Ja Nein weiß", objects("ja", " NEIN ", "WEISS"), [0, 1, 2]),
        ("true false unknown", np.array([True, False, True]), [1, 0, 1]),
        ("True False unknown", objects(True, None, False), [1, None, 0]),
        ("Malmö Zürich Århus", objects("Malmo\u0308", "ZU\u0308RICH", "\u212brhus"), [0, 1, 2]),
        ("New_York Rio Lima", objects("new_york\u00a0", "\trio", "lima"), [1, 2, 0]),
        ("1 2 x", objects("1.0", "02", "2.0"), [0, 1, 1]),
        ("1.0 2.50 x", np.array([1.0, 2.5, 2.5]), [0, 1, 1]),
        ("1e3 -0.5 x", np.array([1000.0, -0.5, -0.5]), [1, 0, 0]),
    ],
    ids=[
        *["codes without zeros", "codes read as numbers", "codes with zeros", "capitals and blanks"],
        *["truths", "truths with a gap", "letters composed or not", "blanks of every kind"],
        *["1 and 1.0", "numbers of texts", "numbers in other forms"],
    ],
)  # fmt: skip
def test_a_category_is_known_however_it_is_spelled_where_it_can_be_only_one(fitted, given, places):
    columns = fit(s=texts(fitted, 60))
    expected = np.array([[float(at == i) for i in range(len(fitted.split()))] for at in places])
    np.testing.assert_array_equal(columns.encode({"s": given}), expected)


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        ("ja JA nein", objects("Ja")),
        ("01 1 2", objects("001")),
        ("01 1 x", np.array([1.5])),
        ("1.1 1.2 x", objects("1.10")),
        ("New_York Rio Lima", objects("NewYork")),
        ("11 12 13", objects("1 1")),
        ("-1 2 3", objects("1")),
        ("a b c", objects("á")),
    ],
)
def test_a_category_that_could_be_two_or_none_is_unseen(fitted, given):
    assert not fit(s=texts(fitted, 60)).encode({"s": given}).any()


def test_the_exact_spelling_comes_first():
    columns = fit(s=texts("ja JA nein", 60))
    np.testing.assert_array_equal(columns.encode({"s": objects("ja", "JA", "Nein")}), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_a_rare_category_of_the_fit_is_not_taken_for_a_frequent_one_that_is_spelled_almost_so():
    column = objects(*texts("ja nein", 997).tolist(), "JA", "x", "y")
    columns = Columns.from_dict(json.loads(json.dumps(fit(s=column).to_dict())))
    assert columns.encoded_names == ("s=ja", "s=nein", "s=other")
    given = objects("JA", "Ja", "NEIN", "ja")
    np.testing.assert_array_equal(columns.encode({"s": given}), [[0, 0, 1], [0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_no_training_row_is_encoded_otherwise_than_by_its_own_spelling(random):
    kinds = np.array(["a", "A", " a", "1", "01", "1.0", "b", "B", "c", "é", "e\u0301"], dtype=object)
    column = random.choice(kinds, 2000, p=[0.3, 0.002, 0.2, 0.2, 0.1, 0.001, 0.1, 0.002, 0.05, 0.043, 0.002])
    columns = fit(s=column)
    frequent = [name.removeprefix("s=") for name in columns.encoded_names]
    own = np.array([[float(cell == name) for name in frequent[:-1]] for cell in column])
    encoded = columns.encode({"s": column})
    np.testing.assert_array_equal(encoded[:, :-1], own)
    np.testing.assert_array_equal(encoded[:, -1], 1 - own.sum(axis=1))


@pytest.mark.parametrize(
    ("fitted", "given", "said"),
    [
        (
            "a b c", objects("d", "a", "e", "d", None),
            "In new.csv `s` holds categories in 3 rows that were not in the fit: used as none of its categories, 0 in all their "
            "columns. These are 'd' (2) and 'e' (1).",
        ),
        (
            "f m m", objects("x", "m"),
            "In new.csv `s` holds categories in 1 row that were not in the fit: used as 67 % 'm', its share there. "
            "These are 'x' (1).",
        ),
        (
            "02139 10001 94105", np.array([2139.0, 2139.0, 10001.0]),
            "In new.csv `s` is spelled otherwise than in the fit in 2 rows, and taken for the same: '2139' for '02139'.",
        ),
    ],
    ids=["zero", "two categories", "respelled"],
)  # fmt: skip
def test_what_became_of_categories_of_a_new_table_is_said(fitted, given, said):
    blocks = [{"s": given[:1]}, {"s": given[1:]}]
    assert fit(s=texts(fitted, 60)).spelled_otherwise(blocks, "new.csv") == (said,)


def test_unseen_and_rare_categories_that_are_used_as_other_are_said():
    columns = fit(s=objects(*texts("a b c", 997).tolist(), "r1", "r2", "r2"))
    [said] = columns.spelled_otherwise([{"s": objects("r1", "new", "a")}], "new.csv")
    assert "in 2 rows that were not in the fit, or rarely: used as other. These are 'new' (1) and 'r1' (1)." in said
    assert columns.spelled_otherwise([{"s": objects("a", "c", None)}], "new.csv") == ()


# ----------------------------------------------------------------------------------------------------
# Dates


def test_a_date_is_elapsed_days_year_cycle_and_weekday():
    columns = fit(d=dates("2020-01-01", "D", 500))
    assert use(columns, "d").role == "date"
    assert use(columns, "d").says == "a date, 2020-01-01 to 2021-05-14"
    weekdays = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    assert columns.encoded_names == ("d days", "d year sin", "d year cos", *[f"d {day}" for day in weekdays])
    assert columns.indicators.tolist() == [False] * 3 + [True] * 7
    encoded = columns.encode({"d": np.array(["2020-01-01", "2024-02-29", "NaT"], dtype="datetime64[us]")})
    np.testing.assert_allclose(encoded[:, 0], [0, 1520, 249.5])
    angle = 2 * math.pi * (18262 + np.array([0, 1520])) / 365.2425  # 2020-01-01 is day 18262 since 1970
    np.testing.assert_allclose(encoded[:2, 1:3], np.stack([np.sin(angle), np.cos(angle)], axis=1))
    assert encoded[0, 3:].tolist() == [0, 0, 1, 0, 0, 0, 0]  # a Wednesday
    assert encoded[1, 3:].tolist() == [0, 0, 0, 1, 0, 0, 0]  # a Thursday
    assert encoded[2, 1:].tolist() == [0] * 9


def test_only_weekdays_that_were_seen_have_a_column():
    columns = fit(d=np.sort(np.r_[dates("2020-01-06", "W", 10), dates("2020-01-09", "W", 10)]))
    assert columns.encoded_names == ("d days", "d Monday", "d Thursday")


def test_dates_before_1970_fall_on_their_weekdays():
    encoded = fit(d=dates("1960-01-01", "D", 100)).encode({"d": np.array(["1969-07-20T20:17"], dtype="datetime64[us]")})
    assert encoded[0, 1:8].tolist() == [0, 0, 0, 0, 0, 0, 1]  # a Sunday


@pytest.mark.parametrize(
    ("column", "encoded"),
    [
        (dates("2020-01-06", "D", 10), ["d days"]),
        (dates("2020-01-06", "W", 10), ["d days"]),
        (dates("2020-01-06", "W", 60), ["d days", "d year sin", "d year cos"]),
        (dates("2020-01-06", "h", 60), ["d days", "d time sin", "d time cos"]),
    ],
    ids=["ten days", "ten Mondays", "a year of Mondays", "sixty hours"],
)
def test_a_date_has_only_the_cycles_that_its_span_can_teach(column, encoded):
    assert list(fit(d=column).encoded_names) == encoded


def test_the_time_of_day_goes_round():
    columns = fit(d=dates("1970-01-01", "h", 24))
    encoded = columns.encode({"d": np.array(["1970-01-01T06:00", "2020-05-05T18:00"], dtype="datetime64[us]")})
    np.testing.assert_allclose(encoded[:, 1:], [[1, 0], [-1, 0]], atol=1e-9)


def test_a_missing_date_is_marked_and_stands_in_the_middle():
    column = dates("2020-01-01", "D", 30)
    column[4] = np.datetime64("NaT")
    columns = fit(d=column)
    assert columns.encoded_names[-1] == "d missing"
    encoded = columns.encode({"d": np.array([NAN])})
    mean = np.delete(np.arange(30), 4).mean()
    np.testing.assert_allclose(encoded[0], [mean] + [0] * 7 + [1])


# ----------------------------------------------------------------------------------------------------
# What the user asks for


def test_drop_keep_and_categories_are_obeyed():
    columns = fit(
        x=spread(),
        const=np.zeros(60),
        id=np.arange(60) + 1.0,
        name=objects(*[f"n{i % 40}" for i in range(60)]),
        season=np.arange(60) % 4 + 1.0,
        gone=spread() * 2,
        drop=["gone"],
        keep=["const", "id", "name"],
        categories=["season"],
    )
    assert use(columns, "gone").says == "dropped: as asked"
    assert use(columns, "const").role == "number"
    assert use(columns, "id").role == "number"
    assert use(columns, "name").role == "category"
    assert use(columns, "season").says == "4 categories: 1, 2, 3, 4"
    season = columns.encoded_names.index("season=1")
    block = {"x": [1.0], "const": [0.0], "id": [1.0], "name": objects("n1"), "season": np.array([3.0])}
    encoded = columns.encode({name: np.asarray(values) for name, values in block.items()})
    assert encoded[0, season : season + 4].tolist() == [0, 0, 1, 0]


def test_forced_categories_are_matched_whether_read_as_number_or_text():
    columns = fit(c=texts("10 9 2.5", 60), x=spread(), categories=["c"])
    assert columns.encoded_names[:3] == ("c=2.5", "c=9", "c=10")
    np.testing.assert_array_equal(
        columns.encode({"c": np.array([9.0, 2.5]), "x": np.zeros(2)})[:, :3], [[0, 1, 0], [1, 0, 0]]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": ["agee"]}, "There is no column `agee` to be a drop. Did you mean `age`"),
        ({"keep": ["zzz"]}, "no column `zzz` .* The columns are `age`, `y`"),
        ({"categories": ["AGE"]}, "Did you mean `age`"),
        ({"drop": ["age"], "keep": ["age"]}, "`age` is both in drop and in keep"),
        ({"drop": ["y"]}, "`y` is a target, so it cannot be in drop"),
        ({"categories": ["when"]}, "`when` holds dates"),
        ({"drop": ["age", "when"]}, "No input is left to learn from: `age` dropped: as asked"),
    ],
)
def test_what_cannot_be_done_is_said(options, words):
    with pytest.raises(TableError, match=words):
        fit(age=spread(20), y=spread(20) ** 2, when=dates("2020-01-01", "D", 20), **options)


# ----------------------------------------------------------------------------------------------------
# Leakage


def test_columns_that_add_up_to_the_target_are_dropped():
    casual, registered = np.arange(60) * 7 % 31 + 1.0, np.arange(60) * 11 % 53 + 2.0
    columns = fit(
        x=spread(), casual=casual, registered=registered, cnt=casual + registered, targets=["cnt"], y=spread()
    )
    for name in ("casual", "registered"):
        assert use(columns, name).role == "dropped"
        assert use(columns, name).says == "dropped: leaks the target, `casual` + `registered` add up to `cnt`"
    assert columns.encoded_names == ("x", "y")


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        (lambda a, b, c: a, "`a` equals `y`"),
        (lambda a, b, c: -a, "`a` is minus `y`"),
        (lambda a, b, c: a - b, "`a` − `b` is `y`"),
        (lambda a, b, c: b - a, "`b` − `a` is `y`"),
        (lambda a, b, c: a + b + c, "`a` + `b` + `c` add up to `y`"),
        (lambda a, b, c: a - b - c, "`a` − `b` − `c` is `y`"),
    ],
    ids=["equal", "minus", "difference", "other difference", "three", "three with signs"],
)
@pytest.mark.parametrize("rows", [40, 1000])
def test_every_relation_with_plain_signs_is_found(relation, says, rows, random):
    a, b, c, x = random.normal(size=(4, rows))
    columns = fit(a=a, b=b, c=c, x=x, y=relation(a, b, c))
    assert use(columns, "a").says == f"dropped: leaks the target, {says}"
    assert use(columns, "x").role == "number"
    assert ("c" in columns.encoded_names) is ("`c`" not in says)


@pytest.mark.parametrize(
    "relation",
    [lambda a, b: 2 * a, lambda a, b: a + 1, lambda a, b: (a + b) / 2, lambda a, b: a + b + 1e-6 * np.sign(a - b)],
    ids=["twice", "shifted", "mean", "nearly"],
)
def test_other_relations_are_what_there_is_to_learn(relation, random):
    a, b, x = random.normal(size=(3, 100))
    assert fit(a=a, b=b, x=x, y=relation(a, b)).encoded_names == ("a", "b", "x")


def test_one_row_that_differs_refutes_a_leak(random):
    a, b, x = random.normal(size=(3, 1000))
    y = a + b
    y[900] += 0.01
    assert fit(a=a, b=b, x=x, y=y).encoded_names == ("a", "b", "x")


def test_a_leak_with_missing_cells_is_found(random):
    a, b, x = random.normal(size=(3, 1000))
    y = a + b
    a[::7], b[3::11] = NAN, NAN
    assert fit(a=a, b=b, x=x, y=y).encoded_names == ("x",)


def test_a_leak_into_one_of_two_targets_is_found(random):
    a, b, x = random.normal(size=(3, 100))
    columns = fit(a=a, b=b, x=x, u=x**2, y=a + b, targets=["u", "y"])
    assert columns.encoded_names == ("x",)
    assert use(columns, "a").says.endswith("`a` + `b` add up to `y`")


def test_a_leak_that_is_all_there_is_stays_and_is_said():
    a, b = np.arange(60) * 7 % 31 + 1.0, np.arange(60) * 11 % 53 + 2.0
    columns = fit(a=a, b=b, y=a + b)
    assert columns.encoded_names == ("a", "b")
    assert "`a` + `b` add up to `y`, kept because no other input is left" in use(columns, "a").says


def test_a_leak_that_is_kept_on_purpose_stays_and_the_rest_goes(random):
    a, b, x = random.normal(size=(3, 100))
    columns = fit(a=a, b=b, x=x, y=a + b, keep=["a"])
    assert columns.encoded_names == ("a", "x")
    assert "kept as asked, although `a` + `b` add up to `y`" in use(columns, "a").says


@pytest.mark.parametrize("rows", [3, 4, 9], ids=lambda rows: f"{rows} rows")
def test_in_a_handful_of_rows_a_sum_may_be_chance(rows):
    x1, x2 = np.arange(rows) % 2 * 1.0, np.arange(rows) // 2 % 2 * 1.0
    x1[-1], x2[-1] = 1.0, 1.0
    assert fit(x1=x1, x2=x2, x3=spread(rows), y=x1 + x2).encoded_names == ("x1", "x2", "x3")


@pytest.mark.parametrize(("rows", "role"), [(9, "number"), (10, "dropped")])
def test_a_copy_of_the_target_takes_ten_rows_to_be_believed(rows, role):
    assert use(fit(a=spread(rows), x=spread(rows) ** 2, y=spread(rows)), "a").role == role


def test_a_teaching_table_keeps_its_input():
    columns = fit(x=np.arange(20.0), y=2 * np.arange(20.0))
    assert columns.encoded_names == ("x",)


# ----------------------------------------------------------------------------------------------------
# Independence of blocks


def awkward(rows=700):
    random = np.random.default_rng(3)
    a, b = random.integers(0, 50, (2, rows)) * 1.0
    gaps = random.normal(size=rows)
    gaps[random.random(rows) < 0.1] = NAN
    column = random.choice(["a", "b", "c", "d"], rows, p=[0.5, 0.3, 0.198, 0.002]).astype(object)
    column[random.random(rows) < 0.05] = None
    y = a - b
    y[5], y[600] = NAN, NAN
    return {
        "id": np.arange(rows) + 1.0,
        "offset": 1e9 + random.normal(size=rows),
        "gaps": gaps,
        "copy": gaps.copy(),
        "a": a,
        "b": b,
        "s": column,
        "name": objects(*[f"n{i}" for i in range(rows)]),
        "flag": objects(*[[True, False, None][i] for i in random.integers(0, 3, rows)]),
        "when": dates("2019-05-05T03:00", "h", rows * 13)[::13],
        "code": random.integers(1, 5, rows) * 1.0,
        "late": np.r_[np.full(rows - 20, NAN), np.arange(20.0)],
        "empty": np.full(rows, NAN),
        "same": np.full(rows, 0.1),
        "y": y,
    }


@pytest.mark.parametrize("size", [1, 2, 13, 256, 257, 699])
def test_where_the_rows_are_cut_changes_nothing(size):
    block = awkward()
    whole = Columns.fit([block], ["y"], categories=["code"])
    parts = Columns.fit(cut(block, size), ["y"], categories=["code"])
    assert parts.uses == whole.uses
    np.testing.assert_allclose(parts.encode(block), whole.encode(block), rtol=1e-13, atol=1e-13)
    pieces = np.concatenate([parts.encode(part, start=0) for part in cut(block, size)])
    np.testing.assert_array_equal(pieces, parts.encode(block))


def test_rows_without_a_target_do_not_count():
    block = awkward()
    complete = ~np.isnan(block["y"])
    columns = Columns.fit([block], ["y"])
    filtered = Columns.fit([{name: values[complete] for name, values in block.items()}], ["y"])
    assert columns.encoded_names == filtered.encoded_names
    np.testing.assert_allclose(columns.encode(block), filtered.encode(block), rtol=1e-12)
    low, high = np.nanmin(block["y"]), np.nanmax(block["y"])
    assert use(columns, "y").says == f"a number, {low:g} to {high:g}; 2 rows without it left out"


def test_a_hundred_thousand_categories_are_quick_and_bounded():
    column = np.array([f"customer {i}" for i in range(100_000)], dtype=object)
    block = {"s": column, "x": spread(100_000), "y": spread(100_000) ** 2}
    started = time.perf_counter()
    columns = Columns.fit(cut(block, 20_000), ["y"])
    assert time.perf_counter() - started < 5
    assert re.search(
        "identifier or free text: more than 50,000 different texts in 100,000 rows", use(columns, "s").says
    )
    assert Columns.fit(cut(block, 7_000), ["y"]).uses == columns.uses


def test_long_texts_are_told_apart_without_being_kept():
    long = ["x" * 5000 + end for end in ("a", "b", "c")]
    columns = fit(s=objects(*[long[i % 3] for i in range(60)]))
    assert len(columns.encoded_names) == 3
    assert max(map(len, columns.encoded_names)) < 200
    encoded = columns.encode({"s": objects(*long)})
    assert encoded.sum(axis=0).tolist() == [1, 1, 1]
    assert encoded.sum(axis=1).tolist() == [1, 1, 1]


# ----------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (texts("Adelie Gentoo", 20), r"The target `y` is text \(such as 'Adelie'\), but numbers are expected"),
        (dates("2020-01-01", "D", 20), "The target `y` is a date"),
        (np.full(20, 3.0), "The target `y` is 3 in all 20 rows, so there is nothing to learn"),
        (np.full(20, NAN), "The target `y` has no value in any row"),
        (np.r_[spread(17), np.inf, 1, 2], "The target `y` is infinite in row 18"),
        (np.r_[1e200, spread(19)], "The target `y` is 1e[+]200, too large to be squared in row 1,"),
        (np.r_[1.0, np.full(19, NAN)], "has 1 row with a value of `y`, but at least two are needed"),
    ],
    ids=["text", "date", "constant", "all missing", "infinite", "too large", "one row"],
)
@pytest.mark.parametrize("size", [20, 6])
def test_a_target_that_cannot_be_learned_is_refused(y, words, size):
    with pytest.raises(TableError, match=words):
        Columns.fit(cut({"x": spread(20), "y": y}, size), ["y"])


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["bodymass"], "no column `bodymass` to be a target. Did you mean `body_mass`"),
        (["zzz"], "The columns are `x`, `body_mass`"),
        (["body_mass", "body_mass"], "given as a target twice"),
        ([], "No target was given"),
        (["x", "body_mass"], "no column besides its targets"),
    ],
)
def test_a_wrong_target_is_named(targets, words):
    with pytest.raises(TableError, match=words):
        Columns.fit([{"x": spread(20), "body_mass": spread(20) ** 2}], targets)


def test_a_boolean_target_is_0_and_1():
    columns = fit(x=spread(4), y=objects(True, False, None, True))
    assert use(columns, "y").says == "true or false; 1 row without it left out"
    np.testing.assert_array_equal(columns.target_values({"y": np.array([True, False])}), [[1.0], [0.0]])


@pytest.mark.parametrize("size", [20, 7])
def test_an_infinite_input_is_named_with_its_row(size):
    x = spread(20)
    x[16] = -np.inf
    y = np.r_[NAN, NAN, spread(18)]
    with pytest.raises(TableError, match="Column `x` is infinite in row 17, but finite numbers are expected"):
        Columns.fit(cut({"x": x, "z": spread(20), "y": y}, size), ["y"])
    assert Columns.fit([{"x": x, "z": spread(20), "y": y}], ["y"], drop=["x"]).encoded_names == ("z",)


def test_rows_may_have_numbers_of_their_own(penguins):
    x, numbers = np.r_[spread(18), np.inf, 1], np.arange(20) * 10
    with pytest.raises(TableError, match="`x` is infinite in row 180"):
        Columns.fit(cut({"x": x, "y": spread(20)}, 7), ["y"], row_numbers=numbers)
    with pytest.raises(TableError, match="`y` is infinite in row 180"):
        Columns.fit([{"x": spread(20), "y": x}], ["y"], row_numbers=numbers)
    block = {"mass": x, "sex": texts("f", 20), "when": dates("2020-01-01", "D", 20), "b": spread(20) > 0}
    with pytest.raises(TableError, match="`mass` is infinite in row 180"):
        penguins.encode(block, row_numbers=numbers)


def test_a_table_without_rows_or_inputs_is_refused():
    with pytest.raises(TableError, match="no rows"):
        Columns.fit([], ["y"])
    with pytest.raises(TableError, match=r"No input is left .* `a` dropped: all values are 0; `b` dropped: identifier"):
        fit(a=np.zeros(20), b=objects(*[f"t{i}" for i in range(20)]))


def test_a_column_of_two_kinds_is_refused():
    blocks = [{"x": spread(5), "y": spread(5)}, {"x": texts("a b", 5), "y": spread(5)}]
    with pytest.raises(TableError, match="Column `x` holds number values in some rows and text values in others"):
        Columns.fit(blocks, ["y"])
    with pytest.raises(TableError, match="Column `x` is in some blocks of rows and not in others"):
        Columns.fit([blocks[0], {"y": spread(5)}], ["y"])


@pytest.fixture
def penguins():
    return fit(mass=spread(), sex=texts("f m", 60), when=dates("2020-01-01", "D", 60), b=spread() > 0)


def test_missing_columns_are_named_with_what_stands_near(penguins):
    with pytest.raises(
        TableError, match=r"lacks `mass` \(is it `Mass`\?\), which the model was fitted on: add the column"
    ):
        penguins.check(["Mass", "sex", "when", "b", "y"])
    with pytest.raises(TableError, match="lacks `sex`, `when`"):
        penguins.encode({"mass": spread(3), "b": spread(3) > 0})
    penguins.check(["b", "when", "sex", "mass", "more"])


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("mass", objects("1", "2", "x"), "Column `mass` held numbers in training, but row 11 holds '1'"),
        ("mass", dates("2020-01-01", "D", 3), "held numbers .* row 11"),
        ("mass", np.array([1.0, NAN, np.inf]), "Column `mass` is infinite in row 13"),
        ("when", spread(3), "held dates in training"),
        ("sex", dates("2020-01-01", "D", 3), "held categories in training"),
        ("b", objects(None, "maybe", "no"), "held true or false in training, but row 12 holds 'maybe'"),
        ("b", np.array([0.0, 1.0, 2.0]), "held true or false"),
    ],
)
def test_cells_of_another_kind_than_in_training_are_refused(penguins, name, values, words):
    block = {"mass": spread(3), "sex": texts("f", 3), "when": dates("2020-01-01", "D", 3), "b": spread(3) > 0}
    with pytest.raises(TableError, match=words):
        penguins.encode(block | {name: values}, start=10)


def test_no_rows_are_encoded_to_no_rows(penguins):
    block = {"mass": np.zeros(0), "sex": objects(), "when": dates("2020-01-01", "D", 0), "b": np.zeros(0, bool)}
    assert penguins.encode(block).shape == (0, len(penguins.encoded_names))


# ----------------------------------------------------------------------------------------------------
# Written and read back


def test_columns_are_read_back_from_json_exactly():
    block = awkward()
    columns = Columns.fit([block], ["y"], categories=["code"])
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict(), allow_nan=False)))
    assert again == columns
    np.testing.assert_array_equal(again.encode(block), columns.encode(block))


@pytest.mark.parametrize(
    "classes", [("ash", "birch", "oak"), (False, True), (-1.0, 2.5)], ids=["texts", "truths", "numbers"]
)
def test_the_classes_of_a_target_are_read_back_from_json_exactly(classes):
    y = np.array(classes, dtype=object)[np.arange(60) % len(classes)]
    columns = Columns.fit([{"x": spread(60), "y": y}], ["y"], classes=classes)
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict(), allow_nan=False)))
    assert again == columns
    assert [type(label) for label in again.classes] == [type(label) for label in classes]
    assert again.outputs == (1 if len(classes) == 2 else len(classes))
    np.testing.assert_array_equal(again.target_values({"y": y})[:, 0], np.arange(60) % len(classes))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([1.0, 0.0, np.nan, 2.0], (0.0, 1.0)),
        ([1.0, 0.0, np.nan, 2.0], (False, True)),
        ([True, False, None, False], (0.0, 1.0)),
        (["1", "0", None, "no"], (0.0, 1.0)),
        ([1.0, 0.0, np.nan, 2.0], ("0", "1")),
        (["true", "false", None, "no"], (False, True)),
        (["JA ", "nein", None, "no"], ("Nein", "ja")),
        ([2139.0, 7030.0, np.nan, 1.0], ("07030", "2139")),
        (["02139", "7030.0", None, "no"], ("07030", "2139")),
        ([True, False, None, False], ("FALSE", "True", "x")),
    ],
    ids=[
        "as it was",
        "0 and 1 of truths",
        "truths of 0 and 1",
        "texts of numbers",
        "numbers of texts",
        "texts of truths",
        "other letters",
        "codes as numbers",
        "codes with other zeros",
        "truths of texts",
    ],
)
def test_a_class_is_known_however_a_table_spells_it(values, classes):
    numbers = class_numbers(np.array(values, dtype=object), classes)
    np.testing.assert_array_equal(numbers[:3], [1, 0, np.nan])
    assert numbers[3] == (0 if values[3] is False else -1)


HOSTILE = [None, 3, "x", True, [], {}, [1], {"name": "x"}, -1, 1e999, NAN, 10**400, [None], "number", ["a", "a"]]


def paths(data, path=()):
    yield path
    if isinstance(data, dict):
        for key in data:
            yield from paths(data[key], (*path, key))
    if isinstance(data, list):
        for i in range(min(len(data), 2)):
            yield from paths(data[i], (*path, i))


def replaced(data, path, value):
    if not path:
        return value
    copy = list(data) if isinstance(data, list) else dict(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy


def outcome(data):
    """What from_dict makes of it: a sentence, or columns that encode a block."""
    try:
        columns = Columns.from_dict(data)
    except ValueError as problem:
        return str(problem)
    block = {name: spread(3) for name in [entry.name for entry in columns.uses]}
    try:
        return columns.encode(block)
    except TableError as problem:
        return str(problem)


def test_whatever_stands_in_a_damaged_file_gets_a_sentence():
    data = fit(
        x=np.r_[NAN, spread(59)],
        s=texts("a b c -", 60),
        t=texts("f m", 60),
        d=dates("2020-01-01", "D", 60),
        e=objects(*texts("ja nein", 58).tolist(), "JA", "x"),
    ).to_dict()
    outcomes = [outcome(replaced(data, path, value)) for path in paths(data) for value in HOSTILE]
    assert len(outcomes) > 400
    assert all(result for result in outcomes if isinstance(result, str))
    lacking = [outcome({key: data[key] for key in data if key != gone}) for gone in data]
    assert all("was expected" in sentence for sentence in lacking)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("targets",), [], "one name or more"),
        (("plan",), [], "do not name the same columns"),
        (("plan", 0, "kind"), "eval", "cannot be encoded as 'eval'"),
        (("plan", 0, "mean"), NAN, "`mean` is not a finite number"),
        (("plan", 0, "mean"), True, "`mean` is not of type float"),
        (("plan", 0, "missing"), False, "do not agree"),
        (("classes",), ["a", 1.0], "all text, or all numbers"),
        (("classes",), ["a"], "two or more"),
        (("classes",), [0.0, np.inf], "finite numbers"),
        (("classes",), "ab", "all text, or all numbers"),
        (("uses", 0, "role"), "spy", "unknown role 'spy'"),
        (("plan", 1, "categories"), ["a", "a"], "different names"),
        (("uses", 0, "encoded"), ["s=a", "x missing"], "same name"),
    ],
)
def test_damage_is_said_in_words(path, value, words):
    data = fit(x=np.r_[NAN, spread(59)], s=texts("a b c", 60)).to_dict() | {"classes": ["a", "b"]}
    with pytest.raises(ValueError, match=words):
        Columns.from_dict(replaced(data, path, value))


# ----------------------------------------------------------------------------------------------------
# Scaling


def scaled_blocks(x, y, weights, size):
    for i in range(0, len(x), size):
        yield x[i : i + size], y[i : i + size], None if weights is None else weights[i : i + size]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_scaling_is_the_mean_and_standard_deviation_of_repeated_rows(size, random):
    x, y = random.normal(size=(50, 3)) * [1, 1e-8, 1e8] + [0, 5, 1e9], random.normal(size=(50, 2))
    repeats = random.integers(0, 4, 50)
    scaling = Scaling.fit(scaled_blocks(x, y, repeats.astype(float), size))
    for mine, theirs in (
        (scaling.x_mean, x.repeat(repeats, axis=0).mean(axis=0)),
        (scaling.x_scale, x.repeat(repeats, axis=0).std(axis=0)),
        (scaling.y_mean, y.repeat(repeats, axis=0).mean(axis=0)),
        (scaling.y_scale, y.repeat(repeats, axis=0).std(axis=0)),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_scaling_keeps_the_digits_of_small_spreads_at_large_means(size):
    x = 1e9 + np.tile([-1.0, 1.0], 500)[:, None]
    scaling = Scaling.fit(scaled_blocks(x, x, None, size))
    assert scaling.x_mean[0] == pytest.approx(1e9, rel=1e-15)
    assert scaling.x_scale[0] == pytest.approx(1.0, rel=1e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300, 1e100, -7.3])
def test_a_constant_column_is_not_divided_by_its_rounding(value):
    x = np.full((1000, 1), value)
    assert Scaling.fit(scaled_blocks(x, x, np.full(1000, 0.1), 7)).x_scale[0] == 1.0
    noisy = x * (1 + np.tile([0, 2.0**-52], 500)[:, None])
    assert Scaling.fit(scaled_blocks(noisy, x, None, 7)).x_scale[0] == 1.0


def test_indicators_are_centred_and_divided_by_a_half():
    x = np.zeros((1000, 2))
    x[0, 0], x[:500, 1] = 1, 1
    scaling = Scaling.fit([(x, x, None)], indicators=np.array([True, False]))
    np.testing.assert_allclose(scaling.x_mean, [0.001, 0.5])
    np.testing.assert_allclose(scaling.x_scale, [0.5, 0.5])


def test_without_biases_zero_stays_zero():
    x = np.array([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]])
    scaling = Scaling.fit([(x, x[:, :1], None)], centre=False, indicators=np.array([False, False, True]))
    assert scaling.x_mean.tolist() == [0, 0, 0]
    np.testing.assert_allclose(scaling.x_scale, [math.sqrt(12.5), 1, 1])
    np.testing.assert_allclose(scaling.y_scale, [math.sqrt(12.5)])
    assert scaling.x(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


def test_targets_may_stay_as_they_are(random):
    x = random.normal(size=(10, 1))
    scaling = Scaling.fit([(x, x + 5, None)], scale_targets=False)
    assert (scaling.y_mean.tolist(), scaling.y_scale.tolist()) == ([0.0], [1.0])


@pytest.mark.parametrize("centre", [True, False])
def test_one_scale_for_all_targets_keeps_the_proportions_of_their_squares(centre, random):
    y = np.hstack([random.normal(size=(60, 2)) * [1, 100], np.full((60, 1), 0.0)])
    s = random.uniform(0, 2, size=60)
    scaling = Scaling.fit([(y[:20], y[:20], s[:20]), (y[20:], y[20:], s[20:])], centre=centre, one_target_scale=True)
    assert len(set(scaling.y_scale)) == 1
    assert np.average((scaling.y(y) ** 2).mean(axis=1), weights=s) == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(scaling.unscale_y(scaling.y(y)), y, atol=1e-10)


def test_constant_targets_have_one_scale_too():
    y = np.zeros((5, 3))
    np.testing.assert_array_equal(Scaling.fit([(y, y, None)], one_target_scale=True).y_scale, 1)


def test_rows_without_weight_are_refused():
    x = np.ones((3, 1))
    with pytest.raises(TableError, match="No row has a positive weight"):
        Scaling.fit([(x, x, np.zeros(3))])
    with pytest.raises(TableError, match="No row has a positive weight"):
        Scaling.fit([])


def forward(layers, x):
    for coef, intercept in layers[:-1]:
        x = np.tanh(x @ coef + (0 if intercept is None else intercept))
    coef, intercept = layers[-1]
    return x @ coef + (0 if intercept is None else intercept)


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (3, 4, 5, 2)], ids=["one layer", "two", "three"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_folded_network_predicts_the_same_in_the_users_units(sizes, bias, random):
    x, y = random.normal(size=(20, 3)) * [1, 10, 0.1] + [5, -3, 0], random.normal(size=(20, 2)) * 7 + 100
    scaling = Scaling.fit([(x, y, None)], centre=bias)
    layers = [
        (random.normal(size=(i, o)), random.normal(size=o) if bias else None) for i, o in itertools.pairwise(sizes)
    ]
    folded = scaling.fold(layers)
    np.testing.assert_allclose(forward(folded, x), scaling.unscale_y(forward(layers, scaling.x(x))), rtol=1e-10)
    np.testing.assert_allclose(scaling.unscale_y(scaling.y(y)), y, rtol=1e-12)


def test_a_layer_without_intercept_cannot_hold_a_mean(random):
    x = random.normal(size=(20, 2)) + 5
    layers = [(np.ones((2, 1)), None)]
    with pytest.raises(ShapeError, match=r"inputs were centred, but the layer has no intercept .* centre=False"):
        Scaling.fit([(x, x[:, :1], None)]).fold(layers)
    with pytest.raises(ShapeError, match="targets were centred"):
        Scaling(np.zeros(2), np.ones(2), np.ones(1), np.ones(1)).fold(layers)


def test_the_identity_changes_nothing(random):
    x = random.normal(size=(4, 3))
    scaling = Scaling.identity(3, 1)
    np.testing.assert_array_equal(scaling.x(x), x)
    [(coef, intercept)] = scaling.fold([(x[:3], None)])
    np.testing.assert_array_equal(coef, x[:3])
    assert intercept is None


def test_scaling_is_written_and_read_back_and_damage_is_said(random):
    x = random.normal(size=(20, 3))
    scaling = Scaling.fit([(x, x[:, :1], None)])
    again = Scaling.from_arrays(scaling.to_arrays())
    for name, values in scaling.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], values)
    arrays = scaling.to_arrays()
    for damage, words in (
        ({"x_scale": np.zeros(3)}, "not positive"),
        ({"x_scale": np.ones(2)}, "differ in length"),
        ({"y_mean": np.array([NAN])}, "finite"),
        ({"y_mean": np.ones((1, 1))}, "finite"),
        ({"y_mean": np.array(["x"])}, "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            Scaling.from_arrays(arrays | damage)
    with pytest.raises(ValueError, match="`y_scale` is missing"):
        Scaling.from_arrays({name: arrays[name] for name in arrays if name != "y_scale"})


def test_scores_stand_between_the_inputs_and_the_network(random):
    x, scores = random.normal(size=(20, 4)), random.normal(size=(4, 2))
    scaling = Scaling(np.arange(4.0), np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0]), np.array([0.5]), scores)
    np.testing.assert_allclose(scaling.x(x), ((x - np.arange(4.0)) / [1, 2, 3, 4]) @ scores)
    layers = [(random.normal(size=(2, 3)), random.normal(size=3)), (random.normal(size=(3, 1)), random.normal(size=1))]
    scaled = np.tanh(scaling.x(x) @ layers[0][0] + layers[0][1]) @ layers[1][0] + layers[1][1]
    (coef, intercept), (out, base) = scaling.fold(layers)
    np.testing.assert_allclose(np.tanh(x @ coef + intercept) @ out + base, scaling.unscale_y(scaled))
    again = Scaling.from_arrays(scaling.to_arrays())
    np.testing.assert_array_equal(again.scores, scores)
    assert "scores" not in Scaling.identity(4, 1).to_arrays()


@pytest.mark.parametrize("scores", [np.ones(4), np.ones((3, 2)), np.full((4, 2), np.nan), np.full((4, 2), np.inf)])
def test_scores_that_do_not_fit_are_refused(scores):
    with pytest.raises(ValueError, match="`scores` must be finite numbers, a row for each input"):
        Scaling.from_arrays(Scaling.identity(4, 1).to_arrays() | {"scores": scores})
