"""The bill of materials lists the packages of a plain install, and no others."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.bill_of_materials import installed_for
from tests.support.imports import ROOT
from tests.support.project import PROJECT


def component(name: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": f"{name}==1", "name": name, "version": "1"}


def test_dependencies_follow_extras_and_markers() -> None:
    installed = installed_for(PROJECT["dependencies"])
    assert {"torch", "open-clip-torch", "starlette", "pydantic-core", "pyyaml"} <= installed
    assert "uvloop" in installed  # through uvicorn[standard]
    assert not {"pytest", "mypy", "matplotlib", "colorama", "pip-audit"} & installed
    assert installed_for(["uvicorn>=0.54"]) < installed_for(["uvicorn[standard]>=0.54"])


def test_components_and_dependencies_are_filtered_together(tmp_path: Path) -> None:
    document = {
        "bomFormat": "CycloneDX",
        "metadata": {"component": {"bom-ref": "root-component", "name": "mumic"}},
        "components": [component("torch"), component("Pillow"), component("pytest")],
        "dependencies": [
            {"ref": "root-component", "dependsOn": ["torch==1", "pytest==1", "Pillow==1"]},
            {"ref": "pytest==1", "dependsOn": ["torch==1"]},
            {"ref": "torch==1"},
        ],
    }
    file = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "deploy.bill_of_materials", str(file)]
    subprocess.run(command, input=json.dumps(document), text=True, check=True, cwd=ROOT)
    assert json.loads(file.read_text()) == document | {
        "components": [component("torch"), component("Pillow")],
        "dependencies": [
            {"ref": "root-component", "dependsOn": ["torch==1", "Pillow==1"]},
            {"ref": "torch==1", "dependsOn": []},
        ],
    }
