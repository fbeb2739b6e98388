"""The operations pages name only alerts, metrics, settings, tests and texts that exist."""

import ast
import json
import re
from pathlib import Path

import pytest

from app.serving.http.problems import CODES
from app.settings import Settings
from tests.support.deploy_files import alerts, exported_metrics
from tests.support.imports import ROOT, modules

PAGES = sorted((ROOT / "docs" / "operations").glob("*.md"))
RUNBOOK = (ROOT / "docs" / "operations" / "runbook.md").read_text(encoding="utf-8")
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
NOT_SETTINGS = {"MUMIC_MAX_QUEUED_IMGES"}  # the example of a mistyped name
LEVELS = ("WARNING", "ERROR")
MIN_LITERAL_CHARS = 12  # shorter texts match by chance
PLACEHOLDER = re.compile(r"%\(\w+\)[-.\d]*[sdf]|%[-.\d]*[sdgfr]")
LOG_LINE = re.compile(r"(?:[\d-]{10} [\d:,]{12} [A-Z]+ |mumic: )?(.*)")
REQUEST = re.compile(r"(GET|POST) \S+ \d{3} [\d.]+ ms [0-9a-f]{32} \S+ \S+")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str]]:
    """The name of a page and each of its fenced blocks in a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page.name, block) for page in PAGES for block in fence.findall(text_of(page))]


def literals(parts: list[str]) -> tuple[str, ...] | None:
    """The text between the placeholders of a message; None if it is too short to be specific."""
    found = tuple(literal for part in parts for literal in PLACEHOLDER.split(part))
    return found if sum(map(len, found)) >= MIN_LITERAL_CHARS else None


def literal_parts(node: ast.AST) -> list[str] | None:
    """The literal parts of a string or an f-string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        values = [each.value if isinstance(each, ast.Constant) else "%s" for each in node.values]
        return ["".join(str(value) for value in values)]
    return None


TEXTS = [
    parts
    for tree in modules().values()
    for node in ast.walk(tree)
    if (parts := literal_parts(node))
]
MESSAGES = {found for parts in TEXTS if (found := literals(parts))}


def is_printed(message: str) -> bool:
    """Whether a text of the code, with its placeholders filled, ends the message."""
    return any(
        re.search(".*".join(map(re.escape, found)) + "$", message)
        for found in MESSAGES
        if all(literal in message for literal in found)
    )


def test_every_alert_has_entry_with_four_headings() -> None:
    _, _, section = RUNBOOK.partition("\n## Alerts\n")
    entries = re.split(r"^### (\w+)$", section, flags=re.MULTILINE)[1:]
    headings = {
        name: re.findall(r"^#### (.+)$", entry, re.MULTILINE)
        for name, entry in zip(entries[::2], entries[1::2], strict=True)
    }
    assert headings == {alert["alert"]: HEADINGS for alert in alerts()}


def test_first_table_covers_alerts_and_links_resolve() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors
    assert RUNBOOK.index("| symptom |") < RUNBOOK.index("\n## ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_metrics_exist(page: Path) -> None:
    named = set(re.findall(r"\bmumic_[a-z_]*[a-z]\b", text_of(page)))
    assert named - exported_metrics() == set()


def test_monitoring_page_lists_every_metric() -> None:
    page = text_of(ROOT / "docs" / "operations" / "monitoring.md")
    listed = set(re.findall(r"`(mumic_\w+)", page))
    families = {name for name in exported_metrics(families=True) if name.startswith("mumic_")}
    assert listed == families


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_settings_exist(page: Path) -> None:
    named = set(re.findall(r"\bMUMIC_[A-Z_]*[A-Z]\b", text_of(page))) - NOT_SETTINGS
    assert named <= {f"MUMIC_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(("page", "block"), blocks("log"))
def test_quoted_log_lines_are_printed(page: str, block: str) -> None:
    for line in block.splitlines():
        found = LOG_LINE.fullmatch(line)
        assert found, line
        assert REQUEST.fullmatch(found[1]) or is_printed(found[1]), f"{page}: {line}"


@pytest.mark.parametrize(("page", "block"), blocks("json"))
def test_quoted_problems_are_sent(page: str, block: str) -> None:
    problem = json.loads(block)
    assert problem["code"] in CODES, page
    assert is_printed(problem["detail"]), f"{page}: {problem['detail']}"


def test_searched_log_texts_exist() -> None:
    texts = [part for parts in TEXTS for part in parts]
    calls = re.findall(r"\blogs((?: (?:\"[^\"\n]+\"|\w+))+)", RUNBOOK)
    assert calls
    for call in calls:
        for quoted, word in re.findall(r"\"([^\"]+)\"|(\w+)", call):
            searched = quoted or word
            if re.match(r" \d", searched) or searched in ("Traceback", "^mumic: ", *LEVELS):
                continue  # a status in the access log, Python's own, or the exit line
            literal = re.sub(r"\.\*", "%s", searched)
            assert any(literal in text for text in texts), searched


def test_health_table_quotes_real_problems() -> None:
    rows = re.findall(r"^\| 503 `(\w+)` \| [^|]+ \| ([^|]+) \|", RUNBOOK, re.MULTILINE)
    assert len(rows) == 5
    for code, detail in rows:
        assert code in CODES
        assert is_printed(detail.strip()), detail


def test_url_errors_are_quoted_exactly() -> None:
    rows = re.findall(r"^\| `(url_\w+)`: ([^|]+?) \|", RUNBOOK, re.MULTILINE)
    assert rows
    for _, message in rows:
        assert is_printed(message), message


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "security.md"], ids=lambda p: p.name)
def test_named_test_files_exist(page: Path) -> None:
    assert all((ROOT / name).is_file() for name in re.findall(r"tests/[\w/]+\.py", text_of(page)))
    bare = re.findall(r"(?<![\w/])test_\w+\.py", text_of(page))
    assert bare == []
