"""A real Chromium for tests of pages: `make browser`."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.photos import write_small_photos
from tests.support.prefix_proxy import prefix_proxy
from tests.support.tiny import live_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMEOUT_MS = 60_000  # of one step, on a busy machine
# Without the network: Chromium would look up hosts of its vendor.
FLAGS = (
    "--no-sandbox",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Visit:
    """A page of the browser, and what happened on it.

    Attributes:
        page: the page.
        errors: errors on its console and exceptions of its scripts.
        requests: addresses of all requests, in order.
    """

    page: "Page"
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Open an address and wait until the page has loaded."""
        answer = self.page.goto(address)
        assert answer is not None and answer.ok, address

    def foreign_requests(self, address: str) -> list[str]:
        """Return the requests that did not go below an address."""
        return [each for each in self.requests if not each.startswith((address, "data:"))]


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium; Playwright downloads no browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.fail("chromium is not on PATH: CONTRIBUTING.md says how to get it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Visit]":
    """A new page without cookies, storage or cache."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    visit = Visit(page)

    page.on("console", lambda said: visit.errors.extend([said.text] * (said.type == "error")))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("request", lambda request: visit.requests.append(request.url))
    yield visit
    context.close()


@pytest.fixture(scope="module")
def direct(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[str]:
    with live_server(create_app(small_settings, tiny_classifier)) as url:
        yield url


@pytest.fixture(scope="module")
def removed_prefix(direct: str) -> Iterator[str]:
    with prefix_proxy(direct, "/ml/mumic") as url:
        yield url


@pytest.fixture(scope="module")
def kept_prefix(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[str]:
    settings = small_settings.model_copy(update={"root_path": "/mumic"})
    with live_server(create_app(settings, tiny_classifier)) as url:
        yield f"{url}/mumic"


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_small_photos(tmp_path_factory.mktemp("photos"))
