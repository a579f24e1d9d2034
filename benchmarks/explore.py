"""How soon does the live page follow the hand? From a pointer event until the paths are drawn, and until the next frame is shown.

    python benchmarks/explore.py [--events 400]

Headless Chromium beside the server on the same processors: the start is dragged over the map of two weights, four descents on,
200 rows, 400 steps. The page itself notes when each event was made (``event.timeStamp``) and when what it asked for stood in the
picture. Then every map is asked for twice from a new server: how long until it is drawn.
"""

import argparse
import math
import shutil
import statistics
import time
from collections.abc import Iterable
from typing import Any

from playwright.sync_api import Page, sync_playwright

from fallline.explore.server import Server
from fallline.explore.work import Opened

FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
BETWEEN = 0.016  # seconds between two movements, as a mouse makes them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400)
    events = parser.parse_args().events
    server = Server(Opened()).begin()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(server.url.replace("/?", "/two-weights?") + "&steps=400")
        page.wait_for_selector(".map-box[data-drawn]")
        for activation in ("identity", "tanh", "logistic", "relu"):
            page.get_by_label("Activation").select_option(activation)
            page.wait_for_selector(f".map-box[data-drawn$={activation}]")
            page.wait_for_timeout(500)
            for name, times in dragged(page, events).items():
                told(f"{activation}, {name}", times)
        told("a new map", new_maps(page))
        browser.close()
    server.end()


def dragged(page: Page, events: int) -> dict[str, list[float]]:
    """Drag the start so many times; ms until the paths were drawn, and until the frame after."""
    page.evaluate("performance.clearMeasures()")
    box: Any = page.locator("svg.map").bounding_box()
    centre = box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"]
    page.mouse.move(*centre)
    page.mouse.down()
    for i in range(events):
        began, angle = time.perf_counter(), 0.11 * i
        radius = 0.3 * box["width"] * (0.5 + 0.5 * math.sin(0.037 * i))
        page.mouse.move(centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
        time.sleep(max(BETWEEN - (time.perf_counter() - began), 0.0))
    page.mouse.up()
    page.wait_for_timeout(300)
    read = "name => performance.getEntriesByName(name).map(entry => entry.duration)"
    return {name: page.evaluate(read, name) for name in ("drawn", "frame")}


def new_maps(page: Page) -> list[float]:
    """ms until each other set of rows and activation is drawn."""
    found = []
    for rows in ("clouds", "wave", "valley"):
        for activation in ("softplus", "gaussian", "identity", "tanh", "logistic", "relu"):
            page.get_by_label("Rows").select_option(rows)
            page.wait_for_selector(f".map-box[data-drawn^={rows}]")
            page.wait_for_timeout(100)
            found.append(
                page.evaluate(
                    """async ([rows, activation]) => {
                      const box = document.querySelector('.map-box');
                      const has = (select) => [...select.options].some((option) => option.value === activation);
                      const select = [...document.querySelectorAll('select')].find(has);
                      if (select.value === activation) return -1;
                      const began = performance.now();
                      select.value = activation;
                      select.dispatchEvent(new Event('change'));
                      while (box.dataset.drawn !== `${rows} ${activation}`) await new Promise((go) => setTimeout(go));
                      return performance.now() - began;
                    }""",
                    [rows, activation],
                )
            )
    return [each for each in found if each >= 0]


def told(what: str, times: Iterable[float]) -> None:
    """A line of the distribution."""
    ordered = sorted(times)
    quantiles = statistics.quantiles(ordered, n=100)
    print(
        f"{what:<24} {len(ordered):>4} of them, ms: median {statistics.median(ordered):5.1f}, 90 % {quantiles[89]:5.1f}, "
        f"95 % {quantiles[94]:5.1f}, 99 % {quantiles[98]:5.1f}, most {ordered[-1]:5.1f}"
    )


if __name__ == "__main__":
    main()
