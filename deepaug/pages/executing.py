"""What `deepaug notebook` does: parameters as they are typed, one notebook or a grid of them."""

from pathlib import Path

from deepaug import plain
from deepaug.pages import grids, notebooks

Words = list[tuple[str, str]]  # a parameter's name and, as YAML, its value or values


def execute(
    name: str, parameters: Words, grid: Words, grid_file: Path | None, output: Path | None
) -> Path:
    """Execute notebooks/`name`.py, for each combination of the grid's values if there is a grid.

    Args:
        grid: parameters with lists of the values that they take in turn; `grid_file` has more.
        output: as in `notebooks.execute`; of a grid the folder, by default build/`name`.

    Returns:
        The notebook, or the table of all records of a grid. Raises ValueError as
        `notebooks.execute` and `grids.execute`, and for a parameter that is given twice.
    """
    in_file = grids.read(grid_file) if grid_file else {}
    given = [parameter for parameter, _ in [*parameters, *grid]] + list(in_file)
    if twice := [parameter for parameter in given if given.count(parameter) > 1]:
        raise ValueError(f"parameter {twice[0]} is given twice; give it once, by -p, -g or --grid")
    values = {p: plain.load(f"parameter {p}: {text!r}", text) for p, text in parameters}
    axes = {p: plain.load(f"grid of {p}: {text!r}", text) for p, text in grid} | in_file
    if axes:
        return grids.execute(name, values, axes, output or Path("build") / name)
    return notebooks.execute(name, values, output)
