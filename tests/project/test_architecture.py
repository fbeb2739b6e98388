"""Imports point one way, through each package's door; no cycles."""

import ast
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.imports import ROOT, imports_of, modules, reached_from

LONGEST_CHAIN = 11  # arrows from one package to the next
# What FastAPI and pydantic bring and expect to be used.
THEIR_INTERFACES = {"anyio", "pydantic-core"}
# Imported by path, since it needs an extra that its package does without.
NEEDS_AN_EXTRA = {"app.serving.observability.tracing"}
BASE = {"app", "app.errors"}
CORE = {f"app.core.{name}" for name in ("files", "images", "labels", "model", "runtime")} | BASE
ALL_CORE = CORE | {"app.core.checkpoint", "app.core.classifier"}
APPLICATIONS = {
    f"app.applications.{name}" for name in ("gallery", "new_labels", "similarity", "validation")
}
SERVED = ALL_CORE | {"app.settings", "app.serving.observability", "app.serving.schemas"}
DATA = {
    f"app.dataset.{name}" for name in ("requests", "manifest", "labelled", "photos", "embeddings")
}
METRICS = {"app.evaluation.metrics", "app.evaluation.predictions"}
ANNOTATION = ALL_CORE | {
    f"app.{name}"
    for name in (
        "annotation.requests",
        "annotation.output_paths",
        "dataset.manifest",
        "dataset.embeddings",
    )
}
EVALUATION = ALL_CORE | DATA | METRICS | {"app.evaluation.requests"}
TRAINING = {f"app.training.{name}" for name in ("config", "requests", "data", "objective")}
# What each package may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "app": set(),
    "app.errors": {"app"},
    "app.settings": BASE | {"app.core.cpus", "app.core.device_names"},
    "app.core": set(),
    "app.core.cpus": set(),
    "app.core.device_names": set(),
    "app.core.files": BASE,
    "app.core.runtime": BASE | {"app.core.cpus", "app.core.device_names"},
    "app.core.images": BASE,
    "app.core.model": BASE,
    "app.core.labels": BASE | {"app.core.files"},
    "app.core.checkpoint": CORE,
    "app.core.classifier": CORE | {"app.core.checkpoint"},
    "app.applications": set(),
    "app.applications.atlas": CORE,
    "app.applications.gallery": CORE | {"app.applications.similarity"},
    "app.applications.similarity": ALL_CORE,
    "app.applications.new_labels": ALL_CORE,
    "app.applications.validation": CORE,
    "app.serving": set(),
    "app.serving.observability": BASE,
    "app.serving.schemas": ALL_CORE | APPLICATIONS,
    "app.serving.request": SERVED,
    "app.serving.inference": SERVED
    | {"app.applications.gallery", "app.applications.similarity", "app.index"},
    "app.serving.http": SERVED | APPLICATIONS | {"app.serving.request", "app.serving.inference"},
    "app.serving.listening": BASE | {"app.settings"},
    "app.serving.process": SERVED | {"app.serving.listening"},
    "app.tagger": ALL_CORE | {"app.settings", "app.applications.gallery"},
    "app.index": ALL_CORE | {"app.applications.similarity"},
    "app.dataset": set(),
    "app.dataset.requests": BASE | {"app.dataset.manifest"},
    "app.dataset.embeddings": ALL_CORE,
    "app.dataset.manifest": ALL_CORE,
    "app.dataset.labelled": ALL_CORE | {"app.dataset.manifest"},
    "app.dataset.photos": ALL_CORE | {"app.dataset.labelled"},
    "app.annotation": set(),
    "app.annotation.requests": BASE | {"app.dataset.requests"},
    "app.annotation.output_paths": BASE,
    "app.annotation.sampling": ANNOTATION,
    "app.annotation.questions": ANNOTATION,
    "app.annotation.targets": ANNOTATION | {"app.annotation.questions"},
    "app.evaluation": set(),
    "app.evaluation.requests": DATA,
    "app.evaluation.metrics": ALL_CORE | DATA,
    "app.evaluation.predictions": ALL_CORE | DATA,
    "app.evaluation.known_photos": EVALUATION,
    "app.evaluation.label_calibration": EVALUATION,
    "app.evaluation.thresholds": EVALUATION | {"app.evaluation.label_calibration"},
    "app.evaluation.prompts": EVALUATION,
    "app.evaluation.report": EVALUATION,
    "app.evaluation.suspects": EVALUATION,
    "app.evaluation.zero_shot": EVALUATION,
    "app.training": set(),
    "app.training.config": BASE,
    "app.training.requests": {"app.training.config", "app.dataset.requests"},
    "app.training.data": ALL_CORE | DATA | {"app.training.config"},
    "app.training.objective": ALL_CORE
    | DATA
    | METRICS
    | {"app.training.config", "app.training.data"},
    "app.training.run": ALL_CORE | DATA | METRICS | TRAINING,
    "app.training.tuning": ALL_CORE | DATA | METRICS | TRAINING | {"app.training.run"},
    "app.baselines": set(),
    "app.baselines.requests": DATA | {"app.training.requests"},
    "app.baselines.asl": ALL_CORE
    | DATA
    | TRAINING
    | {"app.training.run", "app.baselines.requests"},
    "app.baselines.comparison": EVALUATION
    | {"app.evaluation.report", "app.baselines.asl", "app.baselines.requests"},
}
# Composition roots: they may import whatever they compose.
ROOTS = {"app.main", "app.cli"}
OURS = {module: {name for name in imports_of(module) if name in modules()} for module in modules()}


