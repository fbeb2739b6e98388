"""Who imports whom in `app`, read from the source."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def module_name(path: Path) -> str:
    """The dotted name of a file; a package is named after its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of `app`, parsed."""
    return {module_name(path): ast.parse(path.read_bytes()) for path in ROOT.glob("app/**/*.py")}


def imported_by(module: str, *, lazily: bool = True) -> set[str]:
    """What a module imports: modules of ours, and the names of others' packages.

    Args:
        module: its full name.
        lazily: whether imports within functions count.
    """
    tree = modules()[module]
    nodes = ast.walk(tree) if lazily else _at_start(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {_known(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {_known(f"{node.module}.{alias.name}") for alias in node.names}
    return found


def reached_from(module: str) -> set[str]:
    """What runs when a module is imported: modules of ours and others' packages."""
    found, waiting = set[str](), [module]
    while waiting:
        for name in imported_by(waiting.pop(), lazily=False) - found:
            found.add(name)
            if name in modules():
                waiting.append(name)
    return found


def _at_start(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not lazy and not _is_type_checking(child):
            yield child
            yield from _at_start(child)


def _is_type_checking(node: ast.AST) -> bool:
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _known(name: str) -> str:
    package = name.partition(".")[0]
    if package != "app":
        return package
    while name not in modules():
        name = name.rpartition(".")[0]
    return name
