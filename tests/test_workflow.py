"""The last step of the build, on sites that lack something."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepaug.verdicts.effects import Learnt

LEARNING = Path(__file__).parents[1] / "workflow" / "check_learning.py"
CHECK = Path(__file__).parents[1] / "workflow" / "check_site.py"
FIGURE = '<article><img src="a.png" alt="Accuracy rises with depth"></article>'
FRONT = "_build/html/index.html"
PAGE = "_build/html/book/notebooks/vision.html"
NOTEBOOK = "book/notebooks/vision.ipynb"


def notebook(*outputs):
    return json.dumps({"cells": [{"cell_type": "code", "outputs": list(outputs)}]})


def site(root, changes):
    """A site of two pages that passes, but for the changes; None leaves a file out."""
    files = {
        "_toc.yml": "root: book/home\nparts: [{chapters: [{file: book/notebooks/vision}]}]",
        FRONT: "",
        "_build/html/book/home.html": "<article>Welcome</article>",
        PAGE: FIGURE,
        NOTEBOOK: notebook({"output_type": "display_data", "data": {"image/png": ""}}),
    }
    for name, text in (files | changes).items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return subprocess.run(
        [sys.executable, str(CHECK)], cwd=root, capture_output=True, text=True, check=False
    )


def test_whole_site_passes(tmp_path):
    result = site(tmp_path, {})
    assert result.returncode == 0, result.stderr
    assert "2 pages, 1 notebooks, 1 figures" in result.stdout


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({FRONT: None}, "no front page was built"),
        ({PAGE: None}, "no page was built"),
        ({PAGE: "<article>words</article>"}, "shows no figure"),
        # The theme's own images are not the page's.
        ({PAGE: '<img alt="Home"><article>words</article>'}, "shows no figure"),
        ({PAGE: '<article><img src="a.png"></article>'}, "no alt text"),
        ({PAGE: FIGURE + '<article><img alt="../../_images/a.png"></article>'}, "no alt text"),
        (
            {NOTEBOOK: notebook({"output_type": "error", "ename": "KeyError", "evalue": "'k'"})},
            "cell 1 raised KeyError: 'k'",
        ),
        (
            {
                NOTEBOOK: notebook(
                    {
                        "output_type": "display_data",
                        "data": {"application/vnd.jupyter.widget-view+json": {}},
                    }
                )
            },
            "left an output of type application/vnd.jupyter.widget-view+json",
        ),
    ],
)
def test_fault_is_named_in_one_line(tmp_path, changes, fault):
    result = site(tmp_path, changes)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert fault in line


# What the quick baselines have learnt


@pytest.fixture
def learning(monkeypatch):
    """The check, on live runs that reached what they are told to: trained and untrained."""
    spec = importlib.util.spec_from_file_location("check_learning", LEARNING)
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)

    def main(**reached):
        monkeypatch.setattr(check.page, "load", lambda name, _: SimpleNamespace(live=name))
        monkeypatch.setattr(check.effects, "learnt", lambda name: Learnt("knn", *reached[name], 3))
        check.main()

    return main


def test_what_was_learnt_is_printed_for_each_modality(learning, capsys):
    learning(vision=(60.0, 40.0, 5.0), text=(50.0, 40.0, 9.9), nodes=(80.0, 60.0, 1.0))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["vision", "text", "nodes"]
    assert "+20.0 points; the 3 trained ones range over 5.0" in lines[0]


@pytest.mark.parametrize("text", [(50.0, 40.0, 10.0), (40.0, 50.0, 1.0)])
def test_a_baseline_that_learnt_no_more_than_the_seeds_spread_ends_the_build(learning, text):
    with pytest.raises(SystemExit) as end:
        learning(vision=(60.0, 40.0, 5.0), text=text, nodes=(80.0, 60.0, 1.0))
    (line,) = str(end.value.code).splitlines()
    assert "too little: text at quick" in line
