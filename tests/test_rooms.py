"""Floors of the package: a file imports from its own floor or those below, never in a circle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import deepaug

PACKAGE = Path(deepaug.__file__).parent
# From the ground up; what stands beside each other may not know of each other.
FLOORS = ("", "method", "training", "studies", "verdicts", "pages", "cli")


def modules(package: Path) -> dict[str, Path]:
    """Modules by name; "training.trial" say."""
    found = {}
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def floor(module: str) -> int:
    first = module.partition(".")[0]
    if first in ("__init__", "__main__", "cli"):
        return FLOORS.index("cli")
    return FLOORS.index(first) if first in FLOORS else 0


def imports(path: Path, known: dict[str, Path], eager: bool) -> set[str]:
    """Modules of the package that a file imports; `eager`, those alone that it does at once."""
    tree = ast.parse(path.read_text())
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for inner in ast.walk(outer)
    }
    found = set()
    for node in ast.walk(tree):
        if eager and id(node) in lazy:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module or ""]
        else:
            continue
        found |= {n.removeprefix("deepaug.") for n in names if n.startswith("deepaug.")} & {*known}
    return found


def test_files_and_classes_are_small_enough_to_hold_in_the_head():
    for path in modules(PACKAGE).values():
        source = path.read_text()
        assert len(source.splitlines()) <= 330, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                assert node.end_lineno - node.lineno < 130, f"{path}: {node.name}"


def upwards(package: Path) -> list[str]:
    """Imports that go up, wherever in a file they stand."""
    known = modules(package)
    return [
        f"{name} imports {other}"
        for name, path in sorted(known.items())
        for other in sorted(imports(path, known, eager=False))
        if floor(other) > floor(name)
    ]


def test_imports_go_down():
    assert not upwards(PACKAGE)


def test_no_imports_go_in_a_circle():
    known = modules(PACKAGE)
    graph = {name: imports(path, known, eager=True) - {name} for name, path in known.items()}
    assert len([*TopologicalSorter(graph).static_order()]) == len(known)


@pytest.mark.parametrize("line", ["from deepaug.pages import figures", "import deepaug.cli"])
@pytest.mark.parametrize("indent", ["", "    "])
def test_an_import_that_goes_up_is_seen(tmp_path, line, indent):
    """Also within a function."""
    for name in ("pages/figures.py", "cli.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "studies").mkdir()
    text = f"def f():\n    {line}\n" if indent else f"{line}\n"
    (tmp_path / "studies" / "sweep.py").write_text(text)
    assert len(upwards(tmp_path)) == 1


def test_every_module_has_a_floor():
    assert {name.partition(".")[0] for name in modules(PACKAGE)} <= {
        *FLOORS, "__init__", "__main__", "validation", "plain", "files", "process", "declared",
        "given",
    }


# Machines that only train have neither.
WITHOUT_A_SCREEN = """
import importlib, sys
for name in ("matplotlib", "seaborn", "IPython"):
    sys.modules[name] = None
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_nothing_below_the_pages_needs_matplotlib_or_jupyter():
    # Each modality's task needs libraries of its own.
    names = [
        f"deepaug.{name}"
        for name in modules(PACKAGE)
        if FLOORS.index("method") <= floor(name) <= FLOORS.index("verdicts")
        and not name.startswith("training.modalities.")
    ]
    assert {"deepaug.training.loop", "deepaug.verdicts.effects"} <= set(names)
    command = [sys.executable, "-c", WITHOUT_A_SCREEN, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
