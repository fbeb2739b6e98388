"""Imports point one way, and files stay small."""

import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.imports import ROOT, imported_by, modules, reached_from

LONGEST_FILE = 300  # lines
LONGEST_CHAIN = 9  # imports from one module to the next
ROOTS = {"app.main", "app.cli", "app.prediction"}
# What FastAPI and pydantic bring and expect to be used.
THEIR_INTERFACES = {"starlette", "anyio", "pydantic-core"}
# What each part may import besides itself. The sides that work on labelled photos build on one
# another: what is measured is measured in one place, what is trained in one loop.
SIDES = {"serving", "dataset", "backfill"}
ALLOWED: dict[str, set[str]] = {
    "app": set(),
    "errors": {"app"},
    "settings": {"app", "errors"},
    "core": {"app", "errors", "settings"},
    **{side: {"app", "errors", "settings", "core"} for side in SIDES},
    **{
        side: {"app", "errors", "settings", "core", "dataset"}
        for side in ("annotation", "evaluation")
    },
    "training": {"app", "errors", "settings", "core", "dataset", "evaluation"},
    "baselines": {"app", "errors", "settings", "core", "dataset", "evaluation", "training"},
}
OURS = {module: {name for name in imported_by(module) if name in modules()} for module in modules()}


def part(module: str) -> str:
    """`app.core.labels` -> `core`; `app` itself is a part, with the version alone."""
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("module", sorted(modules().keys() - ROOTS))
def test_imports_point_one_way(module: str) -> None:
    allowed = ALLOWED[part(module)] | {part(module)}
    wrong = {name for name in OURS[module] if part(name) not in allowed}
    assert not wrong, f"{module} may not import {wrong}"


def test_nothing_imports_the_command_line() -> None:
    assert not [module for module in modules() if "app.cli" in OURS[module]]


def test_no_cycles() -> None:
    TopologicalSorter(OURS).prepare()


def test_the_longest_chain_of_imports_is_short() -> None:
    @cache
    def chain(module: str) -> tuple[str, ...]:
        ours = imported_by(module, lazily=False) & modules().keys()
        return (module, *max(map(chain, ours), key=len, default=()))

    longest = max(map(chain, modules()), key=len)
    assert len(longest) - 1 <= LONGEST_CHAIN, " -> ".join(longest)


def test_no_file_is_long_and_none_is_a_drawer() -> None:
    for folder in ("app", "tests", "recipes", "benchmarks", "deploy"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= LONGEST_FILE, f"{path.relative_to(ROOT)} has {lines} lines; split it"
            assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, path


@pytest.mark.parametrize("root", ["app.main", "app.cli", "app.prediction"])
def test_serving_needs_no_extra(root: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {canonicalize_name(Requirement(each).name) for each in project["dependencies"]}
    installed = packages_distributions()
    for package in reached_from(root) - modules().keys() - sys.stdlib_module_names:
        owners = {canonicalize_name(name) for name in installed[package]} | {
            canonicalize_name(package)
        }
        assert owners & (required | THEIR_INTERFACES), f"{root} needs {package}"


def test_help_does_not_wait_for_torch() -> None:
    assert "torch" not in reached_from("app.cli")


def test_every_package_of_app_is_packaged() -> None:
    folders = {path.parent for path in ROOT.glob("app/**/*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    assert Path(ROOT / "app" / "py.typed").is_file()