def package(module: str) -> str:
    """The longest package or module of `ALLOWED` and `ROOTS` that holds a module."""
    names = [name for name in ALLOWED.keys() | ROOTS if f"{module}.".startswith(f"{name}.")]
    return max(names, key=len)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_one_way(module: str) -> None:
    if package(module) in ROOTS:
        return
    allowed = ALLOWED[package(module)] | {package(module)}
    wrong = {name for name in OURS[module] if package(name) not in allowed}
    assert not wrong, f"{module} may not import {wrong}"


@pytest.mark.parametrize("module", sorted(modules()))
def test_packages_are_imported_by_their_door(module: str) -> None:
    doors = {name for name in modules() if (ROOT / name.replace(".", "/")).is_dir()}
    for name in OURS[module] - NEEDS_AN_EXTRA - doors:
        parent = name.rpartition(".")[0]
        exports = ast.get_docstring(modules()[parent]) and "__all__" in ast.dump(modules()[parent])
        if exports and not f"{module}.".startswith(f"{package(name)}."):
            pytest.fail(f"{module} imports {name}; import from {parent}")


def test_command_line_is_not_imported() -> None:
    users = {module for module in modules() if any(package(n) == "app.cli" for n in OURS[module])}
    assert {package(module) for module in users} == {"app.cli"}


def test_no_cycles_between_modules() -> None:
    TopologicalSorter(OURS).prepare()


def test_no_cycles_between_packages_and_short_chains() -> None:
    graph: dict[str, set[str]] = {}
    for module, names in OURS.items():
        graph.setdefault(package(module), set()).update(map(package, names))
    graph = {name: found - {name} for name, found in graph.items()}
    TopologicalSorter(graph).prepare()

    @cache
    def chain(name: str) -> tuple[str, ...]:
        return (name, *max(map(chain, graph[name]), key=len, default=()))

    longest = max(map(chain, graph), key=len)
    assert len(longest) - 1 <= LONGEST_CHAIN, " -> ".join(longest)


def test_file_names_are_specific() -> None:
    for folder in ("app", "mumic", "tests", "recipes", "benchmarks", "deploy"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, path


def test_no_test_file_imports_another() -> None:
    for path in ROOT.glob("tests/**/*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert ".test_" not in f".{node.module}", f"{path} imports {node.module}"


@pytest.mark.parametrize("root", ["app.main", "app.cli", "app.tagger"])
def test_serving_needs_no_extra(root: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {canonicalize_name(Requirement(each).name) for each in project["dependencies"]}
    installed = packages_distributions()
    for package_name in reached_from(root) - modules().keys() - sys.stdlib_module_names:
        owners = {canonicalize_name(name) for name in installed[package_name]} | {
            canonicalize_name(package_name)
        }
        assert owners & (required | THEIR_INTERFACES), f"{root} needs {package_name}"


def test_help_does_not_import_torch() -> None:
    assert "torch" not in reached_from("app.cli")


def test_every_package_of_app_is_packaged() -> None:
    folders = {path.parent for path in ROOT.glob("app/**/*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    assert Path(ROOT / "app" / "py.typed").is_file()
