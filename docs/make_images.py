"""Make the pictures of the README and the documentation: real output, the report photographed in Chromium.

    python docs/make_images.py

Writes images/report.png: the report of ``fallline fit examples/concrete.csv --target strength``, from its head to
the pictures of the held-out rows; and images/mountain.png, which the README's own code draws.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
WIDTH, MARGIN, SCALE = 1040, 16, 1.5


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
        browser.close()
        draw_the_mountain(Path(folder))
        drawn = Image.open(Path(folder) / "mountain.png")
        drawn.convert("RGB").quantize(64).save(images / "mountain.png", optimize=True)


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
