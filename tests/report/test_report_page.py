"""The report in a browser: it stands alone, fits a phone, and knows the dark."""

import csv
import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner

from fallline import Effect, Importance
from fallline.cli.main import main
from fallline.plot import OneInputFitDisplay
from fallline.report import write_report


@pytest.fixture
def tab(browser):
    tab = browser.new_page()
    tab.said, tab.asked = [], []
    tab.on("console", lambda message: tab.said.append(message.text))
    tab.on("pageerror", lambda error: tab.said.append(str(error)))
    tab.on("request", lambda request: tab.asked.append(request.url))
    yield tab
    tab.close()


@pytest.fixture
def url(two_targets, surface, tmp_path):
    names = ("cement", "a_column_name_without_a_single_place_to_break")
    rises = np.linspace(1.0, 2.0, 8).reshape(2, 2, 2)
    effect = Effect("cement", np.linspace(0.0, 1.0, 5), *np.zeros((3, 5, 2)))
    kinds = Effect(names[1], np.array(["ash", names[1]], object), *np.zeros((3, 2, 2)))
    training, held = two_targets.rowsets
    held = dataclasses.replace(held, numbers=1000 * np.arange(held.rows), boosting=held.ridge)
    grid = np.linspace(0.0, 1.0, 9)
    whole = dataclasses.replace(
        two_targets, surface=surface, rowsets=(training, held), importance_of="the 206 held-out rows",
        importance=Importance(names, rises, np.ones(2), 206), effects=((effect, kinds), (kinds,)), comparisons=("", "Worse."),
        curves=(OneInputFitDisplay(grid, grid, grid, grid, grid - 1, grid + 1, feature=names[1]),),
    )  # fmt: skip
    return write_report(whole, tmp_path / "report.html").as_uri()


def paper(tab):
    return tab.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_page_asks_for_nothing_but_itself_and_complains_of_nothing(tab, url):
    tab.goto(url)
    tab.wait_for_load_state("networkidle")
    assert tab.asked == [url]
    assert tab.said == []


@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_the_page_never_scrolls_sideways(width, tab, url):
    tab.set_viewport_size({"width": width, "height": 800})
    tab.goto(url)
    assert tab.evaluate("document.documentElement.scrollWidth") == width


SCRIPTS = [
    "<script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    "</script></title></style></svg><script>document.title='ran'</script>",
    "'\" onload=alert(1) x='",
    "javascript:alert(1)",
    "<!--<script>",
    "]]><script>alert(1)</script>",
]


