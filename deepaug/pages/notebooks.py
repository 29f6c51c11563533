"""Notebooks: strict parameters, and execution by papermill."""

import ast
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepaug import plain
from deepaug.pages import bootstrap
from deepaug.studies import catalogue
from deepaug.studies.study import Study
from deepaug.training import registry
from deepaug.training.origin import PACKAGE
from deepaug.validation import one_of

SOURCES = PACKAGE.parent / "notebooks"
EXECUTED = PACKAGE.parent / "book" / "notebooks"


INJECTED = "# Parameters\n"  # how a cell begins that papermill injects


def parameters(history: Sequence[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the notebook that is being executed, by name.

    They are the names in the cell that assigns a `profile` and does nothing but assign, so that
    they stand in one place. Papermill only warns of a parameter that a notebook does not know; a
    notebook that takes its own from here does not run with a setting that has no effect.

    Args:
        history: IPython's `In`, the cells executed so far.
        namespace: the notebook's `globals()`.

    Raises ValueError if papermill was given a parameter that is not among them.
    """
    own = next((ns for cell in history if "profile" in (ns := _own_parameters(cell))), [])
    for cell in history:
        if cell.startswith(INJECTED):
            for name in _assigned(ast.parse(cell).body):
                one_of("parameter", name, sorted(own))
    return {name: namespace[name] for name in own}


def _own_parameters(cell: str) -> list[str]:
    """What a cell assigns, if it does nothing else and is the notebook's own."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # `In` has cells that failed, too
        return []
    assigns = all(isinstance(s, ast.Assign | ast.AnnAssign) for s in statements)
    return _assigned(statements) if assigns and not cell.startswith(INJECTED) else []


def _assigned(statements: Sequence[ast.stmt]) -> list[str]:
    """The names that statements assign, in order."""
    targets = [
        target
        for statement in statements
        for target in getattr(statement, "targets", [getattr(statement, "target", None)])
    ]
    return list(dict.fromkeys(t.id for t in targets if isinstance(t, ast.Name)))


def execute(name: str, parameters: Mapping[str, Any], output: Path | None = None) -> Path:
    """Execute notebooks/`name`.py into a .ipynb and return its path; tells its progress by cell.

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
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.metadata["kernelspec"] = kernel
    # tqdm warns on a page that it would rather draw a widget, naming the path of its own file.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    # Rarely where it makes a line each time, in a log.
    bar = {"desc": name, "leave": False, "mininterval": 0.1 if sys.stderr.isatty() else 30}
    source, partial = (output.with_suffix(f".{state}.ipynb") for state in ("source", "partial"))
    try:
        nbformat.write(notebook, source)
        papermill.execute_notebook(
            source, partial, values, kernel_name="python3", progress_bar=bar, cwd=SOURCES
        )
        add_installation(partial)
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


def add_installation(executed: Path) -> None:
    """Give a notebook a cell, behind its title, that installs deepaug where it is missing.

    Not in the sources, and hidden on the page: it is for who opens the notebook elsewhere.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    repository = plain.read("_config.yml", PACKAGE.parent / "_config.yml").get("repository", {})
    call = f"install({repository.get('url')!r}, {repository.get('branch')!r})"
    cell = nbformat.v4.new_code_cell(
        f"{inspect.getsource(bootstrap)}\n\n{call}",
        id="install",  # the same in every build
        metadata={"tags": ["remove-cell"], "jupyter": {"source_hidden": True}},
    )
    notebook.cells.insert(1, cell)
    nbformat.write(notebook, executed)


def values_of(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters checked against the notebook's own, relative paths made absolute."""
    one_of("notebook", name, sorted(path.stem for path in SOURCES.glob("*.py")))
    for given in parameters:
        one_of(f"parameter of notebook {name}", given, sorted(_defaults(name)))
    values = dict(parameters)
    study_of(name, values)
    _lead_from_here(values)
    return values


def study_of(name: str, values: Mapping[str, Any]) -> Study | None:
    """The study that a notebook reads with these parameters; None of a page that reads none."""
    if name in catalogue.names(values.get("profile", "quick")):
        return catalogue.load(name, **values)
    return None


def _defaults(name: str) -> list[str]:
    """The names of a notebook's parameters, from its cell of that tag."""
    import jupytext

    cells = jupytext.read(SOURCES / f"{name}.py").cells
    tagged = [c.source for c in cells if "parameters" in c.metadata.get("tags", [])]
    return [name for source in tagged for name in _own_parameters(source)]


def _lead_from_here(values: dict[str, Any]) -> None:
    """Make relative paths absolute: a notebook runs in a folder of its own."""
    if str(values.get("profile", "")).endswith((".yaml", ".yml")):
        values["profile"] = str(Path(values["profile"]).absolute())
    named = registry.data_sets()
    for name in ("data", "pairs"):
        given = values.get(name)
        if isinstance(given, str) and given not in named and Path(given).exists():
            values[name] = str(Path(given).absolute())
