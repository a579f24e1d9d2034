"""The live page in a browser: whatever a hand can do to it, and what it shows then."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from fallline import GradientDescent, InMemory, Network, descend, load_model
from fallline.explore import data
from fallline.explore.server import Server
from fallline.explore.work import Opened

AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PLACES = ("slope", "two-weights", "local-minima", "your-network")
READY = {
    "slope": ".slope[data-formula]",
    "two-weights": ".sum[data-row]",
    "local-minima": ".map-box[data-painted]",
    "your-network": ".setup",
}


@pytest.fixture
def opened(open_page, table_server):
    def ready(place, query="", **how):
        tab = open_page(table_server, place, query, **how)
        tab.wait_for_selector(READY[place], timeout=60_000)
        return tab

    return ready


def number(text):
    """A number of the page, back from its letters."""
    text = text.replace("−", "-").replace(",", "").replace("+", "")
    plain, _, power = text.partition("·10")
    digits = power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
    return float(plain) * 10 ** int(digits or 0)


def cells(tab, method):
    """Step, E, the gradient and the weights of a method, as the table has them."""
    return [number(text) for text in tab.locator(f"tr[data-method='{method}'] td").all_inner_texts()]


def drag(tab, selector, *ways):
    """Press on an element and move by so many pixels."""
    box = tab.locator(selector).bounding_box()
    at = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    tab.mouse.move(*at)
    tab.mouse.down()
    for way in ways:
        at = [at[0] + way[0], at[1] + way[1]]
        tab.mouse.move(*at, steps=4)
    tab.mouse.up()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("size", "scheme"), [((1280, 900), "light"), ((390, 844), "dark")], ids=["laptop", "phone in the dark"]
)
def test_axe_finds_nothing_amiss(opened, place, size, scheme):
    tab = opened(place, size=size, scheme=scheme)
    tab.evaluate(AXE)
    found = tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert tab.evaluate("axe.run(document).then((found) => found.passes.length)") > 10
    assert [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found["violations"]] == []


@pytest.mark.parametrize("place", PLACES)
def test_a_phone_never_scrolls_sideways_and_the_dark_is_dark(opened, place):
    tab = opened(place, size=(320, 700), scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") == 320
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 24)"


def test_the_start_is_dragged_and_the_numbers_are_those_of_the_library(opened):
    tab = opened("two-weights", "&activation=identity&rate=0.3&momentum=0.5&steps=50")
    drag(tab, ".start .knob", (60, 40), (30, -90))
    at = tab.get_by_role("slider", name="Start of the descent").get_attribute("aria-valuenow")
    tab.wait_for_selector(f".map-box[data-start^='{at} ']")
    tab.get_by_label("Rewind").click()
    expect(tab.locator("tr[data-method=plain] td").first).to_have_text("0")
    start = cells(tab, "plain")[4:]
    assert start[0] == pytest.approx(float(at), abs=1e-3)
    tab.wait_for_url(re.compile(rf"[?&]w={re.escape(at[:-1])}"))
    exact = [float(each) for each in re.search(r"[?&]w=([^&]+)", tab.url)[1].replace("%2C", ",").split(",")]
    assert exact == pytest.approx(start, abs=1e-3)
    pairs = data.SETS["valley"]()
    rows = InMemory(pairs.x, data.within_reach(pairs.t, "identity"))
    tab.locator(".transport input").fill("20")
    expect(tab.locator("tr[data-method=plain] td").first).to_have_text("20")
    for name, descent in {"plain": GradientDescent(0.3), "momentum": GradientDescent(0.3, 0.5)}.items():
        path = descend(Network((2, 1), bias=False), rows, descent, weights=exact, max_iter=50)
        expected = [20, path.error[20], *path.gradient[20], *path.weights[20]]
        np.testing.assert_allclose(cells(tab, name), expected, rtol=6e-3, atol=1e-9)


def test_the_keyboard_moves_the_start_and_the_sliders(opened):
    tab = opened("two-weights")
    tab.get_by_label("Rewind").click()
    expect(tab.locator("tr[data-method=plain] td").first).to_have_text("0")
    before = cells(tab, "plain")[4:]
    start = tab.get_by_role("slider", name="Start of the descent")
    start.focus()
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Shift+ArrowUp")
    width = 4.0  # from -2 to 2
    expect(start).to_have_attribute("aria-valuenow", f"{before[0] + 0.05 * width:.3f}")
    assert start.get_attribute("aria-valuetext").startswith("w₁ −1.2, w₂ 1.6")
    rate = tab.get_by_label("Learning rate")
    value = rate.get_attribute("aria-valuetext")
    rate.focus()
    tab.keyboard.press("ArrowRight")
    assert number(rate.get_attribute("aria-valuetext")) > number(value)


NAME = "(e) => e.getAttribute('aria-label') ?? e.id ?? e.textContent"
SEEN = "(all) => all.filter((e) => e.checkVisibility())"


def test_everything_is_reached_by_tab(opened):
    tab = opened("two-weights")
    tab.locator(".skip").focus()
    reached = set()
    for _ in range(40):
        reached.add(tab.evaluate(f"({NAME})(document.activeElement)"))
        tab.keyboard.press("Tab")
    controls = tab.locator("main :is(button, input, select, [tabindex='0'])")
    assert set(controls.evaluate_all(f"(all) => ({SEEN})(all).map({NAME})")) <= reached


def test_above_its_mark_a_way_diverges_and_says_at_which_step(opened):
    tab = opened("two-weights", "&activation=identity&momentum=0")
    stable = number(tab.locator(".hint .value.plain").first.inner_text().removeprefix("Plain"))
    expect(tab.locator("tr[data-method=plain] .bad")).to_have_count(0)
    tab.get_by_label("Learning rate").evaluate(
        "(input) => { input.value = 1000; input.dispatchEvent(new Event('input')); }"
    )
    assert number(tab.get_by_label("Learning rate").get_attribute("aria-valuetext")) > stable
    expect(tab.locator("tr[data-method=plain] .bad")).to_have_text(re.compile(r"diverged at step \d+"))
    expect(tab.locator("tr[data-method=levenberg-marquardt] .bad")).to_have_count(0)


def test_play_step_and_rewind(opened):
    tab = opened("two-weights", "&steps=60")
    step = tab.locator(".transport output")
    tab.get_by_label("Rewind").click()
    expect(step).to_have_text("step 0 of 60")
    tab.get_by_label("One step forward").click()
    tab.get_by_label("One step forward").click()
    tab.get_by_label("One step back").click()
    expect(step).to_have_text("step 1 of 60")
    gone = tab.locator(".way.plain .gone").get_attribute("d")
    assert gone.count("L") == 1
    tab.get_by_label("Play").click()
    expect(step).to_have_text("step 60 of 60", timeout=30_000)
    expect(tab.get_by_label("Play")).to_be_visible()


def test_the_curve_points_at_the_step_on_the_map(opened):
    tab = opened("two-weights", "&steps=50")
    box = tab.locator("svg.chart").bounding_box()
    end = tab.locator(".way.plain .at").get_attribute("cx")
    tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    expect(tab.locator(".way.plain .at")).not_to_have_attribute("cx", end)
    shown = tab.locator("tr[data-method=plain] td").first
    expect(shown).not_to_have_text("50")
    tab.mouse.move(5, 5)
    expect(shown).to_have_text("50")


def test_a_descent_is_taken_off_and_put_back(opened):
    tab = opened("two-weights")
    chip = tab.get_by_role("button", name="Nesterov")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "false")
    expect(tab.locator(".way.nesterov")).to_have_count(0)
    chip.click()
    expect(tab.locator(".way.nesterov")).to_have_count(1)


def test_the_address_brings_everything_back(opened, table_server):
    query = "&data=clouds&activation=logistic&w=-1.5%2C0.75&rate=12&momentum=0.35&steps=90&step=7&row=3"
    query += "&methods=plain%2Cmomentum&look=momentum"
    tab = opened("two-weights", query)
    tab.wait_for_selector(".map-box[data-drawn='clouds logistic']")
    expect(tab.locator(".transport output")).to_have_text("step 7 of 90")
    assert tab.get_by_label("Momentum", exact=True).get_attribute("aria-valuetext") == "0.35"
    assert tab.locator("tbody tr").count() == 2
    written = tab.locator("table.steps").inner_text()
    tab.get_by_label("Learning rate").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    tab.get_by_role("link", name="Slope").click()
    tab.wait_for_selector(READY["slope"])
    tab.go_back()
    tab.wait_for_selector(".map-box[data-drawn='clouds logistic']")
    tab.reload()
    tab.wait_for_selector(".sum[data-row='3']")
    assert tab.locator("table.steps").inner_text() == written


def test_two_columns_of_the_table_can_be_played_with(opened):
    tab = opened("two-weights")
    tab.get_by_label("Rows").select_option(label="trees.csv")
    tab.wait_for_selector(".map-box[data-drawn='table tanh']")
    expect(tab.get_by_label("y", exact=True)).to_have_value("height")
    expect(tab.locator(".ground .axis-name").first).to_have_text(re.compile("girth"))


def test_the_slope_at_two_is_four_and_follows_the_hand(opened):
    tab = opened("slope")
    expect(tab.locator(".slope-number")).to_have_text("4.00")
    drag(tab, ".start .knob", (-120, 0))
    expect(tab.locator(".slope-number")).not_to_have_text("4.00")
    # The number of the point follows the hand at once, that of the slope when the engine has answered.
    tab.wait_for_function(
        """() => {
            const read = (of) => Number(document.querySelector(of).textContent.replace("−", "-"));
            return Math.abs(read(".slope-number") - 2 * read(".big b")) <= 0.02 * Math.abs(read(".slope-number"));
        }"""
    )
    point = tab.get_by_role("slider", name="Point on the curve")
    slope = tab.locator(".slope-number").inner_text()
    point.focus()
    tab.keyboard.press("Shift+ArrowRight")
    expect(tab.locator(".slope-number")).not_to_have_text(slope)
    tab.get_by_label("Learning rate").evaluate(
        "(input) => { input.value = 1000; input.dispatchEvent(new Event('input')); }"
    )
    expect(tab.locator(".says .bad")).to_have_text(re.compile("too large"))


def test_a_curve_of_ones_own_is_drawn_and_a_slip_is_named(opened):
    tab = opened("slope")
    tab.get_by_label("Curve", exact=True).select_option("own")
    tab.get_by_label("Formula in x").fill("sin(x) + x")
    tab.wait_for_selector(".slope[data-formula='sin(x) + x']")
    tab.get_by_label("Formula in x").fill("sin(x")
    expect(tab.get_by_role("alert")).to_have_text(re.compile("formula"))


def test_across_a_border_the_path_falls_the_other_way(opened):
    tab = opened("local-minima", "&w=-1.5,-4")
    plain = tab.locator(".pair section").first
    expect(plain.locator(".says")).to_have_attribute("data-ends", "1")
    start = plain.get_by_role("slider", name="Start of the descent")
    start.focus()
    for _ in range(4):
        tab.keyboard.press("Shift+ArrowRight")
    expect(plain.locator(".says")).to_have_attribute("data-ends", "0")
    expect(plain.locator(".cells .basin-0")).to_have_count(1)
    expect(tab.get_by_text("come to the lowest minimum")).to_be_visible()


def drop(tab, table):
    dropped = tab.evaluate_handle(
        "(text) => { const given = new DataTransfer(); given.items.add(new File([text], 'wood.csv')); return given; }",
        table.read_text(),
    )
    tab.wait_for_selector(".drop")
    tab.dispatch_event(".drop", "drop", {"dataTransfer": dropped})


LATE = """
const Soon = WebSocket;
window.WebSocket = class extends Soon { set onmessage(hear) { super.onmessage = (said) => setTimeout(() => hear(said), 700); } };
"""


def test_a_table_that_is_dropped_before_the_server_answers_is_read_when_it_does(browser, server, table):
    tab = browser.new_page()
    tab.add_init_script(LATE)
    tab.goto(server.url.replace("/?", "/your-network?"))
    drop(tab, table)
    expect(tab.get_by_text("wood.csv, 90 rows")).to_be_visible()
    tab.close()


def test_a_table_is_dropped_trained_on_and_taken_home(open_page, server, table, tmp_path):
    tab = open_page(server, "your-network")
    drop(tab, table)
    expect(tab.get_by_text("wood.csv, 90 rows")).to_be_visible()
    expect(tab.get_by_label("Predict")).to_have_value("height")
    tab.get_by_label("Hidden units").select_option("2")
    tab.get_by_role("button", name="Train", exact=True).click()
    tab.wait_for_selector("[data-target=height]", timeout=60_000)
    tab.wait_for_selector(".mountain[data-drawn=auto]", timeout=60_000)
    expect(tab.locator("#verdict + p")).to_have_text(re.compile("[Mm]inimum"))
    with tab.expect_download() as waiting:
        tab.get_by_role("link", name="Model file").click()
    assert waiting.value.suggested_filename == "wood-height.fallline"
    waiting.value.save_as(tmp_path / "wood.fallline")
    saved = load_model(tmp_path / "wood.fallline")
    shown = number(tab.locator("[data-figure='held-out network rmse']").inner_text())
    assert shown == pytest.approx(saved.about["figures"]["held-out"][0]["network"]["rmse"], rel=1e-3)
    with tab.expect_download() as waiting:
        tab.get_by_role("link", name="Report (HTML)").click()
    assert waiting.value.suggested_filename == "wood-height.html"
    values = tab.locator(".sliders input").evaluate_all("(inputs) => inputs.map((each) => each.value)")
    tab.locator(".sliders").get_by_label("girth").evaluate(
        "(input) => { input.value = input.max; input.dispatchEvent(new Event('input')); }"
    )
    girth = float(tab.locator(".sliders").get_by_label("girth").get_attribute("max"))
    kind = tab.locator(".sliders").get_by_label("kind").locator("option:checked").inner_text()
    row = {"girth": np.array([girth]), "age": np.array([float(values[1])]), "kind": np.array([kind], object)}
    expected = saved.fitted.predict(saved.columns.encode(row))[0, 0]
    expect(tab.locator("[data-predicted]")).to_have_attribute(
        "data-predicted", re.compile(re.escape(f"{expected:.5f}"[:-2]))
    )
    tab.wait_for_url("**trained=1**")


def test_what_cannot_be_read_is_said_on_the_page(open_page, server, tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    tab = open_page(server, "your-network", expect_loss=True)  # the browser notes the answer 400
    tab.wait_for_selector(".drop")
    tab.locator("#file").set_input_files(tmp_path / "broken.parquet")
    expect(tab.get_by_role("alert")).to_have_text(re.compile("broken.parquet"))


def test_the_page_finds_a_server_that_was_started_again(open_page):
    first = Server(Opened(), token="the-same").begin()
    tab = open_page(first, "two-weights", expect_loss=True)
    tab.wait_for_selector(READY["two-weights"])
    first.end()
    expect(tab.locator("#state")).to_have_text(re.compile("does not answer"))
    again = Server(Opened(), first.port, "the-same").begin()
    try:
        expect(tab.locator("#state")).to_be_hidden(timeout=30_000)
        tab.get_by_label("Activation").select_option("relu")
        tab.wait_for_selector(".map-box[data-drawn='valley relu']")
    finally:
        again.end()


def test_an_address_of_an_earlier_run_says_so(open_page, server):
    tab = open_page(server, "slope", expect_loss=True)
    tab.goto(f"http://127.0.0.1:{server.port}/two-weights?token=old")
    expect(tab.locator("#state")).to_have_text(re.compile("open the one that fallline has printed"))
