"""Notebooks: strict parameters, and execution by papermill."""

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepaug.studies import catalogue
from deepaug.training import registry
from deepaug.training.origin import PACKAGE
from deepaug.validation import one_of

SOURCES = PACKAGE.parent / "notebooks"
EXECUTED = PACKAGE.parent / "book" / "notebooks"


def injected(history: list[str]) -> set[str]:
    """Names that papermill's injected cell assigns, out of IPython's input history `In`.

    Papermill only warns of a parameter that a notebook does not know; a notebook that checks these
    names does not run with a setting that was meant and had no effect.
    """
    names: set[str] = set()
    for cell in history:
        if cell.startswith("# Parameters\n"):
            for statement in ast.parse(cell).body:
                targets = getattr(statement, "targets", [getattr(statement, "target", None)])
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def check_injected(history: list[str], allowed: set[str]) -> None:
    """Raise ValueError if papermill was given a parameter that is not among `allowed`."""
    for name in injected(history):
        one_of("parameter", name, sorted(allowed))


def execute(name: str, parameters: Mapping[str, Any], output: Path | None = None) -> Path:
    """Execute notebooks/`name`.py into a .ipynb and return its path.

    Args:
        parameters: name -> value; checked against the notebook's own before it runs.
        output: by default book/notebooks/`name`.ipynb.

    Raises:
        ValueError: unknown notebook, unknown or ill-typed parameter, or a cell that failed with
            one. Nothing is written then, but for a failed cell: its notebook shows the traceback.
    """
    import jupytext
    import nbformat
    import papermill

    values = values_of(name, parameters)
    notebook = jupytext.read(SOURCES / f"{name}.py")
    output = output or EXECUTED / f"{name}.ipynb"
    if output.suffix != ".ipynb" or output.is_dir():
        raise ValueError(f"{output} cannot hold a notebook; name a file that ends in .ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "language": "python",
        "display_name": "Python 3",
    }
    # tqdm warns on a page that it would rather draw a widget, naming the path of its own file.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    source, partial = (output.with_suffix(f".{state}.ipynb") for state in ("source", "partial"))
    try:
        nbformat.write(notebook, source)
        papermill.execute_notebook(
            source, partial, values, kernel_name="python3", progress_bar=False, cwd=SOURCES
        )
        partial.replace(output)
    except papermill.PapermillExecutionError as error:
        partial.replace(output)
        raise ValueError(
            f"notebook {name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}; "
            f"see {output}"
        ) from None
    finally:  # an interrupted run leaves what was there before
        source.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return output


def values_of(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters checked against the notebook's own, relative paths made absolute."""
    one_of("notebook", name, sorted(path.stem for path in SOURCES.glob("*.py")))
    allowed = injected([f"# Parameters\n{source}" for source in _defaults(name)])
    for given in parameters:
        one_of(f"parameter of notebook {name}", given, sorted(allowed))
    values = dict(parameters)
    _check_values(name, values)
    _lead_from_here(values)
    return values


def _defaults(name: str) -> list[str]:
    """Source of the cells that hold a notebook's parameters."""
    import jupytext

    cells = jupytext.read(SOURCES / f"{name}.py").cells
    return [c.source for c in cells if "parameters" in c.metadata.get("tags", [])]


def _lead_from_here(values: dict[str, Any]) -> None:
    """Make relative paths absolute: a notebook runs in a folder of its own."""
    if str(values.get("profile", "")).endswith((".yaml", ".yml")):
        values["profile"] = str(Path(values["profile"]).absolute())
    named = {name for modality in registry.NAMES for name in registry.data(modality)}
    for name in ("data", "pairs"):
        given = values.get(name)
        if isinstance(given, str) and given not in named and Path(given).exists():
            values[name] = str(Path(given).absolute())


def _check_values(name: str, values: dict[str, Any]) -> None:
    profile = values.get("profile", "quick")
    grid = {n: v for n, v in values.items() if n != "profile"}
    if name in catalogue.names(profile):
        catalogue.load(name, profile, **grid)
