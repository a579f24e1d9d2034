"""Make the pictures of the README and the documentation: real output, photographed in Chromium.

python docs/make_images.py
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


def main() -> None:
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        command = ["fallline", "fit", "examples/concrete.csv", "--target", "strength", "--output", folder]
        subprocess.run(command, cwd=ROOT, check=True)
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), chromium_sandbox=False, args=FLAGS
        )
        page = browser.new_page(viewport={"width": 1100, "height": 1060}, device_scale_factor=1.25)
        page.goto((Path(folder) / "concrete-strength.html").as_uri())
        page.screenshot(path=images / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
