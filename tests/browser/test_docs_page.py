"""Every "Try it out" of /docs succeeds as it opens, in a real browser, behind a prefix as well."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.browser.conftest import Visit
from tests.support.tiny import live_server

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.browser
KEY = "page-key-0123456789"
OPERATIONS = {
    *("images-predict", "images-embed", "images-zero_shot", "images-validate"),
    "images-gallery",
    *("information-labels", "information-label", "information-model", "information-metrics"),
    *("information-healthz", "information-readyz"),
}
# By a server without an index and a token for operators.
REFUSED = {
    "images-similar": (404, "no_index"),
    "administration-add_label": (403, "labels_read_only"),
    "administration-remove_label": (403, "labels_read_only"),
}
# The lists to fill in, by operation. A comma is part of a label text.
LISTS = {
    "images-predict": {"include_labels": ["beach", "indoor_swimming_pool"]},
    "images-embed": {},
    "images-zero_shot": {"labels": ["a beach, sunny", "a pool"]},
    "images-gallery": {},
    "images-validate": {"declared": ["a beach, sunny", "gym"]},
}


@pytest.fixture(params=["direct", "removed_prefix", "kept_prefix"])
def address(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def try_out(visit: Visit, operation: str) -> "Locator":
    """Open an operation and click "Try it out"."""
    block = visit.page.locator(f"#operations-{operation}")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    return block


def execute(block: "Locator") -> tuple[int, str]:
    """Click "Execute"; return the status and body of the response."""
    block.locator("button.execute").click()
    response = block.locator(".live-responses-table .response")
    status = response.locator(".response-col_status").inner_text()
    return int(status.split()[0]), response.locator(".response-col_description").inner_text()


def choose_files(block: "Locator", files: list[Path]) -> None:
    row = block.locator('tr[data-property-name="images"]')
    inputs = row.locator("input[type=file]")
    for index, file in enumerate(files):
        if inputs.count() <= index:
            row.locator(".json-schema-form-item-add").click()
        inputs.nth(index).set_input_files(file)


def fill_list(block: "Locator", name: str, values: list[str]) -> None:
    row = block.locator(f'tr[data-property-name="{name}"]')
    inputs = row.locator("input[type=text]")
    for index, value in enumerate(values):
        if inputs.count() <= index:
            row.locator(".json-schema-form-item-add").click()
        inputs.nth(index).fill(value)


def test_every_operation_succeeds_as_it_opens(visit: Visit, address: str) -> None:
    visit.open(f"{address}/docs")
    blocks = visit.page.locator(".opblock")
    blocks.first.wait_for()
    found = {(each.get_attribute("id") or "").partition("-")[2] for each in blocks.all()}
    assert found == OPERATIONS | REFUSED.keys()
    for operation in sorted(OPERATIONS):
        status, _ = execute(try_out(visit, operation))
        assert status == 200, operation
    assert visit.errors == []
    for operation, (refused, code) in REFUSED.items():
        status, body = execute(try_out(visit, operation))
        assert status == refused, operation
        assert code in body
    assert visit.foreign_requests(f"{address}/") == []


@pytest.mark.parametrize("operation", LISTS)
def test_form_sends_two_files_and_lists(
    visit: Visit, removed_prefix: str, photo_files: list[Path], operation: str
) -> None:
    visit.open(f"{removed_prefix}/docs")
    block = try_out(visit, operation)
    block.locator(".opblock-section-request-body select").first.select_option("multipart/form-data")
    choose_files(block, photo_files)
    for name, values in LISTS[operation].items():
        fill_list(block, name, values)
    status, body = execute(block)
    assert status == 200, body
    for file in photo_files:
        assert f'"id": "{file.name}"' in body
    for label in LISTS[operation].get("labels", []):
        assert f'"label": "{label}"' in body
    assert visit.errors == []


def test_raw_photo_is_sent_by_file_chooser(
    visit: Visit, direct: str, photo_files: list[Path]
) -> None:
    visit.open(f"{direct}/docs")
    block = try_out(visit, "images-predict")
    section = block.locator(".opblock-section-request-body")
    section.locator("select").first.select_option("image/*")
    section.locator("input[type=file]").set_input_files(photo_files[0])
    assert execute(block)[0] == 200
    assert visit.errors == []


def test_authorize_sends_api_key(
    visit: Visit, tiny_classifier: Classifier, small_settings: Settings, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"page:{KEY}\n", encoding="utf-8")
    settings = small_settings.model_copy(update={"api_keys_file": keys})
    with live_server(create_app(settings, tiny_classifier)) as url:
        visit.open(f"{url}/docs")
        visit.page.locator("button.authorize").first.click()
        scheme = visit.page.locator(".auth-container", has_text="X-API-Key")
        scheme.locator("input[type=text]").fill(KEY)
        scheme.locator("button[type=submit]").click()
        visit.page.locator("button.btn-done").first.click()
        assert execute(try_out(visit, "images-predict"))[0] == 200
    assert visit.errors == []
