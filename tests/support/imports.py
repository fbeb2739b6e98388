"""The imports between the modules of `app`, read from the source.

`python -m tests.support.imports` prints the packages, their imports and the longest chains.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def module_name(path: Path) -> str:
    """Return the dotted name of a file; a package has the name of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    """Parse every module of `app`."""
    return {module_name(path): ast.parse(path.read_bytes()) for path in ROOT.glob("app/**/*.py")}


def imports_of(module: str, *, lazily: bool = True) -> set[str]:
    """Return the imports of a module: modules of `app`, and names of third-party packages.

    Args:
        module: its full name.
        lazily: whether to include imports within functions.
    """
    tree = modules()[module]
    nodes = ast.walk(tree) if lazily else _imports_at_load(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {_known(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {_known(f"{node.module}.{alias.name}") for alias in node.names}
    return found


def reached_from(module: str) -> set[str]:
    """Return all modules of `app` and third-party packages that an import of a module loads."""
    found, queue = set[str](), [module]
    while queue:
        for name in imports_of(queue.pop(), lazily=False) - found:
            found.add(name)
            if name in modules():
                queue.append(name)
    return found


def package_of(module: str) -> str:
    """Return the package of a module, at most three names deep.

    A module next to packages, such as `app.errors`, counts as a package.
    """
    names = module.split(".")[:3]
    while not _is_folder(".".join(names)) and not _has_packages(".".join(names[:-1])):
        names.pop()
    return ".".join(names)


def _is_folder(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


def _has_packages(name: str) -> bool:
    return any((ROOT / name.replace(".", "/")).glob("*/__init__.py"))


def import_graph() -> dict[str, set[str]]:
    """Return the modules of `app` that each module imports."""
    return {module: imports_of(module) & modules().keys() for module in modules()}


def package_graph() -> dict[str, set[str]]:
    """Return the packages that each package imports."""
    graph: dict[str, set[str]] = {}
    for module, names in import_graph().items():
        graph.setdefault(package_of(module), set()).update(map(package_of, names))
    return {name: names - {name} for name, names in graph.items()}


def longest_chain(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the longest path of imports; CycleError if there is a cycle."""
    chains: dict[str, list[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        chains[name] = [name, *max((chains[each] for each in graph[name]), key=len, default=[])]
    return max(chains.values(), key=len)


def _imports_at_load(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not lazy and not _is_type_checking(child):
            yield child
            yield from _imports_at_load(child)


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


def _print_structure() -> None:
    packages = package_graph()
    for name in sorted(packages):
        files = sum(package_of(module) == name for module in modules())
        print(f"{name} ({files} files): {', '.join(sorted(packages[name])) or '-'}")
    print(f"{len(packages)} packages, {sum(map(len, packages.values()))} imports between them")
    for kind, graph in (("packages", packages), ("modules", import_graph())):
        chain = longest_chain(graph)
        print(f"longest chain of {kind}: {len(chain) - 1} imports: {' -> '.join(chain)}")


if __name__ == "__main__":
    _print_structure()
