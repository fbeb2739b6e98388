"""The file of `mumic atlas` in a real browser: dots, photos on hover, categories, search, keys."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.applications.atlas import GRID, MappedPhoto, write_atlas
from app.core.images import thumbnail_webp
from app.core.labels import Tag, builtin_label_set
from tests.browser.conftest import Visit
from tests.browser.contrast import MIN_PART, MIN_TEXT, part_contrast, text_contrasts
from tests.support.photos import encoded, sample

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
LEFT, MIDDLE, RIGHT = "a pool.jpg", "<b>beach</b>.jpg", "nothing.jpg"
# The middle of each run of pixels of a colour that is not the map's, along a row of the canvas.
DOTS = """(row) => {
    const canvas = document.getElementById("canvas");
    const { data, width } = canvas.getContext("2d").getImageData(
        0, Math.round(row * devicePixelRatio), canvas.width, 1);
    const pixels = new Uint32Array(data.buffer);
    const dots = [];
    let start = -1;
    for (let column = 1; column <= width; column += 1) {
        const dot = column < width && pixels[column] !== pixels[0];
        if (dot && start < 0) start = column;
        if (!dot && start >= 0) {
            const middle = Math.floor((start + column) / 2);
            dots.push([middle / devicePixelRatio, pixels[middle]]);
            start = -1;
        }
    }
    return dots;
}"""

CARD_INSIDE_MAP = """() => {
    const bottom = (selector) => document.querySelector(selector).getBoundingClientRect().bottom;
    const photo = document.querySelector("#card img");
    return photo?.naturalWidth === 256 && bottom("#card") <= bottom("#map");
}"""


def tags(*ids: str) -> list[Tag]:
    by_id = {label.id: label for label in builtin_label_set().labels}
    return [Tag(by_id[id], 0.87, 0.5) for id in ids]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a map of three photos in a row, in three categories."""
    photos = [
        MappedPhoto(LEFT, tags("swimming_pool"), thumbnail_webp(photo("chelsea"), 64)),
        MappedPhoto(MIDDLE, tags("beach", "sea"), thumbnail_webp(photo("coffee"), 64)),
        MappedPhoto(RIGHT, [], b""),
    ]
    places = np.array([[0, GRID // 2], [GRID // 2, GRID // 2], [GRID, GRID // 2]], np.uint16)
    file = tmp_path_factory.mktemp("atlas") / "atlas.html"
    write_atlas(file, "Photos of <holiday>", "tiny 1", photos, places)
    return file.as_uri()


def photo(name: str) -> bytes:
    return encoded(sample(name), "JPEG")


def open_atlas(visit: Visit, address: str) -> "Page":
    visit.page.goto(address)
    visit.page.wait_for_function(f"() => ({DOTS})(innerHeight / 2).length > 0")
    return visit.page


def dots(page: "Page") -> list[tuple[float, int]]:
    """Return x and colour of the dots on the middle row of the map, after the next frame."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    found: list[tuple[float, int]] = page.evaluate(f"() => ({DOTS})(innerHeight / 2)")
    return found


def hover(page: "Page", x: float) -> None:
    """Move the pointer to a position on the middle row of the map."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x, box["y"] + box["height"] / 2)


def assert_clean(visit: Visit, address: str) -> None:
    assert visit.errors == []
    assert visit.foreign_requests(address) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_photos_are_drawn_in_colours_of_their_category(
    visit: Visit, atlas: str, scheme: str
) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    page = open_atlas(visit, atlas)
    assert len(dots(page)) == 3
    assert len({colour for _, colour in dots(page)}) == 3
    assert page.locator("h1").inner_text() == "Photos of <holiday>"
    assert page.locator("#about").inner_text() == "3 photos, placed by the embeddings of tiny 1."
    assert_clean(visit, atlas)


def test_hovered_dot_shows_photo_and_labels(visit: Visit, atlas: str) -> None:
    page = open_atlas(visit, atlas)
    (_, (middle, _), (right, _)) = dots(page)  # a ring is drawn around a hovered dot
    hover(page, middle)
    page.wait_for_selector("#card")
    assert page.locator("#card .name").inner_text() == MIDDLE
    assert page.locator("#card li").all_inner_texts() == ["Beach\n87 %", "Sea\n87 %"]
    page.wait_for_function("() => document.querySelector('#card img').naturalWidth === 64")
    hover(page, right)
    page.get_by_text(RIGHT).wait_for()
    assert page.locator("#card img").count() == 0
    page.mouse.move(5, 5)
    page.wait_for_selector("#card", state="hidden")
    assert_clean(visit, atlas)


def test_card_of_photo_at_bottom_is_inside_map(visit: Visit, tmp_path: Path) -> None:
    thumbnail = thumbnail_webp(photo("chelsea"), 256)
    photos = [MappedPhoto(LEFT, [], b""), MappedPhoto(MIDDLE, [], thumbnail)]
    places = np.array([[GRID // 2, 0], [GRID // 2, GRID]], np.uint16)
    file = tmp_path / "column.html"
    write_atlas(file, "Column", "tiny 1", photos, places)
    page = visit.page
    page.goto(file.as_uri())
    page.focus("#canvas")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(CARD_INSIDE_MAP)


def test_selected_photo_stays_until_escape(visit: Visit, atlas: str) -> None:
    page = open_atlas(visit, atlas)
    hover(page, dots(page)[0][0])
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(5, 5)
    page.wait_for_selector("#card")
    assert page.locator("#card .name").inner_text() == LEFT
    page.focus("#canvas")
    page.keyboard.press("Escape")
    page.wait_for_selector("#card", state="hidden")


def test_switched_off_category_is_not_drawn(visit: Visit, atlas: str) -> None:
    page = open_atlas(visit, atlas)
    colours = [colour for _, colour in dots(page)]
    page.get_by_label("No label").uncheck()
    assert [colour for _, colour in dots(page)] == colours[:2]
    page.get_by_role("button", name="None").click()
    assert dots(page) == []
    page.get_by_role("button", name="All").click()
    assert [colour for _, colour in dots(page)] == colours


@pytest.mark.parametrize(
    ("query", "found"), [("SWIM", [LEFT]), ("beach", [MIDDLE]), (".jpg", [LEFT, MIDDLE, RIGHT])]
)
def test_search_highlights_and_lists_photos(
    visit: Visit, atlas: str, query: str, found: list[str]
) -> None:
    page = open_atlas(visit, atlas)
    before = dots(page)
    page.fill("#query", query)
    assert page.locator("#matches button").all_inner_texts() == found
    assert page.locator("#found").inner_text() == f"{len(found)} of 3 photos"
    same = [colour == old for (_, colour), (_, old) in zip(dots(page), before, strict=True)]
    assert same == [name in found for name in (LEFT, MIDDLE, RIGHT)]
    page.fill("#query", "")
    assert dots(page) == before
    assert_clean(visit, atlas)


def test_photo_of_search_list_is_centred(visit: Visit, atlas: str) -> None:
    page = open_atlas(visit, atlas)
    page.fill("#query", "pool")
    page.locator("#matches button").click()
    page.wait_for_selector("#card")
    assert page.locator("#card .name").inner_text() == LEFT
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    x, _ = dots(page)[len(dots(page)) // 2]
    assert x == pytest.approx(box["width"] / 2, abs=2)


def test_arrow_keys_visit_photos(visit: Visit, atlas: str) -> None:
    page = open_atlas(visit, atlas)
    page.focus("#canvas")
    names = []
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
        dots(page)
        names.append(page.locator("#card .name").inner_text())
    assert names == [RIGHT, MIDDLE, LEFT, LEFT]
    said = page.locator("#announcement")
    assert said.text_content() == f"{LEFT}: Swimming pool 87 %"


def test_drag_and_keys_move_map(visit: Visit, atlas: str) -> None:
    page = open_atlas(visit, atlas)
    start = dots(page)
    middle = start[1][0]
    hover(page, middle / 2)
    page.mouse.down()
    hover(page, middle / 2 + 40)
    page.mouse.up()
    assert [x for x, _ in dots(page)] == pytest.approx([x + 40 for x, _ in start], abs=1.5)
    page.click("#reset")
    assert dots(page) == start
    page.focus("#canvas")
    page.keyboard.press("Shift+ArrowRight")
    assert [x for x, _ in dots(page)] == pytest.approx([x - 80 for x, _ in start], abs=1.5)
    page.keyboard.press("0")
    assert dots(page) == start


def test_wheel_buttons_and_keys_zoom_map(visit: Visit, atlas: str) -> None:
    visit.page.set_viewport_size({"width": 900, "height": 700})
    page = open_atlas(visit, atlas)
    start = dots(page)
    hover(page, start[1][0])
    page.mouse.wheel(0, -300)
    hover(page, 5)
    page.wait_for_function(f"() => ({DOTS})(innerHeight / 2).length === 1")
    page.click("#reset")
    assert dots(page) == start
    page.click("#closer")
    assert len(dots(page)) == 1
    page.click("#farther")
    assert dots(page) == start
    page.focus("#canvas")
    page.keyboard.press("+")
    assert len(dots(page)) == 1
    page.keyboard.press("-")
    assert dots(page) == start


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_controls_have_contrast(visit: Visit, atlas: str, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    page = open_atlas(visit, atlas)
    page.fill("#query", "pool")
    page.locator("#matches button").click()
    page.wait_for_selector("#card")
    assert {text: found for text, found in text_contrasts(page).items() if found < MIN_TEXT} == {}
    assert part_contrast(page, "#query", "borderTopColor") >= MIN_PART
    assert part_contrast(page, "#reset", "borderTopColor") >= MIN_PART
    for category in (1, 2, 3):
        selector = f"#categories li:nth-child({category}) .swatch"
        assert part_contrast(page, selector, "backgroundColor") >= MIN_PART


def test_narrow_window_shows_map_above_search(visit: Visit, atlas: str) -> None:
    visit.page.set_viewport_size({"width": 380, "height": 700})
    visit.page.goto(atlas)
    for name in ("#canvas", "#query"):
        box = visit.page.locator(name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 380
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 380
    assert_clean(visit, atlas)


def test_map_of_one_photo_opens(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "one.html"
    places = np.array([[GRID // 2, GRID // 2]], np.uint16)
    write_atlas(file, "One", "tiny 1", [MappedPhoto(LEFT, [], b"")], places)
    page = open_atlas(visit, file.as_uri())
    assert len(dots(page)) == 1
    assert page.locator("#about").inner_text().startswith("1 photo,")
    assert_clean(visit, file.as_uri())


def test_count_next_to_long_category_stays_on_one_line(visit: Visit, tmp_path: Path) -> None:
    labels = builtin_label_set().labels
    longest = max(labels, key=lambda label: len(label.category))
    photos = [MappedPhoto(LEFT, tags(longest.id), b"")] * 1234
    places = np.full((len(photos), 2), GRID // 2, np.uint16)
    file = tmp_path / "many.html"
    write_atlas(file, "Many", "tiny 1", photos, places)
    page = open_atlas(visit, file.as_uri())
    count = page.locator("#categories .count").first
    assert count.inner_text() == "1,234"
    lines = "(element) => { const all = document.createRange(); all.selectNodeContents(element);"
    assert count.evaluate(f"{lines} return all.getClientRects().length; }}") == 1
