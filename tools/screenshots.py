"""Writes docs/images/page_light.png, page_dark.png and atlas.png: `python -m tools.screenshots`.

Needs the extra `browser` and chromium on PATH. The page shows the samples, tagged by the shipped
checkpoint. The atlas has random points around the texts of its labels, and no photos.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from safetensors.numpy import load_file

from app.applications.atlas import MappedPhoto, place_photos, write_atlas
from app.core.checkpoint import read_checkpoint
from app.core.labels import Tag
from app.settings import SHIPPED_CHECKPOINT

FOLDER = Path(__file__).parent.parent / "docs" / "images"
SCHEMES = ("light", "dark")
WIDTH_PX, HEIGHT_PX = 1280, 860
MAX_BYTES = 300_000
POINTS_PER_LABEL = 16
NOISE = 1.5  # of a point, by the length of its label's embedding
COLOURS = 256  # of a palette, which needs a third of the bytes
SETTLED = "() => [...document.querySelectorAll('.thumb')].every(t => t.dataset.state === 'done')"


@contextmanager
def served_page() -> Iterator[str]:
    """Start `mumic serve` on a free port and yield the address of the page."""
    command = [str(Path(sys.executable).with_name("mumic")), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stderr or ():
                if found := re.search(r"Open (\S+) in a browser", line):
                    yield found[1]
                    return
            raise RuntimeError("mumic serve did not start")
        finally:
            server.terminate()


def photograph(browser: Browser, address: str, scheme: str) -> bytes:
    """Return a PNG of the page with the labels of the first sample."""
    size = {"width": WIDTH_PX, "height": HEIGHT_PX}
    page = browser.new_page(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    page.goto(address)
    samples = page.locator(".sample")
    for index in reversed(range(samples.count())):  # the last one that is added is selected
        samples.nth(index).click()
        page.wait_for_selector(f".thumb >> nth={samples.count() - 1 - index}")
    page.wait_for_function(SETTLED)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    png: bytes = page.screenshot()
    return png


def photograph_atlas(browser: Browser) -> bytes:
    """Return a PNG of an atlas of random points, each with the label that it is near."""
    labels = read_checkpoint(SHIPPED_CHECKPOINT).labels.labels
    texts = load_file(SHIPPED_CHECKPOINT / "label_embeddings.safetensors")["text_embeddings"]
    generator = np.random.default_rng(0)
    rows = np.repeat(texts, POINTS_PER_LABEL, axis=0)
    rows += generator.normal(0, NOISE / np.sqrt(rows.shape[1]), rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    photos = [
        MappedPhoto(f"{label.id} {place}.jpg", [Tag(label, 0.9, 0.5)], b"")
        for label in labels
        for place in range(POINTS_PER_LABEL)
    ]
    page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "atlas.html"
        write_atlas(file, "Photos of a holiday", "mumic-demo", photos, place_photos(rows))
        page.goto(file.as_uri())
        page.focus("#canvas")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#card")
        page.evaluate("document.activeElement.blur()")
        png: bytes = page.screenshot()
    return png


def shrink(png: bytes) -> bytes:
    """Write a PNG with a palette."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS)
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save(name: str, png: bytes) -> None:
    """Write a screenshot to the folder."""
    file = FOLDER / name
    file.write_bytes(shrink(png))
    if file.stat().st_size > MAX_BYTES:
        sys.exit(f"{file} has {file.stat().st_size} bytes, more than {MAX_BYTES}")


def main() -> None:
    """Write the screenshots."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--no-proxy-server"]
        )
        save("atlas.png", photograph_atlas(browser))
        with served_page() as address:
            for scheme in SCHEMES:
                save(f"page_{scheme}.png", photograph(browser, address, scheme))
        browser.close()


if __name__ == "__main__":
    main()
