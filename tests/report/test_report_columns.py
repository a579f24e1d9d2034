"""What the report says of fits beside the network, of the rows furthest off, and of which columns matter."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_report import Page, numbers_in

from fallline import Effect, Importance, Sensitivity
from fallline.plot import OneInputFitDisplay
from fallline.report import RowSet, best_of, page, render_report

NAMES = ["cement", "</td><b>", "$x_{ 価格", "a" * 60]


@pytest.fixture
def judged():
    """Eleven held-out rows whose residuals are 1, −2, 3, … −10, 11: a typical one is 6."""
    residual = np.arange(1.0, 12.0) * np.resize([1, -1], 11)
    actual = np.linspace(-50.0, 70.0, 11)[:, None]
    return RowSet("held-out", 11, actual, actual - residual[:, None], numbers=np.arange(11) * 100 + 7)


@pytest.fixture
def with_columns(remade):
    mean = np.array([3.0, 2.0, 1.0, -0.1])
    rises = np.stack([mean - 0.1, mean + 0.1])[:, :, None]
    curve = Effect("cement", np.linspace(0, 1, 5), *(np.arange(5.0)[:, None] + i for i in (1, 0, 2)))
    kinds = Effect(NAMES[1], np.array(["</svg>", "$a^", "€ 10", "#010203"], object), *np.ones((3, 4, 1)))
    days = np.datetime64("2021-01-01") + np.arange(5) * np.timedelta64(20, "D")
    dates = replace(curve, column="day", at=days.astype("datetime64[us]"))
    return remade(
        importance=Importance(tuple(NAMES), rises, np.array([5.0]), 206),
        importance_of="the 206 held-out rows",
        effects=((curve, kinds, dates),),
    )


def test_the_rows_furthest_off_are_named_in_their_order(judged, remade):
    html = render_report(remade(rowsets=(judged,)))
    found = numbers_in(html)["farthest"][0]
    assert found["typical"] == 6.0
    assert [row["row"] for row in found["rows"]] == [1007, 907, 807, 707, 607, 507, 407, 307]
    assert [row["residual"] for row in found["rows"]] == [11, -10, 9, -8, 7, -6, 5, -4]
    assert [row["times"] for row in found["rows"]] == pytest.approx([n / 6 for n in range(11, 3, -1)])
    assert all(row["actual"] - row["predicted"] == pytest.approx(row["residual"]) for row in found["rows"])
    table = html[html.index("furthest off") :]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table)
    assert cells[5:10] == ["1,007", "70.00", "59.00", "11.0", "1.8"]


def test_of_an_exact_fit_no_row_is_so_many_typical_residuals_off(judged):
    exact = replace(judged, predicted=judged.actual)
    assert {row["times"] for row in page.farthest(exact, 0)["rows"]} == {None}


def test_rows_without_numbers_are_not_named(report):
    assert numbers_in(render_report(report))["farthest"] == [{"typical": None, "rows": []}]
    assert "furthest off" not in render_report(report)


def picture(html, name):
    svg = html[html.index(f'aria-labelledby="{name}-title') :]
    return svg[: svg.index("</svg>")]


def rows_with(network, ridge, boosting):
    """Four held-out rows whose fits are off by so much each."""
    actual = np.arange(4.0)[:, None]
    fits = [None if off is None else actual + off for off in (network, ridge, boosting)]
    return RowSet("held-out", 4, actual, fits[0], fits[1], boosting=fits[2])


@pytest.mark.parametrize(
    ("errors", "best"),
    [
        ((1.0, 2.0, 3.0), "network"),
        ((3.0, 2.0, 4.0), "ridge"),
        ((3.0, 2.0, 1.0), "boosting"),
        ((2.0, 2.0, None), "network"),
        ((np.nan, 2.0, None), None),
        ((2.0, None, None), None),
    ],
)
def test_the_fit_of_the_lowest_rmse_on_unseen_rows_is_marked(errors, best, remade):
    judged = rows_with(*errors)
    training = replace(judged, name="training")
    html = render_report(remade(rowsets=(training, judged)))
    assert numbers_in(html)["best"] == [best]
    marked = re.findall(r'<tr class="(\w+) best"><th scope="row">([\w ]+) <span class="mark">best</span>', html)
    assert [name for name, _ in marked] == [best] * (best is not None)


def test_training_rows_mark_no_fit_as_the_best(remade):
    html = render_report(remade(rowsets=(replace(rows_with(1.0, 2.0, 3.0), name="training"),), watched_error={}))
    assert numbers_in(html)["best"] == [None]
    assert 'class="mark"' not in html


def test_the_best_of_figures_of_an_older_model_file_is_found_too():
    assert best_of({"rows": 3, "network": {"rmse": 2.0}, "ridge": {"rmse": 1.0}}) == "ridge"
    assert best_of({"rows": 3, "network": {"rmse": 2.0}, "ridge": None}) is None


def test_the_summary_names_every_fit(remade):
    html = render_report(remade(rowsets=(rows_with(0.5, 1.0, 2.0),)))
    assert (
        "the root mean square error of the network is 0.5000, that of ridge regression 1.000 and that of gradient boosting 2.000"
        in html
    )
    assert "R²\u00a00.800 against 0.200 and −2.200." in html


def test_a_sentence_on_a_better_fit_stands_below_the_summary(two_targets):
    html = render_report(replace(two_targets, comparisons=("", "Ridge is <better>.")))
    assert "<p>Ridge is &lt;better&gt;.</p>" in html


def test_which_columns_matter_is_drawn_and_held_for_machines(with_columns):
    html = render_report(with_columns)
    found = numbers_in(html)["importance"]
    assert list(found["columns"]) == NAMES
    assert found["columns"]["cement"] == {"rise_of_rmse": [3.0], "std": [pytest.approx(0.1 * np.sqrt(2))]}
    assert (found["rows"], found["repeats"]) == (206, 2)
    assert "By how much the RMSE of the 206 held-out rows rises" in html
    svg = picture(html, "picture-matters-1")
    bars = re.findall(r'd="M ([\d.]+) [\d.]+\nL ([\d.]+) [^"]*"[^>]*fill: var\(--accent\); opacity', svg)
    widths = np.array(bars, float) @ [-1, 1]
    np.testing.assert_allclose(widths / widths[0], [1, 2 / 3, 1 / 3, -0.1 / 3], atol=0.001)


def test_any_name_is_shown_in_the_pictures_of_columns_as_it_is(with_columns):
    read = Page(render_report(with_columns))
    texts = [text.strip() for text in read.text_of("text")]
    for name in ["cement", "</td><b>", "$x_{ 価格", "a" * 23 + "…", "</svg>", "$a^", "€ 10", "#010203", "day"]:
        assert name in texts
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert "§" not in "".join(texts)


def test_the_effect_over_dates_has_dates_on_its_axis(with_columns):
    svg = picture(render_report(with_columns), "picture-effect-1-3")
    assert len(re.findall(r">2021-0[1-4](?:-\d\d)?</text>", svg)) >= 2


def test_a_single_input_has_its_curve_with_the_band(remade):
    grid = np.linspace(0.0, 10.0, 11)
    curve = OneInputFitDisplay(grid, grid**2, grid, grid**2 + 1, grid**2 - 5, grid**2 + 5, 0.95, "time [s]", "y & z")
    html = render_report(remade(curves=(curve,)))
    assert "A new row lies within the band with a probability of 95 %." in html
    svg = picture(html, "picture-fit-1")
    assert [name in svg for name in (">time [s]</text>", ">y &amp; z</text>")] == [True, True]
    band = re.search(r'FillBetweenPolyCollection_1">\s*<path d="([^"]*)"', svg)[1]
    line = re.search(r'd="([^"]*)"[^>]*stroke: var\(--accent\)', svg)[1]
    ends, middle = (np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float) for path in (band, line))
    spans = [np.ptp(ends[ends[:, 0] == x, 1]) for x in middle[:, 0]]
    assert spans == pytest.approx([spans[0]] * 11, abs=0.02)  # ten units everywhere
    assert middle[0, 1] - middle[-1, 1] == pytest.approx(10 * spans[0], rel=1e-3)  # a hundred
    without = render_report(remade(curves=(replace(curve, low=None, high=None),)))
    assert "within the band" not in without
    assert "PolyCollection" not in picture(without, "picture-fit-1")


def test_slopes_are_tabled_in_the_order_of_what_matters_and_drawn(with_columns):
    slopes = np.stack([np.linspace(-1.0, 3.0, 41), np.full(41, 0.5)], axis=1)[..., None]
    at = np.column_stack([np.arange(41.0), np.arange(41.0)])
    sensitivity = Sensitivity(("$x_{ 価格", NAMES[1]), at, slopes)
    html = render_report(replace(with_columns, sensitivity=sensitivity, steep=((0,),)))
    found = numbers_in(html)["sensitivity"]
    assert found["columns"]["$x_{ 価格"] == {
        "mean": [pytest.approx(1.0)], "low": [pytest.approx(-0.6)], "high": [pytest.approx(2.6)], "rising": [30 / 41],
    }  # fmt: skip
    table = html[html.index('id="slopes-1"') :]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table[: table.index("</table>")])
    assert cells[4:8] == ["&lt;/td&gt;&lt;b&gt;", "0.500", "0.500 to 0.500", "100 %"]
    assert cells[8:] == ["$x_{ 価格", "1.00", "−0.600 to 2.60", "73 %"]
    assert "exact, in 41 training rows" in table
    assert "§" not in html
    assert "$x_{ 価格" in picture(html, "picture-slope-1-1")
    read = Page(html)
    assert len(read.ids) == len(set(read.ids))


def test_a_column_missing_in_every_row_has_no_slope_in_the_report(with_columns):
    nothing = Sensitivity(("cement",), np.zeros((5, 1)), np.full((5, 1, 1), np.nan))
    html = render_report(replace(with_columns, sensitivity=nothing, steep=((),)))
    assert numbers_in(html)["sensitivity"]["columns"]["cement"]["mean"] == [None]
    assert "– to –" in html
