"""A notebook over a grid: combinations, names, one table."""

import csv
import json

import pytest
import tiny
import yaml

grids = pytest.importorskip("deepaug.pages.grids", reason="the book's tools are not installed")
pytest.importorskip("jupytext", reason="the book's tools are not installed")

from deepaug.cli import main  # noqa: E402
from deepaug.pages import notebooks  # noqa: E402
from deepaug.studies import catalogue  # noqa: E402


def test_combinations():
    found = grids.combinations({"seeds": [[0], [1]], "strengths": [[0.2], [0.5], [0.8]]})
    assert len(found) == 6 and found[0] == {"seeds": [0], "strengths": [0.2]}
    assert len({json.dumps(point) for point in found}) == 6


@pytest.mark.parametrize("values", [[], 0.2, {"a": 1}, None, "[1]"])
def test_what_is_no_list_is_refused(values):
    with pytest.raises(ValueError, match="seeds"):
        grids.combinations({"seeds": values})


def test_names_tell_what_varies():
    points = grids.combinations({"seeds": [[0], [1]], "strengths": [[0.2, 0.5]]})
    assert grids.file_names("vision", points) == [
        "vision.seeds=0.strengths=0.2,0.5.ipynb",
        "vision.seeds=1.strengths=0.2,0.5.ipynb",
    ]


@pytest.mark.parametrize(
    "values",
    [
        ["../../etc/passwd", "a b"],
        ["/", "."],
        ["x" * 500, "y" * 500],
        [[1], 1],
        ["\n\0", "ä"],
    ],
)
def test_names_stay_in_their_folder_and_differ(values, tmp_path):
    points = grids.combinations({"data": values})
    names = grids.file_names("vision", points)
    assert len(set(names)) == len(values)
    for name in names:
        assert (tmp_path / name).parent == tmp_path and len(name) < 200 and name.endswith(".ipynb")
        (tmp_path / name).touch()


@pytest.fixture
def executed(monkeypatch):
    """Notebooks that are written and not run; of seed 1 a cell fails."""
    done = []

    def execute(name, parameters, output):
        done.append(parameters)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("{}")
        if parameters.get("seeds") == [1]:
            raise ValueError(f"notebook {name} failed; see {output}")
        return output

    monkeypatch.setattr(notebooks, "execute", execute)
    return done


@pytest.fixture
def profile(tmp_path, monkeypatch):
    stage = {"seeds": [0], "layers": ["input"], "transforms": ["pca"], "strengths": [0.5]}
    path = tiny.profile(tmp_path, quick=stage)
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path / "results"))
    return str(path)


def test_one_table_of_all_records(executed, profile, tmp_path):
    for seed in (0, 2):
        for entry in catalogue.load("vision", profile, seeds=[seed]).entries():
            catalogue.load("vision", profile).store.write(tiny.record(entry.trial))
    folder = tmp_path / "out"
    main(
        [
            "notebook",
            "vision",
            "-p",
            "profile",
            profile,
            "-g",
            "seeds",
            "[[0], [2]]",
            "-o",
            str(folder),
        ]
    )
    assert [point["seeds"] for point in executed] == [[0], [2]]
    with open(folder / "vision.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert [row["seeds"] for row in rows] == ["[0]", "[0]", "[2]", "[2]"]
    assert rows[0]["notebook"] == "vision.seeds=0.ipynb"
    assert rows[1]["arm"] == "input pca 0.5" and rows[1]["metrics.validation.knn"] == "50.0"
    assert rows[1]["metrics.test.knn"] == ""


def test_a_value_reaches_the_notebook_as_it_was_given(executed, tmp_path):
    grid = "[[1.0e-5], [0.00002], [1e-1]]"
    main(["notebook", "vision", "-g", "strengths", grid, "-o", str(tmp_path / "out")])
    assert [point["strengths"] for point in executed] == [[1e-5], [2e-5], [0.1]]


def test_one_that_fails_does_not_keep_the_others(executed, profile, tmp_path, capsys):
    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump({"seeds": [[0], [1], [2]]}))
    command = ["notebook", "vision", "-p", "profile", profile, "--grid", str(grid)]
    with pytest.raises(SystemExit) as end:
        main([*command, "-o", str(tmp_path / "out")])
    assert end.value.code == 2 and len(executed) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 3 notebooks failed" in last and "seeds=1.ipynb" in last
    assert (tmp_path / "out" / "vision.csv").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-g", "seed", "[[0]]"], "'seed'"),
        (["-g", "seeds", "[[0], [x]]"], "'x'"),
        (["-g", "seeds", "[0, 1]"], "seeds must be a list"),
        (["-g", "seeds", "[[0]]", "-p", "seeds", "[1]"], "seeds is given twice"),
        (["-g", "seeds", "[[0]]", "-g", "seeds", "[[1]]"], "seeds is given twice"),
        (["-p", "seeds", "[0]", "-p", "seeds", "[1]"], "seeds is given twice"),
        (["-g", "seeds", "[[0], [0]]"], "[0] is given twice"),
        (["-g", "seeds", "[1"], "grid of seeds"),
        (["-g", "seeds", "[[010]]"], "'010' is no number in Python"),
        (["-p", "seeds", "[1:30]"], "'1:30' is no number in Python"),
        (["-g", "seeds", "!!python/name:os.system"], "grid of seeds"),
        (["-g", "seeds", "[[0]]", "-o", __file__], "is a file"),
        (["--grid", "absent.yaml"], "absent.yaml"),
    ],
)
def test_a_wrong_grid_is_refused_before_any_notebook(
    executed, words, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["notebook", "vision", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and told in line
    assert executed == [] and tiny.tree(tmp_path) == {}
