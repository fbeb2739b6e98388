"""The page at / in a real browser: photos in, labels out, and nothing else."""

import ast
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.browser.conftest import Visit
from tests.browser.contrast import MIN_PART, MIN_TEXT, part_contrast, text_contrasts
from tests.support.tiny import live_server

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser
KEY = "page-key-0123456789"
FIRST_VIEW_BYTES = 200_000
SETTLED = """() => [...document.querySelectorAll(".thumb")].every(
    (each) => ["done", "failed"].includes(each.dataset.state))"""
SEND_FILE = """([event, name, content]) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], name, {type: "image/jpeg"}));
    const transfer = event === "drop" ? {dataTransfer: files} : {clipboardData: files};
    const Kind = event === "drop" ? DragEvent : ClipboardEvent;
    document.body.dispatchEvent(
        new Kind(event, {...transfer, bubbles: true, cancelable: true}));
}"""


def choose(visit: Visit, address: str, files: list[Path]) -> "Page":
    """Open the page, choose photos, and wait until each has a result."""
    visit.open(f"{address}/")
    visit.page.set_input_files("#files", files)
    visit.page.wait_for_selector(".thumb")
    visit.page.wait_for_function(SETTLED)
    return visit.page


def served_rows(page: "Page") -> set[str]:
    names = page.locator('#groups li[data-served="yes"] .name').all()
    return {(each.text_content() or "").partition(" in ")[0] for each in names}


def names(result: dict[str, Any]) -> set[str]:
    return {label["name"] for label in result["labels"]}


def predict(address: str, file: Path, **options: str) -> dict[str, Any]:
    files = {"images": (file.name, file.read_bytes())}
    answer = httpx.post(f"{address}/predict", files=files, data=options, timeout=60)
    found: dict[str, Any] = answer.raise_for_status().json()["results"][0]
    return found


def assert_clean(visit: Visit, address: str) -> None:
    assert visit.errors == []
    assert [each for each in visit.foreign_requests(f"{address}/") if each[:5] != "blob:"] == []


@pytest.mark.parametrize("server", ["direct", "kept_prefix", "removed_prefix"])
def test_chosen_photo_gets_labels_of_api(
    visit: Visit, request: pytest.FixtureRequest, photo_files: list[Path], server: str
) -> None:
    address = request.getfixturevalue(server)
    page = choose(visit, address, photo_files[:1])
    assert served_rows(page) == names(predict(address, photo_files[0]))
    assert page.locator("#model").inner_text() == "tiny 1.2.3"
    assert_clean(visit, address)


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_or_pasted_photo_is_tagged(
    visit: Visit, direct: str, photo_files: list[Path], event: str
) -> None:
    visit.open(f"{direct}/")
    content = base64.b64encode(photo_files[0].read_bytes()).decode()
    visit.page.evaluate(SEND_FILE, [event, "a.jpg", content])
    visit.page.wait_for_selector('.thumb[data-state="done"]')
    assert visit.page.locator("#caption").inner_text().startswith("a.jpg, 64 ")
    assert_clean(visit, direct)


def test_first_view_is_small_and_quiet(visit: Visit, direct: str) -> None:
    sizes: list[int] = []
    visit.page.on("requestfinished", lambda each: sizes.append(each.sizes()["responseBodySize"]))
    visit.open(f"{direct}/")
    loaded = len(visit.requests)
    visit.page.wait_for_load_state("networkidle")
    # The browser itself asks for the icon once more.
    assert [each for each in visit.requests[loaded:] if not each.endswith("icon.svg")] == []
    assert len(sizes) >= loaded
    assert sum(sizes) < FIRST_VIEW_BYTES
    assert_clean(visit, direct)


def test_sample_is_tagged(visit: Visit, direct: str) -> None:
    visit.open(f"{direct}/")
    visit.page.locator(".sample").first.click()
    visit.page.wait_for_selector('.thumb[data-state="done"]')
    assert_clean(visit, direct)


