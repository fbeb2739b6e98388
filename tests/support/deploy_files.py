"""What lies in deploy/, and the PromQL in it."""

import json
import re
from typing import Any

import yaml

from tests.support.imports import ROOT

DEPLOY = ROOT / "deploy"
# All that is no metric and no function: label values, selectors, ranges, lists of labels.
_NO_NAMES = re.compile(
    r'"[^"]*" | \{[^}]*\} | \[[^]]*\] | \b(by|without|on|ignoring|group_left)\s*\([^)]*\)',
    re.VERBOSE,
)
_NAME = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()")
_WORDS = {"and", "or", "unless", "bool", "offset"}


def yaml_of(name: str) -> Any:
    """A YAML file of deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def dashboard() -> dict[str, Any]:
    """Grafana's dashboard."""
    text = (DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something; its rows are titles."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def variables() -> list[dict[str, Any]]:
    """What one chooses above the panels."""
    chosen: list[dict[str, Any]] = dashboard()["templating"]["list"]
    return chosen


def listed() -> list[str]:
    """Where Grafana finds what there is to choose from."""
    return [each["query"]["query"] for each in variables() if each["type"] == "query"]


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    return [rule for group in yaml_of("alerts.yaml")["groups"] for rule in group["rules"]]


def shown() -> dict[str, str]:
    """What the panels ask for, Grafana's variables put in as Grafana would."""
    values = {"$__rate_interval": "1m", "$instance": ".*", "$label": "pets"}
    asked = {}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in values.items():
                expression = expression.replace(variable, value)
            asked[f"{panel['title']} {target['refId']}"] = expression
    return asked


def ringing() -> dict[str, str]:
    """When each alert rings."""
    return {rule["alert"]: rule["expr"] for rule in alerts()}


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(_NAME.findall(_NO_NAMES.sub(" ", expression))) - _WORDS
