"""Writes docs/images/page_light.png and page_dark.png: `python -m tools.screenshots`.

Needs the extra `browser` and chromium on PATH. The page shows the samples, tagged by the shipped
checkpoint.
"""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent.parent / "docs" / "images"
SCHEMES = ("light", "dark")
WIDTH_PX, HEIGHT_PX = 1280, 860
MAX_BYTES = 300_000
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


def shrink(png: bytes) -> bytes:
    """Write a PNG with a palette."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS)
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Write the screenshots."""
    FOLDER.mkdir(exist_ok=True)
    with served_page() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--no-proxy-server"]
        )
        for scheme in SCHEMES:
            file = FOLDER / f"page_{scheme}.png"
            file.write_bytes(shrink(photograph(browser, address, scheme)))
            if file.stat().st_size > MAX_BYTES:
                sys.exit(f"{file} has {file.stat().st_size} bytes, more than {MAX_BYTES}")
        browser.close()


if __name__ == "__main__":
    main()
