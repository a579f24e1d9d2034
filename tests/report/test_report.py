"""The report, read back as a machine and a browser would: its numbers are those found by hand."""

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest

from fallline.exceptions import OutputError, ShapeError
from fallline.report import RowSet, figures, page, render_report, write_report

VOID = {"meta", "link", "use", "path", "rect"}


class Page(HTMLParser):
    """The text of each element, by tag, and the attributes of all."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.attributes, self.ids = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.texts.append([tag, ""])
            self.open.append(self.texts[-1])

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag, f"</{tag}> ends another element"

    def handle_data(self, data):
        if self.open:
            self.open[-1][1] += data

    def text_of(self, tag):
        return [text for name, text in self.texts if name == tag]


def numbers_in(html):
    start = html.index('<script type="application/json" id="fallline-report">')
    text = html[html.index(">", start) + 1 : html.index("</script>", start)]
    assert "<" not in text  # a browser ends or comments out a script at more than </script>
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def by_hand(y, prediction):
    squares = np.sum((y - prediction) ** 2)
    return {
        "error": squares / 2,
        "rmse": np.sqrt(squares / len(y)),
        "mae": np.mean(np.abs(y - prediction)),
        "r2": 1 - squares / np.sum((y - np.mean(y)) ** 2),
    }


def test_the_figures_are_those_found_by_hand_for_every_row_set_target_and_model(two_targets):
    found = numbers_in(render_report(two_targets))["rowsets"]
    expected = [
        (rows.name, rows.rows, j, model, by_hand(rows.actual[:, j], predicted[:, j]))
        for rows in two_targets.rowsets
        for j in (0, 1)
        for model, predicted in (("network", rows.predicted), ("ridge", rows.ridge))
    ]
    got = [
        (rows["name"], rows["rows"], j, model, pytest.approx(rows["figures"][j][model], rel=1e-12))
        for rows in found
        for j in (0, 1)
        for model in ("network", "ridge")
    ]
    assert expected == got


def test_the_table_shows_the_figures_of_the_held_out_rows_first(report):
    cells = Page(render_report(report)).text_of("td")
    held_out = report.rowsets[1]
    expected = by_hand(held_out.actual[:, 0], held_out.predicted[:, 0])
    shown = [float(cell.replace(",", "")) for cell in cells[1:5]]
    np.testing.assert_allclose(shown, list(expected.values()), rtol=1e-3)


def test_the_curve_is_the_error_per_row(report):
    curve = numbers_in(render_report(report))["curve"]
    assert curve["steps"] == list(range(200))
    np.testing.assert_allclose(curve["error_per_row"]["training"], report.training_error / 824, rtol=1e-15)
    np.testing.assert_allclose(curve["error_per_row"]["held-out"], report.watched_error["held-out"] / 206, rtol=1e-15)


def test_the_lowest_held_out_error_is_marked(report):
    lowest = numbers_in(render_report(report))["curve"]["lowest"]
    at = int(np.argmin(report.watched_error["held-out"]))
    assert lowest == {"of": "held-out", "step": at, "error_per_row": report.watched_error["held-out"][at] / 206}


def test_the_points_of_a_picture_stand_where_the_rows_are(report):
    html = render_report(report)
    picture = html[html.index('aria-labelledby="picture-1-1') : html.index('id="picture-1-2-title"')]
    places = np.array(re.findall(r'<use href="[^"]+" x="([^"]+)" y="([^"]+)"', picture), float)
    rows = report.rowsets[-1]
    both = np.array([rows.actual[:, 0], rows.predicted[:, 0]])
    assert places.shape == (206, 2)
    # One scale for both axes; y runs downwards in SVG.
    slopes = [np.polyfit(values, places[:, i], 1) for i, values in enumerate(both)]
    assert slopes[0][0] == pytest.approx(-slopes[1][0], rel=1e-2)
    np.testing.assert_allclose(places[:, 0], np.polyval(slopes[0], both[0]), atol=0.1)
    np.testing.assert_allclose(places[:, 1], np.polyval(slopes[1], both[1]), atol=0.1)


def test_everything_the_report_holds_stands_in_it(two_targets):
    html = render_report(two_targets)
    text = " ".join(text for _, text in Page(html).texts)
    for said in (
        two_targets.title, two_targets.command, two_targets.network, two_targets.descent, two_targets.stop,
        two_targets.fitted_on, *two_targets.targets, *two_targets.notes,
        *(word for column in two_targets.columns for word in column),
        *(word for fact in (*two_targets.way, *two_targets.facts) for word in fact), two_targets.intervals,
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize(
    "name",
    [
        "<b>\"&'",
        "</script><script>alert(1)</script>",
        "<!--",
        "{{ 7 * 7 }}",
        "$x_{$",
        "価格 €",
        "a" * 300,
        "\u2028",
        "",
    ],
)
def test_any_name_is_shown_as_it_is_and_nothing_else(name, report, remade):
    plain = Page(render_report(report))
    html = render_report(remade(title=name, targets=(name,), columns=((name, "target", name),), notes=(name,)))
    read = Page(html)
    assert read.text_of("h1") == [name]
    assert numbers_in(html)["targets"] == [name]
    assert len(read.text_of("script")) == len(plain.text_of("script"))
    assert read.text_of("b") == []


def test_the_elements_are_nested_and_every_id_is_there_once(two_targets):
    read = Page(render_report(two_targets))
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))


def test_whatever_is_referred_to_is_in_the_page(two_targets):
    read = Page(render_report(two_targets))
    referred = [v for _, name, value in read.attributes if name in ("aria-labelledby",) for v in value.split()]
    referred += [value.removeprefix("#") for tag, name, value in read.attributes if (tag, name) == ("use", "href")]
    referred += re.findall(r"url\(#([^)]+)\)", " ".join(str(value) for _, _, value in read.attributes))
    assert set(referred) <= set(read.ids)


def test_every_picture_is_an_image_with_a_title_and_a_sentence(two_targets):
    html = render_report(two_targets)
    assert html.count("<svg ") == html.count('<svg role="img" aria-labelledby=') == 7
    assert all(len(sentence) > 40 for sentence in Page(html).text_of("figcaption"))


def test_headings_go_down_one_level_at_a_time(two_targets):
    levels = [int(tag[1]) for tag, _ in Page(render_report(two_targets)).texts if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert max(np.diff(levels)) == 1
    assert levels.count(1) == 1


def test_nothing_outside_the_file_is_referred_to(two_targets):
    html = render_report(two_targets)
    assert re.findall(r"https?:|//|src=|@import|url\((?!#)", html) == []
    assert {value for tag, name, value in Page(html).attributes if tag == "link" and name == "href"} == {"data:,"}


def test_the_report_of_many_rows_and_two_targets_stays_under_a_megabyte(remade, make_rows):
    steps = np.arange(30_000)
    error = 1e5 * np.exp(-steps / 500) + np.random.default_rng(0).random(30_000)
    html = render_report(
        remade(
            targets=("a", "b"),
            rowsets=(make_rows("training", 100, 2), make_rows("held-out", 50_000, 2)),
            steps=steps,
            training_error=error,
            watched_error={"held-out": error},
        )
    )
    assert len(html.encode()) < 1_000_000
    assert "a fixed sample of 1,500 of 50,000 rows" in html
    said = numbers_in(html)
    curve = said["curve"]
    assert len(curve["steps"]) <= 1_000
    assert (curve["steps"][0], curve["steps"][-1]) == (0, 29_999)
    assert curve["lowest"]["step"] == np.argmin(error)
    assert curve["lowest"]["step"] in curve["steps"]


def test_the_same_report_is_the_same_text(two_targets):
    assert render_report(two_targets) == render_report(two_targets)


def test_the_settings_of_matplotlib_neither_change_nor_matter(report):
    expected = render_report(report)
    with matplotlib.rc_context({"axes.xmargin": 0.4, "axes.spines.left": False, "font.size": 40}):
        before = matplotlib.rcParams.copy()
        assert render_report(report) == expected
        assert matplotlib.rcParams.copy() == before


def test_every_colour_of_a_picture_comes_from_the_page(two_targets):
    pictures = re.findall(r"<svg.*?</svg>", render_report(two_targets), flags=re.DOTALL)
    assert re.findall(r"#[0-9a-f]{6}\b(?!\))", " ".join(re.sub(r'id="[^"]*"|"#[^"]*"', "", p) for p in pictures)) == []


def map_in(html):
    """The picture of the error surface, without what stands around it."""
    return re.search(r'<svg [^>]*"picture-mountain-title.*?</svg>', html, re.S)[0]


def test_the_dot_stands_at_the_minimum_and_the_way_goes_step_by_step(mountain, surface):
    svg = map_in(render_report(mountain))
    edges = [float(n) for n in re.findall(r"[\d.]+", re.search(r'-patch_2">\s*<path d="([^z]*)z', svg)[1])]
    left, bottom, right, top = edges[0], edges[1], edges[2], edges[5]

    def place(coordinates):
        a, b = np.asarray(coordinates).T
        return np.column_stack([left + (a + 4) / 8 * (right - left), bottom + (b + 3) / 6 * (top - bottom)])

    marks = np.array(re.findall(r'<use href="[^"]+" x="([^"]+)" y="([^"]+)"', svg), float)
    found = [np.abs(marks - at).max(axis=1).min() for at in place(surface.tracks[0].coordinates)]
    np.testing.assert_allclose(found, 0, atol=0.11)
    np.testing.assert_allclose(marks[-1], place([[1.0, -1.0]])[0], atol=0.11)  # drawn last, over all
    assert (bottom - top) / (right - left) == pytest.approx(6 / 8, rel=1e-3)  # to scale


def test_each_band_of_the_map_has_its_shade_the_lowest_first(mountain):
    svg = map_in(render_report(mountain))
    bands = re.search(r'-QuadContourSet_1">(.*?)</g>', svg, re.S)[1]
    shades = [int(n) for n in re.findall(r"fill: var\(--height-(\d+)\)", bands)]
    assert shades == list(range(12))


@pytest.mark.parametrize("block", [0, 1, 2], ids=["light", "dark", "print"])
def test_the_shades_darken_with_the_error_in_every_theme(block):
    css = page._shipped("report.css")
    sets = re.findall(r":root \{.*?\}", css, re.S)
    shades = [re.search(rf"--height-{i}: #(..)(..)(..);", sets[block]).groups() for i in range(12)]
    linear = (np.array([[int(part, 16) for part in shade] for shade in shades]) / 255) ** 2.2
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) < 0).all()
    # The dot at the minimum is black, the halo of the way white: both are seen where they lie.
    assert (luminance[0] + 0.05) / 0.05 > 7
    assert 1.05 / (luminance[-1] + 0.05) > 7


def test_the_scale_has_round_numbers_where_they_belong(mountain, surface):
    html = render_report(mountain)
    ticks = re.findall(r'<span style="left: ([\d.]+)%">([\d.]+)</span>', html)
    levels = surface.levels(12) / 824
    places = np.array([float(place) for place, _ in ticks])
    expected = 100 * np.interp([float(text) for _, text in ticks], levels, np.arange(13)) / 12
    assert len(ticks) >= 4
    np.testing.assert_allclose(places, expected, atol=0.06)


def test_the_map_is_said_in_words(mountain):
    shown = Page(render_report(mountain))
    text = " ".join(" ".join(shown.text_of("figcaption") + shown.text_of("dd")).split())
    for sentence in (
        "The penalised error per row over a plane of the weights, in standardised units: darker where it is larger.",
        "The way down, 4 steps, begins at the open circle. The black dot is the lowest point of this plane.",
        "The open black dot is a local minimum of it.",
        "The plane holds 80 % of the way; the error drawn under it is the plane's: 0.667 times the true error at its start",
        "Penalised error per row 0.01456; 1 other local minimum on this map.",
    ):
        assert sentence in text


def test_the_map_is_small_and_its_names_are_shown_as_they_are(mountain, report):
    html = render_report(mountain)
    assert "weight $a_1$ &amp; &lt;b&gt;-&gt;h1" in map_in(html)
    assert "weight 高さ-&gt;h2" in map_in(html)
    assert len(html.encode()) - len(render_report(report).encode()) < 60_000


def test_a_map_leaves_the_page_whole(mountain):
    html = render_report(mountain)
    shown = Page(html)
    assert shown.open == []
    assert len(shown.ids) == len(set(shown.ids))
    left = re.sub(r'id="[^"]*"|"#[^"]*"', "", map_in(html))
    assert re.findall(r"#[0-9a-fA-F]{6}", left) == []
    assert set(re.findall(r"var\((--[\w-]+)\)", html)) <= set(re.findall(r"(--[\w-]+):", html))
    assert render_report(mountain) == html


def test_a_surface_that_is_not_finite_or_has_no_way_is_shown(remade, surface):
    error = surface.error.copy()
    error[:5, :5] = np.inf
    bare = dataclasses.replace(surface, error=error, tracks=(), minimum=None, local_minima=())
    html = render_report(remade(surface=bare))
    assert "var(--beyond)" in map_in(html)
    assert "Hatched: the error is not a finite number." in html
    assert "None on this map: the error goes on falling towards its edge." in html
    assert "How true the map is" not in html
    assert re.findall(r"#[0-9a-fA-F]{6}", re.sub(r'id="[^"]*"|"#[^"]*"', "", map_in(html))) == []


def test_a_report_without_a_surface_has_no_mountain(report):
    assert "The mountain" not in render_report(report)


def test_where_r2_is_not_defined_a_dash_stands(remade):
    rows = RowSet("training", 3, np.ones((3, 1)), np.zeros((3, 1)))
    html = render_report(remade(rowsets=(rows,), watched_error={}))
    assert numbers_in(html)["rowsets"][0]["figures"][0]["network"]["r2"] is None
    assert Page(html).text_of("td")[1:5] == ["1.500", "1.000", "1.000", "–"]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_row_set_of_hardly_any_rows_is_reported(rows, remade, make_rows):
    html = render_report(remade(rowsets=(make_rows("training", rows),), watched_error={}))
    assert numbers_in(html)["rowsets"][0]["rows"] == rows


def test_what_is_not_finite_is_null_and_never_nan(remade, make_rows):
    held_out = make_rows("held-out", 20)
    held_out.predicted[3] = np.nan
    error = np.array([2.0, np.inf, np.nan])
    html = render_report(
        remade(
            rowsets=(make_rows("training", 80), held_out),
            steps=np.arange(3),
            training_error=error,
            watched_error={"held-out": np.full(3, np.nan)},
        )
    )
    said = numbers_in(html)
    assert said["curve"]["error_per_row"] == {"training": [0.025, None, None], "held-out": [None, None, None]}
    assert said["curve"]["lowest"] is None
    assert said["rowsets"][1]["figures"][0]["network"]["rmse"] is None
    assert "nan" not in " ".join(Page(html).text_of("td"))


def test_a_descent_without_a_step_has_no_curve(remade):
    html = render_report(remade(steps=np.zeros(0), training_error=np.zeros(0), watched_error={}))
    assert "picture-curve" not in html


def test_the_figures_come_per_target_with_ridge_only_where_it_was_fitted(make_rows):
    rows = make_rows("held-out", 50, 2)
    with_ridge = figures(rows)
    without = figures(RowSet(rows.name, rows.rows, rows.actual, rows.predicted))
    assert [of["rows"] for of in with_ridge] == [50, 50]
    assert with_ridge[1]["ridge"] == pytest.approx(by_hand(rows.actual[:, 1], rows.ridge[:, 1]))
    assert [of["ridge"] for of in without] == [None, None]


def test_predictions_of_another_shape_are_refused(make_rows):
    rows = make_rows("held-out", 5)
    with pytest.raises(ShapeError, match=r"predicted of the held-out rows has shape \(5,\)"):
        figures(RowSet("held-out", 5, rows.actual, rows.predicted[:, 0]))


def test_errors_of_another_number_of_steps_are_refused(remade):
    with pytest.raises(ShapeError, match=r"shape \(3,\) for steps of shape \(200,\)"):
        render_report(remade(training_error=np.ones(3)))


def test_the_file_is_the_report_in_utf_8(report, tmp_path):
    path = write_report(report, tmp_path / "report.html")
    assert path.read_bytes().decode("utf-8") == render_report(report)


def test_a_report_that_cannot_be_made_leaves_the_old_file_as_it_was(report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old report")
    monkeypatch.setattr(page, "render", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(report, path)
    assert path.read_text() == "the old report"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(report, tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        write_report(report, tmp_path / "nowhere" / "report.html")


def imported_after(code):
    heavy = "{'matplotlib', 'jinja2', 'matplotlib.pyplot'}"
    found = f"import sys\n{code}\nprint(*sorted({heavy} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_report_imports_neither_matplotlib_nor_jinja():
    assert imported_after("import fallline.report") == []


def test_drawing_a_report_imports_no_pyplot():
    rows = "r.RowSet('training', 3, numpy.eye(3)[:, :1], numpy.ones((3, 1)))"
    said = "'t', 'c', ('y',), (" + rows + ",), (), 'n', 'd', numpy.arange(3), numpy.ones(3), {}, 's', 'f'"
    assert imported_after(f"import numpy, fallline.report as r; r.render_report(r.FitReport({said}))") == [
        "jinja2",
        "matplotlib",
    ]