@pytest.mark.parametrize("classes", [False, True], ids=["numbers", "classes"])
@pytest.mark.parametrize(
    "script", SCRIPTS, ids=["script", "image", "ends of elements", "attribute", "address", "comment", "CDATA"]
)
def test_no_script_runs_whatever_a_table_calls_its_columns_categories_and_itself(
    script, classes, tab, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=60)
    columns = {
        f"{script} column": values, f"{script} kind": np.resize([f"{script} a", f"{script} b", f"{script} c"], 60),
        f"{script} target": np.where(values > 0, f"{script} yes", f"{script} no") if classes else values**2,
    }  # fmt: skip
    name = f"{script.replace('/', ' ')}.csv"
    with (tmp_path / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    quick = ["--hidden", "2", "--starts", "1", "--max-iter", "5", "--alpha", "0.1", "-o", "out", "-q"]
    done = CliRunner().invoke(main, ["fit", name, "--target", f"{script} target", *quick])
    assert done.exit_code == 0, done.output
    [report] = (tmp_path / "out").glob("*.html")
    dialogs = []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    tab.goto(report.as_uri())
    tab.wait_for_load_state("networkidle")
    assert (dialogs, tab.said, tab.asked) == ([], [], [report.as_uri()])
    assert tab.title() != "ran"
    assert tab.evaluate("document.querySelectorAll('script').length") == 2  # the numbers, and the page's own
    assert tab.evaluate("document.querySelectorAll('img, iframe, object, [onload], [onerror]').length") == 0
    shown = tab.evaluate("document.body.textContent")
    assert f"{script} kind" in shown
    assert f"{script} target" in tab.evaluate("document.querySelector('h1').textContent")


def test_on_a_phone_tables_of_figures_are_seen_whole(tab, url):
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(url)
    hidden = "(all) => all.map((each) => each.scrollWidth - each.clientWidth)"
    assert set(tab.locator(".scroll").evaluate_all(hidden)) == {0}


def test_long_names_do_not_make_a_phone_scroll_sideways(tab, remade, tmp_path):
    name = "a_column_name_without_a_single_place_to_break_" * 3
    report = remade(title=name, targets=(name,), columns=((name, "target", name),), command=name, notes=(name,))
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(write_report(report, tmp_path / "long.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


def test_the_dark_page_is_dark_and_its_pictures_are_light(tab, url):
    tab.emulate_media(color_scheme="light")
    tab.goto(url)
    ink = "getComputedStyle(document.querySelector('figure svg use').parentElement).fill"
    light, dark_points = paper(tab), tab.evaluate(ink)
    tab.emulate_media(color_scheme="dark")
    assert (light, paper(tab)) == ("rgb(255, 255, 255)", "rgb(20, 21, 24)")
    assert (dark_points, tab.evaluate(ink)) == ("rgb(27, 28, 30)", "rgb(233, 234, 236)")


def test_the_page_is_printed_dark_on_white(tab, url):
    tab.emulate_media(color_scheme="dark", media="print")
    tab.goto(url)
    assert paper(tab) == "rgb(255, 255, 255)"
    assert not tab.locator("#copy").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(scheme, tab, url):
    tab.emulate_media(color_scheme=scheme)
    tab.goto(url)
    weakest = tab.evaluate(
        """() => {
          const luminance = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = (element) => {
            const colour = getComputedStyle(element).backgroundColor;
            return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
          };
          const written = [...document.querySelectorAll("main *")].filter(
            (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
          return Math.min(...written.map((e) => {
            const style = getComputedStyle(e);
            const two = [luminance(e instanceof SVGElement ? style.fill : style.color), luminance(behind(e))];
            return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
          }));
        }"""
    )
    assert weakest >= 4.5


def test_the_command_can_be_copied(tab, url, two_targets):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto(url)
    tab.locator("#copy").click()
    tab.get_by_text("Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == two_targets.command


def test_the_pictures_are_found_by_the_sentence_that_says_what_is_seen(tab, url):
    tab.goto(url)
    assert tab.get_by_role("img", name="Error at every step The error per row").count() == 1
    assert tab.get_by_role("img", name="Predicted against actual A point per row").count() == 2


def test_on_a_phone_the_columns_are_still_a_table(tab, url):
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(url)
    assert tab.get_by_role("rowheader", name="cement").is_visible()
    assert tab.get_by_role("cell", name="used as it is, scaled").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_is_darker_where_the_error_is_larger(scheme, tab, url):
    tab.emulate_media(color_scheme=scheme)
    tab.goto(url)
    shown = tab.evaluate(
        """() => {
          const rgb = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const bands = document.querySelectorAll("#picture-mountain-QuadContourSet_1 :is(path, use)");
          const scale = document.querySelectorAll(".heights i");
          return [[...bands].map((e) => rgb(getComputedStyle(e).fill)),
                  [...scale].map((e) => rgb(getComputedStyle(e).backgroundColor))];
        }"""
    )
    bands, scale = (np.array(each) @ [0.2126, 0.7152, 0.0722] for each in shown)
    assert len(bands) == 12
    assert (np.diff(bands) < 0).all()
    np.testing.assert_array_equal(bands, scale)


@pytest.mark.parametrize("width", [390, 1200])
def test_the_scale_is_as_wide_as_the_map(width, tab, url):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(url)
    box = "document.querySelector('{}').getBoundingClientRect()"
    scale, map_ = (
        tab.evaluate(f"(({{left, right}}) => [left, right])({box.format(what)})")
        for what in (".heights", "#picture-mountain-patch_2 path")
    )
    assert scale == pytest.approx(map_, abs=1.0)
