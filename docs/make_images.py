"""Make the pictures of the README and the documentation: real output, the report photographed in Chromium.

    python docs/make_images.py

Writes images/explore.png, an animation of the live page: the start of four descents is dragged over the map, and then their way
is played; images/report.png: the report of ``fallline fit examples/concrete.csv --target strength``, from its head
to the pictures of the held-out rows; images/mountain.png, which the README's own code draws; and images/lesson-slope.png and
images/lesson-mountain.png, which the code of the lesson draws.
"""

import io
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from fallline.explore.server import Server
from fallline.explore.work import Opened

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
WIDTH, MARGIN, SCALE = 1040, 16, 1.5
DRAGGED, COLOURS = 26, 200  # frames of an animation in which the start moves; its colours


def main() -> None:
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        fit = [sys.executable, "-m", "fallline", "fit", "examples/concrete.csv", "--target", "strength"]
        subprocess.run(fit, cwd=folder, check=True)
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=SCALE)
        page.goto((Path(folder) / "concrete-strength.html").as_uri())
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": bottom_of_the_pictures(page) + MARGIN}
        photograph = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
        photograph.convert("RGB").quantize(48).save(images / "report.png", optimize=True)
        animate_the_live_page(browser, images / "explore.png")
        browser.close()
        draw_the_lesson(Path(folder), images)
        draw_the_mountain(Path(folder))
        drawn = Image.open(Path(folder) / "mountain.png")
        drawn.convert("RGB").quantize(64).save(images / "mountain.png", optimize=True)


def draw_the_lesson(folder: Path, images: Path) -> None:
    """Run the Python of the lesson, which saves its pictures."""
    code = "\n".join(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8"), re.S | re.M)
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, "MPLBACKEND": "Agg"}, check=True)
    for picture in folder.glob("lesson-*.png"):
        Image.open(picture).convert("RGB").quantize(64).save(images / picture.name, optimize=True)


def animate_the_live_page(browser: Browser, path: Path) -> None:
    """Drag the start of four descents over the map of two weights, then play their way; a frame for each movement."""
    server = Server(Opened()).begin()
    page = browser.new_page(viewport={"width": 1040, "height": 1000}, device_scale_factor=1)
    page.goto(server.url.replace("/?", "/two-weights?") + "&w=-1.6,1.5&steps=60")
    page.wait_for_selector(".sum[data-row]")
    stage: Any = page.locator(".stage").bounding_box()
    size: Any = page.locator("svg.map").bounding_box()
    frames: list[Image.Image] = []
    held: list[int] = []

    def keep(milliseconds: int) -> None:
        page.wait_for_timeout(120)
        shot = Image.open(io.BytesIO(page.screenshot(clip=stage)))
        frames.append(shot.convert("RGB"))
        held.append(milliseconds)

    handle: Any = page.locator(".start .knob").bounding_box()
    at = [handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2]
    keep(900)
    page.mouse.move(*at)
    page.mouse.down()
    unit, first = size["width"] * 0.228, 2.39  # pixels to a unit of the weights; the angle at which it starts
    for i in range(1, DRAGGED + 1):
        turn = first - 2.9 * i / DRAGGED  # over the ridge to the other side of the valley
        along = 2.19 * (math.cos(turn) - math.cos(first)), 2.19 * (math.sin(turn) - math.sin(first)) * 0.85
        page.mouse.move(at[0] + unit * 0.8 * along[0], at[1] - unit * 0.8 * along[1])
        keep(70)
    page.mouse.up()
    held[-1] = 900
    page.get_by_label("Rewind").click()
    for step in (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60):
        page.locator(".transport input").fill(str(step))
        keep(110)
    held[-1] = 1600
    some = Image.new("RGB", (frames[0].width, 3 * frames[0].height))
    for place, frame in enumerate((frames[0], frames[DRAGGED // 2], frames[-1])):
        some.paste(frame, (0, place * frame.height))
    few = some.quantize(COLOURS)
    small = [frame.quantize(palette=few, dither=Image.Dither.NONE) for frame in frames]
    small[0].save(path, save_all=True, append_images=small[1:], duration=held, loop=0, optimize=True)
    page.close()
    server.end()


def draw_the_mountain(folder: Path) -> None:
    """Run the README's Python that draws one, in a folder of its own."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (code,) = [block for block in blocks if "mountain.png" in block]
    code = code.replace('savefig("mountain.png")', 'savefig("mountain.png", dpi=150)')
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env={**os.environ, "MPLBACKEND": "Agg"})


def bottom_of_the_pictures(page: Page) -> float:
    """Where the row of pictures ends, captions and all, in pixels of the page."""
    boxes = (figure.bounding_box() for figure in page.locator("section[aria-labelledby=rows] figure").all())
    return max(box["y"] + box["height"] for box in boxes if box is not None)


if __name__ == "__main__":
    main()
