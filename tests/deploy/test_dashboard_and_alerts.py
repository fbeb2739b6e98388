"""The dashboard and the alerts name metrics that exist; `make monitoring` evaluates them too."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

from tests.support.deploy_files import (
    alert_queries,
    alerts,
    dashboard,
    exported_metrics,
    metrics_in,
    panel_queries,
    panels,
    variable_queries,
    variables,
    yaml_of,
)

OF_PROMETHEUS = {"up", "ALERTS"}
COLUMNS = 24  # of Grafana's grid
TEMPLATE = re.compile(r"\{\{.*?\}\}")


def test_metrics_are_found_in_expression() -> None:
    share = 'sum by (le) (rate(a_b{c="d", e!~"f|g"}[5m])) / ignoring(h) i_j > 1e3 or vector(0)'
    assert metrics_in(share) == {"a_b", "i_j"}


def test_queries_name_exported_metrics() -> None:
    known = OF_PROMETHEUS | exported_metrics()
    queries = panel_queries() | alert_queries()
    named = {place: metrics_in(query) for place, query in queries.items()}
    assert all(named.values())
    assert {place: names - known for place, names in named.items() if names - known} == {}
    assert set(re.findall(r"label_values\((\w+)", " ".join(variable_queries()))) <= known


def nodes(node: Any) -> Iterator[Any]:
    """All values of a JSON document."""
    yield node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from nodes(child)


def test_dashboard_uses_selected_source_and_instances() -> None:
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


def test_panels_have_titles_units_and_do_not_overlap() -> None:
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


def test_alerts_link_to_their_runbook_entry() -> None:
    for alert in alerts():
        annotations, name = alert["annotations"], alert["alert"]
        assert annotations.keys() == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"docs/operations/runbook.md#{name.lower()}"


def test_alert_rules_are_tested_firing_and_quiet() -> None:
    tested = [
        rule for test in yaml_of("alerts_test.yaml")["tests"] for rule in test["alert_rule_test"]
    ]
    assert {rule["alertname"] for rule in tested} == alert_queries().keys()
    for alert in alerts():
        expected = [rule["exp_alerts"] for rule in tested if rule["alertname"] == alert["alert"]]
        assert {bool(each) for each in expected} == {False, True}, alert["alert"]
        summary = ".+".join(map(re.escape, TEMPLATE.split(alert["annotations"]["summary"])))
        for fired in itertools.chain.from_iterable(expected):
            annotations = dict(fired["exp_annotations"])
            assert re.fullmatch(summary, annotations["summary"])
            assert annotations == alert["annotations"] | {"summary": annotations["summary"]}
