"""docs/reference/label-set.md lists the fields of a label set, and its example is valid."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.core.labels import Calibration, Label, LabelSet, Thresholds, load_label_set
from tests.support.imports import ROOT

PAGE = (ROOT / "docs" / "reference" / "label-set.md").read_text(encoding="utf-8")
DEFAULTS = {"[]": (), "see below": Thresholds(), "identity": Calibration(), "not stated": None}


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("of the file", LabelSet),
        ("of a label", Label),
        ("of `thresholds`", Thresholds),
        ("of `calibration`", Calibration),
    ],
)
def test_label_set_page_lists_every_field(heading: str, model: type[BaseModel]) -> None:
    table = PAGE.partition(f"| field {heading} |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))
    assert list(rows) == list(model.model_fields)
    for name, field in model.model_fields.items():
        stated = rows[name].strip("`")
        if field.is_required():
            assert stated == "required", name
        else:
            assert DEFAULTS.get(stated, stated) == _written(field.default), name


def test_label_set_page_has_valid_example(tmp_path: Path) -> None:
    example = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "labels.yaml"
    file.write_text(example[0], encoding="utf-8")
    assert len(load_label_set(file).labels) == 5


def _written(default: object) -> object:
    return str(default) if isinstance(default, float) else default
