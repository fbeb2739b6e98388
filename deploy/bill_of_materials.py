"""Reduces a CycloneDX document of an environment to the packages that `pip install mumic` installs.

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


def installed_for(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that pip installs on this machine for requirements.

    Args:
        requirements: in the syntax of pyproject.toml; they must be installed.

    Returns:
        Canonical names, including those of transitive dependencies.
    """
    pending = [Requirement(requirement) for requirement in requirements]
    visited: set[tuple[str, str]] = set()  # a distribution and one of its extras, or ""
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in visited:
                visited.add((name, extra))
                pending += [
                    dependency
                    for dependency in map(Requirement, requires(name) or [])
                    if not dependency.marker or dependency.marker.evaluate({"extra": extra})
                ]
    return {name for name, _ in visited}


def filtered(document: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a CycloneDX document with only some of its components and their dependencies.

    Args:
        document: the parsed JSON, with the project as its root.
        names: canonical names of these components.
    """
    components = [
        each for each in document["components"] if canonicalize_name(each["name"]) in names
    ]
    kept = {each["bom-ref"] for each in (document["metadata"]["component"], *components)}
    dependencies = [
        each | {"dependsOn": [ref for ref in each.get("dependsOn", []) if ref in kept]}
        for each in document["dependencies"]
        if each["ref"] in kept
    ]
    return document | {"components": components, "dependencies": dependencies}


def main() -> None:
    """Read a document from standard input; write the filtered document to a file."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    document = filtered(json.load(sys.stdin), installed_for(project["dependencies"]))
    Path(sys.argv[1]).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
