"""Dashboard and alerts ask for what the server tells; `make monitoring` asks Prometheus too."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from app.serving.observability.process_metrics import SharingProcesses
from tests.support.deploy_files import (
    alerts,
    dashboard,
    listed,
    metrics_in,
    panels,
    ringing,
    shown,
    variables,
    yaml_of,
)
from tests.support.imports import ROOT

OF_PROMETHEUS = {"up", "ALERTS"}
COLUMNS = 24  # of Grafana's grid


def test_metrics_are_found_in_an_expression() -> None:
    share = 'sum by (le) (rate(a_b{c="d", e!~"f|g"}[5m])) / ignoring(h) i_j > 1e3 or vector(0)'
    assert metrics_in(share) == {"a_b", "i_j"}


def test_every_metric_that_is_asked_for_is_told(client: httpx.Client, tmp_path: Path) -> None:
    told = set(OF_PROMETHEUS)
    of_workers = SharingProcesses(str(tmp_path)).collect()
    told |= {sample.name for family in of_workers for sample in family.samples}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", client.get("/metrics").text, re.M):
        parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        told |= {name + part for part in parts}
    expressions = shown() | ringing()
    asked = {place: metrics_in(text) for place, text in expressions.items()}
    assert all(asked.values())
    assert {place: names - told for place, names in asked.items() if names - told} == {}
    assert set(re.findall(r"label_values\((\w+)", " ".join(listed()))) <= told


def nodes(part: Any) -> Iterator[Any]:
    """All that is in a JSON document."""
    yield part
    if isinstance(part, dict | list):
        for child in part.values() if isinstance(part, dict) else part:
            yield from nodes(child)


def test_the_dashboard_asks_the_chosen_source_about_the_chosen_instances() -> None:
    whole = dashboard()
    source = {"type": "prometheus", "uid": "${datasource}"}
    every = [node for node in nodes(whole) if isinstance(node, dict)]
    assert all(node.get("datasource", source) == source for node in every)
    texts = [node for node in nodes(whole) if isinstance(node, str)]
    used = {name for text in texts for name in re.findall(r"\$\{?(\w+)", text)}
    assert used - {"__rate_interval", "__all"} == {each["name"] for each in variables()}
    for panel in panels():
        assert panel["datasource"]
        for target in panel["targets"]:
            for selector in re.findall(r"\{[^}]*\}", target["expr"]):
                assert 'instance=~"$instance"' in selector or "alertname" in selector


def test_panels_have_names_units_and_a_place_of_their_own() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        across = range(place["x"], place["x"] + place["w"])
        assert across.stop <= COLUMNS
        cells = set(itertools.product(across, range(place["y"], place["y"] + place["h"])))
        assert cells
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        unit = panel["fieldConfig"]["defaults"].get("unit")
        axis = panel["options"].get("yAxis", {}).get("unit")
        assert unit or axis or panel["type"] == "table", panel["title"]


def test_every_alert_has_advice_and_is_tried_both_ways() -> None:
    advice = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    tried = [
        rule for test in yaml_of("alerts_test.yaml")["tests"] for rule in test["alert_rule_test"]
    ]
    for alert in alerts():
        name = alert["alert"]
        assert f"\n### {name}\n" in advice
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        fired = {bool(rule["exp_alerts"]) for rule in tried if rule["alertname"] == name}
        assert fired == {False, True}, name
