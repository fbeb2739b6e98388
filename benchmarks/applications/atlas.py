"""Frames per second of the embedding atlas in headless Chromium, while the map is dragged.

    python -m benchmarks.applications.atlas

Needs the extra `browser` and chromium on PATH, which draws without a graphics card. The map has
50,000 random places around one centre per built-in label. A frame counts when the map was drawn.
The last column is the time in which the photo at the pointer is found.
"""

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from shutil import which
from statistics import median

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from app.applications.atlas import GRID, MappedPhoto, default_thumbnail_px, write_atlas
from app.core.images import thumbnail_webp
from app.core.labels import Tag, builtin_label_set
from tests.support.photos import encoded

PHOTOS = 50_000
REPEATS = 5
DRAG_S = 5
HOVERS = 500
WINDOW_PX = {"width": 1280, "height": 800}
LABELS = builtin_label_set().labels
# Keeps the times at which the map was drawn.
RECORD = """
window.drawn = [];
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...given) {
    put.apply(this, given);
    window.drawn.push(performance.now());
};
"""
# The events are made in the page: those of the driver would come too slowly on a busy machine.
DRAG = """(duration) => new Promise((done) => {
    const canvas = document.getElementById("canvas");
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const start = performance.now();
    window.drawn = [];
    const step = () => {
        const time = performance.now() - start;
        if (time > duration) return done(window.drawn);
        canvas.dispatchEvent(new PointerEvent("pointermove", {
            pointerId: 1,
            clientX: left + width * (0.5 + 0.3 * Math.sin(time / 150)),
            clientY: top + height * (0.5 + 0.3 * Math.sin(time / 190)),
        }));
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""

# Moves the pointer over the map without a button, and returns the mean time of an event in ms.
HOVER = """(count) => {
    const canvas = document.getElementById("canvas");
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const start = performance.now();
    for (let index = 0; index < count; index += 1) {
        canvas.dispatchEvent(new PointerEvent("pointermove", {
            pointerType: "mouse",
            clientX: left + width * (0.5 + 0.4 * Math.sin(index)),
            clientY: top + height * (0.5 + 0.4 * Math.cos(index)),
        }));
    }
    return (performance.now() - start) / count;
}"""


def main() -> None:
    """Write the atlas, measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "atlas.html"
        write_random_atlas(file)
        chromium = playwright.chromium.launch(
            executable_path=which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        print(f"{PHOTOS:,} photos, {file.stat().st_size / 1e6:.1f} MB\n")
        print("| run | opens in, s | frames/s, median | 5th percentile | frames | pointer, ms |")
        print("|---|---:|---:|---:|---:|---:|")
        for run in range(1, REPEATS + 1):
            load_s, rates, hover_ms = measure(chromium, file)
            fifth = float(np.percentile(rates, 5))
            print(
                f"| {run} | {load_s:.1f} | {median(rates):.1f} | {fifth:.1f} | {len(rates)} "
                f"| {hover_ms:.2f} |"
            )
        chromium.close()


def write_random_atlas(file: Path) -> None:
    """Write a map of random places with thumbnails of the default size."""
    generator = np.random.default_rng(0)
    centres = generator.uniform(0.1, 0.9, (len(LABELS), 2))
    label_of = generator.integers(0, len(LABELS), PHOTOS)
    places = centres[label_of] + generator.normal(0, 0.02, (PHOTOS, 2))
    side_px = default_thumbnail_px(PHOTOS)
    noise = generator.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    smooth = Image.fromarray(noise).resize((side_px, side_px), Image.Resampling.BICUBIC)
    thumbnail = thumbnail_webp(encoded(smooth, "PNG"), side_px)
    photos = [
        MappedPhoto(
            f"folder {label}/photo {index:05}.jpg", [Tag(LABELS[label], 0.9, 0.5)], thumbnail
        )
        for index, label in enumerate(label_of)
    ]
    write_atlas(file, "Benchmark", "random", photos, (places.clip(0, 1) * GRID).astype(np.uint16))


def measure(chromium: Browser, file: Path) -> tuple[float, list[float], float]:
    """Open the file, drag the map, and move the pointer over it.

    Returns:
        Seconds until the map is drawn, the frames per second between two drawn frames, and the
        mean milliseconds in which the photo at the pointer is found.
    """
    page = chromium.new_page(viewport=WINDOW_PX)
    page.add_init_script(RECORD)
    start = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_function("() => window.drawn.length > 0")
    load_s = time.perf_counter() - start
    times = drag(page)
    hover_ms: float = page.evaluate(HOVER, HOVERS)
    page.close()
    return load_s, [1000 / (after - before) for before, after in pairwise(times)], hover_ms


def drag(page: Page) -> list[float]:
    """Drag the map along a curve, by one event a frame; return when it was drawn, in ms."""
    page.mouse.move(2 * WINDOW_PX["width"] // 3, WINDOW_PX["height"] // 2)
    page.mouse.down()
    times: list[float] = page.evaluate(DRAG, DRAG_S * 1000)
    page.mouse.up()
    return times


if __name__ == "__main__":
    main()