def test_threshold_selects_labels_without_request(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    page = choose(visit, direct, photo_files[:1])
    sent = len(visit.requests)
    for value in ("0.3", "0.52", "0.9"):
        page.fill("#threshold", value)
        expected = names(predict(direct, photo_files[0], min_confidence=value))
        assert served_rows(page) == expected, value
        assert page.locator(".thumb .state").inner_text().startswith(f"{len(expected)} label")
    page.check("#all")
    assert page.locator("#groups li:not([hidden])").count() == 120
    assert len(visit.requests) == sent
    page.check("#rule-own")
    assert served_rows(page) == names(predict(direct, photo_files[0]))


def test_opened_label_shows_reason_and_evidence(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    page = choose(visit, direct, photo_files[:1])
    page.check("#all")
    page.locator("#groups summary").first.click()
    page.get_by_text("The model compares the photo with the text").wait_for()
    assert "confidence" in page.locator(".why p").first.inner_text()


def test_own_texts_are_scored_best_first(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    page = choose(visit, direct, photo_files[:1])
    page.click("#tab-texts")
    page.fill("#texts", "a cat\na cup, red\n\n")
    page.select_option("#scoring", "softmax")
    page.click("#texts-form button")
    page.wait_for_selector(".score")
    numbers = [float(each) for each in page.locator(".score .number").all_inner_texts()]
    assert len(numbers) == 2
    assert numbers == sorted(numbers, reverse=True)
    assert sum(numbers) == pytest.approx(1, abs=0.002)
    page.fill("#template", "no place")
    page.click("#texts-form button")
    page.wait_for_function('() => document.getElementById("texts-error").textContent')
    assert "template" in page.locator("#texts-error").inner_text()


def test_similar_photos_have_cosines(visit: Visit, direct: str, photo_files: list[Path]) -> None:
    page = choose(visit, direct, [*photo_files, photo_files[0]])
    page.click("#tab-similar")
    page.click("#compare")
    page.wait_for_selector(".neighbour")
    assert page.locator(".neighbour .name").all_inner_texts() == ["chelsea.jpg", "coffee.jpg"]
    assert page.locator(".neighbour .number").first.inner_text() == "1.000"


def test_error_of_one_photo_is_shown_at_it(
    visit: Visit, direct: str, photo_files: list[Path], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no image", encoding="utf-8")
    page = choose(visit, direct, [notes, photo_files[0]])
    assert page.locator('.thumb[data-state="done"]').count() == 1
    assert "not an image" in page.locator('.thumb[data-state="failed"]').inner_text()
    assert "not an image" in page.locator("#labels-error").inner_text()


def test_too_large_file_is_refused_in_words(visit: Visit, direct: str, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(3 * 2**20))
    page = choose(visit, direct, [large])
    assert "at most 2.0 MiB" in page.locator("#labels-error").inner_text()


def test_many_photos_are_split_into_requests(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    page = choose(visit, direct, [photo_files[0]] * 20)
    assert page.locator('.thumb[data-state="done"]').count() == 20
    assert sum(each.endswith("/predict") for each in visit.requests) == 3


def test_server_that_is_gone_is_named(
    visit: Visit, tiny_classifier: Classifier, small_settings: Settings, photo_files: list[Path]
) -> None:
    with live_server(create_app(small_settings, tiny_classifier)) as url:
        visit.open(f"{url}/")
    visit.page.set_input_files("#files", photo_files[0])
    visit.page.wait_for_selector('.thumb[data-state="failed"]')
    assert "does not answer" in visit.page.locator("#labels-error").inner_text()
    assert visit.page.locator("#retry").is_visible()


def test_request_without_answer_ends(visit: Visit, direct: str, photo_files: list[Path]) -> None:
    visit.page.clock.install()
    visit.open(f"{direct}/")
    visit.page.route("**/predict", lambda _: None)
    with visit.page.expect_request("**/predict"):
        visit.page.set_input_files("#files", photo_files[0])
    visit.page.clock.fast_forward(60_000)
    visit.page.wait_for_selector('.thumb[data-state="failed"]')
    assert "did not answer within 35 s" in visit.page.locator("#labels-error").inner_text()


def test_busy_server_is_asked_again(visit: Visit, direct: str, photo_files: list[Path]) -> None:
    refusals = [{"Retry-After": "7"}]

    def refuse_once(route: "Route") -> None:
        if refusals:
            route.fulfill(status=429, headers=refusals.pop(), body="{}")
        else:
            route.continue_()

    visit.page.clock.install()
    visit.open(f"{direct}/")
    visit.page.route("**/predict", refuse_once)
    visit.page.set_input_files("#files", photo_files[0])
    visit.page.get_by_text("The server is busy. The page tries again in 7 s.").wait_for()
    visit.page.clock.fast_forward(8_000)
    visit.page.wait_for_selector('.thumb[data-state="done"]')
    assert visit.page.locator("#notice").is_hidden()


def test_api_key_is_asked_for_and_sent(
    visit: Visit,
    tiny_classifier: Classifier,
    small_settings: Settings,
    photo_files: list[Path],
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"page:{KEY}\n", encoding="utf-8")
    settings = small_settings.model_copy(update={"api_keys_file": keys})
    with live_server(create_app(settings, tiny_classifier)) as url:
        visit.open(f"{url}/")
        visit.page.set_input_files("#files", photo_files[0])
        visit.page.get_by_text("This server needs an API key").wait_for()
        visit.page.fill("#key", "not-the-key-0123456789")
        visit.page.keyboard.press("Enter")
        visit.page.get_by_text("The server did not accept this key").wait_for()
        visit.page.fill("#key", KEY)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector('.thumb[data-state="done"]')
        calls = visit.page.locator("#labels-call").text_content() or ""
        assert KEY not in calls
        assert "$MUMIC_API_KEY" in calls
        assert visit.page.evaluate("sessionStorage.length + localStorage.length") == 0


@pytest.mark.parametrize("language", ["curl", "Python"])
@pytest.mark.parametrize("name", ["photo.jpg", 'it\'s "a; b", c.jpg'])
def test_shown_calls_return_what_page_shows(
    visit: Visit, direct: str, photo_files: list[Path], tmp_path: Path, name: str, language: str
) -> None:
    photo = tmp_path / name
    photo.write_bytes(photo_files[0].read_bytes())
    page = choose(visit, direct, [photo])
    page.fill("#threshold", "0.52")
    shown = served_rows(page)
    page.click("#tab-texts")
    page.fill("#texts", '@cup; it\'s "red"\n<b> & $HOME')
    for panel in ("labels", "texts"):
        call = page.get_by_label(f"{language} call", exact=True)
        text = page.locator(f"#{panel}-call").locator(call).text_content() or ""
        command = ["bash", "-c", text] if language == "curl" else [sys.executable, "-c", text]
        run = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "NO_PROXY": "*"}, capture_output=True,
            check=True, text=True,
        )  # fmt: skip
        output = run.stdout if language == "curl" else json.dumps(ast.literal_eval(run.stdout))
        result = json.loads(output)["results"][0]
        if panel == "labels":
            assert names(result) == shown
        else:
            labels = {each["label"] for each in result["scores"]}
            assert labels == {'@cup; it\'s "red"', "<b> & $HOME"}


def test_keyboard_alone_reaches_a_result(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    page = visit.page
    # Before the page opens: a key may arrive before the browser intercepts file choosers.
    page.on("filechooser", lambda chooser: chooser.set_files(photo_files[0]))
    visit.open(f"{direct}/")
    for _ in range(2):  # the link to the documentation, then the button
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    page.keyboard.press("Enter")
    page.wait_for_selector('.thumb[data-state="done"]')
    page.locator("#tab-labels").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#texts-panel").is_visible()
    assert page.evaluate("document.activeElement.id") == "tab-texts"


def test_narrow_screen_does_not_scroll_sideways(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 700})
    page = choose(visit, direct, photo_files)
    page.check("#all")
    for tab in ("labels", "texts", "similar"):
        page.click(f"#tab-{tab}")
        page.locator(f"#{tab}-call summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_removed_photo_releases_its_preview(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    visit.page.add_init_script(
        "const real = URL.revokeObjectURL; window.revoked = 0;"
        "URL.revokeObjectURL = (url) => { window.revoked += 1; real.call(URL, url); };"
    )
    page = choose(visit, direct, photo_files)
    page.click("#remove")
    page.click("#clear")
    assert page.evaluate("window.revoked") == 2
    assert page.locator("#work").is_hidden()


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_copy_button_copies_shown_call(
    visit: Visit, direct: str, photo_files: list[Path], language: str
) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = choose(visit, direct, photo_files[:1])
    page.locator("#labels-call summary").click()
    page.get_by_role("button", name=f"Copy the {language} call").click()
    page.locator("#labels-call").get_by_text("Copied").wait_for()
    call = page.locator("#labels-call").get_by_label(f"{language} call", exact=True)
    shown = call.text_content() or ""
    assert "/predict" in shown
    assert page.evaluate("navigator.clipboard.readText()") == shown


def test_copy_button_selects_call_without_clipboard(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    visit.page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined });"
    )
    page = choose(visit, direct, photo_files[:1])
    page.locator("#labels-call summary").click()
    page.get_by_role("button", name="Copy the curl call").click()
    page.locator("#labels-call").get_by_text("Press Ctrl+C").wait_for()
    shown = page.locator("#labels-call code").first.text_content() or ""
    assert page.evaluate("getSelection().toString()").strip() == shown.strip()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_controls_have_contrast(
    visit: Visit, direct: str, photo_files: list[Path], tmp_path: Path, scheme: str
) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    visit.open(f"{direct}/")
    views = {"first": text_contrasts(visit.page)}
    notes = tmp_path / "notes.txt"
    notes.write_text("no image", encoding="utf-8")
    page = choose(visit, direct, [notes, *photo_files])
    views["error"] = text_contrasts(page)
    page.locator(".thumb").nth(1).click()
    page.check("#rule-one")
    page.fill("#threshold", "0.52")
    page.check("#all")
    page.locator("#labels-call summary").click()
    page.locator("#groups summary").first.click()
    page.get_by_text("The model compares the photo with the text").wait_for()
    views["labels"] = text_contrasts(page)
    for selector, colour in {
        "#threshold": "borderTopColor",
        "#choose": "backgroundColor",
        '[data-served="yes"] .fill': "backgroundColor",
        '[data-served="no"] .fill': "boxShadow",
        ".tick": "backgroundColor",
    }.items():
        assert part_contrast(page, selector, colour) >= MIN_PART, selector
    page.click("#tab-texts")
    page.click("#texts-form button")
    views["texts"] = text_contrasts(page)
    assert part_contrast(page, "#texts", "borderTopColor") >= MIN_PART
    page.click("#tab-similar")
    page.click("#compare")
    page.wait_for_selector(".neighbour")
    views["similar"] = text_contrasts(page)
    low = {
        (view, text, round(contrast, 2))
        for view, texts in views.items()
        for text, contrast in texts.items()
        if contrast < MIN_TEXT
    }
    assert not low
