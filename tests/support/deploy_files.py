"""The files of deploy/, the PromQL in them, and the metrics that the server exports."""

import json
import re
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.serving.observability import Metrics
from app.serving.observability.process_metrics import SharingProcesses
from tests.support.imports import ROOT

DEPLOY = ROOT / "deploy"
# Parts of an expression that are neither metrics nor functions: label values, selectors, ranges,
# lists of labels.
_NO_NAMES = re.compile(
    r'"[^"]*" | \{[^}]*\} | \[[^]]*\] | \b(by|without|on|ignoring|group_left)\s*\([^)]*\)',
    re.VERBOSE,
)
_NAME = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()")
_WORDS = {"and", "or", "unless", "bool", "offset"}


def yaml_of(name: str) -> Any:
    """Load a YAML file of deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def dashboard() -> dict[str, Any]:
    """Load the Grafana dashboard."""
    text = (DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels without its rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def variables() -> list[dict[str, Any]]:
    """Return the dashboard's variables."""
    found: list[dict[str, Any]] = dashboard()["templating"]["list"]
    return found


def variable_queries() -> list[str]:
    """Return the queries that fill the dashboard's variables."""
    return [each["query"]["query"] for each in variables() if each["type"] == "query"]


def alerts() -> list[dict[str, Any]]:
    """Return the alert rules."""
    return [rule for group in yaml_of("alerts.yaml")["groups"] for rule in group["rules"]]


def panel_queries() -> dict[str, str]:
    """Return the PromQL of each panel, with Grafana's variables replaced by values."""
    values = {"$__rate_interval": "1m", "$instance": ".*", "$label": "pets"}
    queries = {}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in values.items():
                expression = expression.replace(variable, value)
            queries[f"{panel['title']} {target['refId']}"] = expression
    return queries


def alert_queries() -> dict[str, str]:
    """Return the PromQL of each alert."""
    return {rule["alert"]: rule["expr"] for rule in alerts()}


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(_NAME.findall(_NO_NAMES.sub(" ", expression))) - _WORDS


@cache
def exported_metrics(*, families: bool = False) -> frozenset[str]:
    """Return the names that /metrics exports, including those of multiple workers.

    Args:
        families: names as in `# TYPE` lines; by default with the suffixes of histograms.
    """
    names = set[str]()
    with TemporaryDirectory() as directory:
        workers = list(SharingProcesses(directory).collect())
    process = text_string_to_metric_families(Metrics().render().decode())
    for family in (*process, *workers):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        names.add(name)
        if family.type == "histogram" and not families:
            names |= {f"{name}_{suffix}" for suffix in ("bucket", "sum", "count")}
    return frozenset(names)
