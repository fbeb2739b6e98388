"""The project speaks of itself alone, and its pins are whole."""

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import __version__
from tests.support.imports import ROOT
from tests.support.project import PROJECT

# Bracketed, or this file would be found itself.
FOREIGN = re.compile(
    r"""/wor[k]/ | /roo[t]/ | /home/[a]?\w+/ | /tm[p]/venv | \.\./share[d]
    | pypi\.or[g] | pythonhoste[d] | download\.pytorc[h] | index-ur[l] | conda\.anacond[a]""",
    re.VERBOSE,
)
NOT_OURS = {"__pycache__", "build", "dist", "node_modules"}
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(\s*;.+)?")


def text_files() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in NOT_OURS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name in {".ci", ".github"})
        ]
        yield from (Path(folder, name) for name in files if name != ".git")  # a worktree's


def test_no_file_contains_machine_or_registry_names() -> None:
    found = []
    for path in text_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # weights, photos
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(lines, 1)
            if FOREIGN.search(line)
        ]
    assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Distribution -> version, from the committed constraints."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    matches = {line: PIN.fullmatch(line) for line in entries}
    unpinned = [line for line, match in matches.items() if match is None]
    assert not unpinned, f"not of the form name==version: {unpinned}"
    return {canonicalize_name(match[1]): match[2] for match in matches.values() if match}


def requirements() -> list[Requirement]:
    """All that `make` installs but for benchmarks; other extras are the user's own choice."""
    extras = PROJECT["optional-dependencies"]
    named = [extras[name] for name in ("train", "traces", "dev", "audit")]
    wanted = [*PROJECT["dependencies"], *chain.from_iterable(named)]
    parsed = [Requirement(each) for each in wanted]
    return [each for each in parsed if each.name != PROJECT["name"]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda each: each.name)
def test_every_requirement_is_pinned_within_its_range(
    requirement: Requirement, pins: dict[str, str]
) -> None:
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_every_requirement_has_version_range() -> None:
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for each in map(Requirement, group):
            assert each.name == PROJECT["name"] or each.specifier or each.name.startswith("types-")


def test_code_and_package_have_same_version() -> None:
    assert __version__ == PROJECT["version"]
