"""Writes the generated reference pages: `python -m tools.reference`.

tests/docs/test_reference.py compares the committed pages with the code.
"""

import html
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from app.serving.observability import Metrics
from app.settings import Settings

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
MIB = 2**20
# Defaults that depend on the machine or on where the package is installed.
COMPUTED = {
    "checkpoint": "`weights/mumic-demo`",
    "decode_threads": "CPU cores / workers, at least 2",
}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}"}


def settings_page() -> str:
    """Render all settings with default, allowed values and description."""
    rows = [
        (f"`MUMIC_{name.upper()}`", _default(name, field), _allowed(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return (
        "# Settings\n\n"
        "Every setting is an environment variable. `mumic serve` has options for the most common\n"
        "ones; an option takes precedence over its variable. With several workers, limits and\n"
        "caches apply to each worker. A sequence is a JSON list.\n\n"
        + _table(("variable", "default", "allowed", "description"), rows)
        + "\n[Limits](../operations/limits.md) says what happens when a limit is reached.\n"
    )


def cli_page() -> str:
    """Render the help of all commands."""
    run = subprocess.run(
        [sys.executable, "-m", "typer", "app.cli.commands", "utils", "docs", "--name", "mumic"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    # Brackets would be read as links, angle brackets as HTML.
    lines = [
        line.replace("[", r"\[") if line.startswith("* ") else line
        for line in html.unescape(run.stdout).splitlines()
    ]
    return "\n".join(lines).replace("# `mumic`", "# Command line", 1).strip() + "\n"


def api_page() -> str:
    """Render the endpoints of openapi.yaml with their options and errors."""
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    text = (
        "# HTTP API\n\n"
        "A running server has the OpenAPI document at `/openapi.json` and an interactive page at\n"
        "`/docs`; `openapi.yaml` in the repository is the same document.\n\n"
        "Images are sent in one of three forms:\n\n"
        "- `multipart/form-data`: files named `images`; options are form fields.\n"
        '- JSON: `{"images": [{"id": "a", "data": "<base64>"}], "max_labels": 5}`.\n'
        "- the raw bytes of one image; options are query parameters.\n\n"
        "[Request bodies](request-bodies.md) says what is accepted, [Photos](../photos.md) which\n"
        "formats and sizes. An image that cannot be used has an error in its result, and the\n"
        "other images are processed. If no image can be used, the response is 422 with the same\n"
        "results. Labels and scores are in order of their logits, best first, also where\n"
        "confidences round to 1 or to 0. Errors of a whole request are\n"
        "`application/problem+json` (RFC 9457) with a stable `code`.\n\n"
        "HEAD answers as GET without a body. OPTIONS, and 405 for other methods, list the allowed\n"
        "methods in `Allow`. Responses from 4 KiB are compressed with gzip if `Accept-Encoding`\n"
        "allows it; `application/x-npy` is not. CORS and path prefixes:\n"
        "[Run behind a proxy or a prefix](../how-to/run-behind-a-proxy.md).\n"
    )
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            text += f"\n## {method.upper()} {path}\n\n{operation['summary']}.\n"
            options = operation.get("parameters", [])
            if options:
                rows = [(f"`{each['name']}`", _where(each), *_schema(each)) for each in options]
                names = ("option", "in", "type", "default", "description")
                text += "\n" + _table(names, rows)
            errors = [
                (status, response["description"])
                for status, response in sorted(operation["responses"].items())
                if not status.startswith("2")
            ]
            if errors:
                text += "\n" + _table(("status", "code and meaning"), errors)
    return text


def metrics_page() -> str:
    """Render the exported metrics and the alert rules."""
    lines = Metrics().render().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", lines, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\w+) (.+)$", lines, re.MULTILINE))
    metrics = [(f"`{name}`", kinds[name], helps[name]) for name in sorted(kinds)]
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    alerts = [
        (
            f"[{rule['alert']}](../operations/runbook.md#{rule['alert'].lower()})",
            rule.get("for", "0m"),
            rule["labels"]["severity"],
            rule["annotations"]["summary"],
        )
        for group in groups
        for rule in group["rules"]
    ]
    return (
        "# Metrics and alerts\n\n"
        "`GET /metrics` exports these metrics. [Monitoring](../operations/monitoring.md)\n"
        "describes their labels and how to use them.\n\n"
        + _table(("metric", "type", "description"), metrics)
        + "\nThe alert rules of `deploy/alerts.yaml`:\n\n"
        + _table(("alert", "for", "severity", "summary"), alerts)
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "http-api.md": api_page,
    "metrics.md": metrics_page,
}


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    cells = [[" ".join(cell.replace("|", r"\|").split()) for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _default(name: str, field: FieldInfo) -> str:
    if name in COMPUTED:
        return COMPUTED[name]
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if name.endswith("bytes") and value and value % MIB == 0:
        return f"`{value}` ({value // MIB} MiB)"
    return f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    """Render the bounds of a number."""
    bounds = {
        name: getattr(constraint, name)
        for constraint in field.metadata
        for name in BOUNDS
        if hasattr(constraint, name)
    }
    return ", ".join(BOUNDS[name].format(bound) for name, bound in bounds.items())


def _where(parameter: dict[str, Any]) -> str:
    return parameter["in"] if parameter["in"] in ("header", "path") else "form, JSON or query"


def _schema(parameter: dict[str, Any]) -> tuple[str, str, str]:
    """Render type, default and description of a parameter."""
    schema = parameter["schema"]
    kind = " or ".join(f"`{value}`" for value in schema["enum"]) if "enum" in schema else ""
    default = schema.get("default", [])
    return (
        kind or schema.get("type", ""),
        "" if default == [] else f"`{str(default).lower() if default is False else default}`",
        parameter["description"].partition(" (only")[0],  # where it is sent has its own column
    )


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
