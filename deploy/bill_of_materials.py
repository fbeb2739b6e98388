"""What `pip install mumic` brings, out of a CycloneDX document of a whole environment.

`cyclonedx-py environment --pyproject pyproject.toml | python -m deploy.bill_of_materials FILE`
"""

import json
import sys
import tomllib
from collections.abc import Collection, Iterable
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def brought_by(requirements: Iterable[str]) -> set[str]:
    """Everything that pip installs for some requirements on this machine.

    Args:
        requirements: as pyproject.toml has them; they are installed here.

    Returns:
        The distributions' canonical names.
    """
    waiting = [Requirement(each) for each in requirements]
    found: set[tuple[str, str]] = set()  # a distribution and one of its extras, or none
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras} - {known for other, known in found if other == name}:
            found.add((name, extra))
            needs = map(Requirement, requires(name) or [])
            waiting += [
                each for each in needs if not each.marker or each.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in found}


def narrowed(document: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A CycloneDX document with only some of its components, and what it says of them.

    Args:
        document: the parsed JSON, with the project as its root.
        names: the components' canonical names.
    """
    parts = document["components"]
    components = [each for each in parts if canonicalize_name(each["name"]) in names]
    kept = {each["bom-ref"] for each in (document["metadata"]["component"], *components)}
    dependencies = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", []) if ref in kept]}
        for each in document["dependencies"]
        if each["ref"] in kept
    ]
    return document | {"components": components, "dependencies": dependencies}


def main() -> None:
    """Read a document from stdin, write what is left of it to a file."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    document = narrowed(json.load(sys.stdin), brought_by(project["dependencies"]))
    Path(sys.argv[1]).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
