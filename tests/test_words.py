import pytest

from fallline.words import (
    counted,
    did_you_mean,
    free_name,
    label,
    listed,
    minus,
    nearest,
    percent,
    written,
    written_share,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0"),
        (6.46912, "6.469"),
        (-6.46912, "−6.469"),
        (12345.6, "12,346"),
        (9999.6, "10,000"),
        (0.000123456, "0.0001235"),
        (1.23456e-7, "1.235e-07"),
        (-1.23456e12, "−1.235e+12"),
    ],
)
def test_a_number_is_written_with_four_significant_digits(value, text):
    assert written(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.9126, "0.913"), (-1.3, "−1.300"), (-4e7, "−4.000e+07")])
def test_an_r2_is_written_with_three_decimals(value, text):
    assert written_share(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (4.2e-5, "0.0042 %"),
        (0.313, "31 %"),
        (0.994, "99.4 %"),
        (0.9998, "99.98 %"),
        (1 - 1e-9, "100 %"),
        (1.504, "150 %"),
    ],
)
def test_a_share_rounds_neither_to_nothing_nor_to_the_whole(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.02, 3, "0.02"),
        (-300.0, 3, "−300"),
        (2e-7, 3, "2·10⁻⁷"),
        (1e12, 3, "10¹²"),
        (-1.25e-9, 3, "−1.25·10⁻⁹"),
        (12345.0, 3, "1.23·10⁴"),
        (12345.0, 6, "12,345"),
        (0.0, 3, "0"),
        (float("inf"), 3, "inf"),
        (12500.5, 15, "12,500.5"),
        (5000.0, 15, "5000"),
        (2e7, 15, "2·10⁷"),
    ],
)
def test_a_number_on_an_axis_has_no_zeros_to_count(value, digits, text):
    assert label(value, digits) == text


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [
        (1, ("row",), "1 row"),
        (1030, ("row",), "1,030 rows"),
        (0, ("minimum", "minima"), "0 minima"),
        (2.0, ("pass", "passes"), "2 passes"),
    ],
)
def test_things_are_counted_in_one_and_many(n, words, text):
    assert counted(n, *words) == text


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        ([], None, ""),
        (["a"], None, "a"),
        (["a", "b"], None, "a and b"),
        (["a", "b", "c"], None, "a, b and c"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c", "d"], 2, "a, b and 2 more"),
    ],
)
def test_names_stand_in_a_row(names, most, text):
    assert listed(names, most) == text


def test_the_nearest_name_is_proposed_and_a_far_one_is_not():
    known = ["tanh", "logistic", "Relu"]
    assert did_you_mean("tahn", known) == "; did you mean 'tanh'?"
    assert did_you_mean("RELU", known) == "; did you mean 'Relu'?"
    assert did_you_mean("q", known) == "."
    assert nearest("q", known) is None


def test_a_name_that_is_taken_gets_a_number():
    assert free_name("x", ["y"]) == "x"
    assert free_name("x", ["x", "x_2", "y"]) == "x_3"


def test_a_minus_is_as_long_as_a_plus():
    assert minus("-1.5 to -1") == "−1.5 to −1"
