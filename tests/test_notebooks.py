"""Notebooks: strict parameters, and what every page of the book must have."""

import re
from pathlib import Path

import pytest
import tiny

from deepaug import cli, plain
from deepaug.pages import notebooks
from deepaug.studies import rulebook

jupytext = pytest.importorskip("jupytext", reason="the book's tools are not installed")
papermill = pytest.importorskip("papermill", reason="the book's tools are not installed")

PAGES = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))
WITHOUT_PARAMETERS = set(
    ["claims", "compute", "home", "method", "networks", "performance", "protocol", "robustness"]
)
DRAWS = re.compile(
    r"\bplt\.(show|subplots)\(|\bshow\.(gain_by_depth|scores|differences|learning_curves|gradient_n)"
    r"|\bspeed\.(rates|transform_cost|growth)\(|\bprotocol\.hours\("
    r"|\banswers\.figure\(|\bdepths\.gain_by_depth(_of_all)?\(|\bhome\.proportion\("
    r"|\bcompute\.hours\(|\bcoadaptation\.(copies|similarity|scores_and_gains|dose_by_depth"
    r"|dose_by_strength)\(|\bexploratory\.(gains|live)_by"
)

PAGE = """\
# %% [markdown]
# # A page

# %% tags=["parameters"]
profile = "quick"
data = None
layers = None
strengths = None
repeats = 3

# %%
from deepaug.pages import notebooks
notebooks.parameters(In, globals())
print(profile, data, layers, strengths, repeats)
"""


# The parameters of the notebook that is being executed


def parameters(*cells):
    """As the notebook would have them that consists of these cells, executed in turn."""
    namespace = {}
    for cell in cells:
        exec(cell, namespace)
    return notebooks.parameters(["", *cells], namespace)


DEFAULTS = "profile = 'quick'\nseeds = None  # such as [0]\n"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ([DEFAULTS], {"profile": "quick", "seeds": None}),
        (["import math\nx = 1", "y = 2", DEFAULTS, "z = 3"], {"profile": "quick", "seeds": None}),
        ([DEFAULTS, "# Parameters\nseeds = [0, 1]\n"], {"profile": "quick", "seeds": [0, 1]}),
        ([DEFAULTS, "# Parameters\nprofile: str = 'cpu'\n"], {"profile": "cpu", "seeds": None}),
        (["profile: str = 'quick'"], {"profile": "quick"}),
        ([DEFAULTS, "seeds = [3]"], {"profile": "quick", "seeds": [3]}),  # by hand, in a cell
        (["x = 1  # Parameters\n"], {}),
        ([], {}),
    ],
)
def test_parameters_are_those_of_the_cell_that_assigns_a_profile(cells, values):
    assert parameters(*cells) == values


def test_a_cell_that_failed_does_not_matter():
    history = ["", "%%bash (", DEFAULTS]
    assert notebooks.parameters(history, {"profile": "cpu", "seeds": None})["profile"] == "cpu"


def test_unknown_parameter_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="'profil'; nearest: 'profile'"):
        parameters(DEFAULTS, "# Parameters\nprofil = 'cpu'\n")


# Execution


@pytest.fixture
def sources(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    # Of this name, so that its parameters are held against the study's.
    (folder / "vision.py").write_text(PAGE)
    (folder / "other.py").write_text(PAGE)
    (folder / "plain.py").write_text("# %%\n1 + 1\n")
    monkeypatch.setattr(notebooks, "SOURCES", folder)
    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path / "executed")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def executed(sources, monkeypatch):
    """What papermill would be given; nothing is executed."""
    calls = []

    def execute(source, output, values, **_):
        calls.append(values)
        Path(output).write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return calls


@pytest.mark.parametrize(
    ("name", "parameters", "named"),
    [
        ("visoin", {}, "'vision'"),
        ("vision", {"profil": "cpu"}, "'profile'"),
        ("plain", {"profile": "cpu"}, "'profile'"),
        ("vision", {"profile": "cpuu"}, "'cpu'"),
        ("vision", {"profile": "[quick]"}, "quick"),
        ("vision", {"layers": "stem"}, "list"),
        ("vision", {"layers": "[stage9]"}, "'stage4'"),
        ("vision", {"strengths": "[-0.1]"}, "-0.1"),
        ("vision", {"strengths": "[1.0]"}, "1.0"),
        ("vision", {"strengths": "[.nan]"}, "nan"),
        ("vision", {"strengths": "[high]"}, "'high'"),
        ("vision", {"strengths": "0.5"}, "list"),
        ("vision", {"data": "5"}, "data"),
        ("vision", {"data": "cifar11"}, "'cifar10'"),
        ("vision", {"layers": "[stem"}, "YAML"),
        ("vision", {"layers": "!!python/object/apply:os.system ['touch owned']"}, "YAML"),
    ],
)
def test_bad_parameter_ends_it_in_one_line_before_anything_is_written(
    sources, executed, capsys, name, parameters, named
):
    before = tiny.tree(sources.parent)
    words = [word for pair in parameters.items() for word in ("-p", *pair)]
    with pytest.raises(SystemExit) as end:
        cli.main(["notebook", name, *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and named in line
    assert executed == [] and tiny.tree(sources.parent) == before


def test_parameters_are_read_as_yaml(executed, capsys, tmp_path):
    words = ["-p", "strengths", "[0.2, 0.5]", "-p", "layers", "[stem]", "-p", "profile", "cpu"]
    cli.main(["notebook", "vision", *words, "-o", "mine/page.ipynb"])
    assert executed == [{"strengths": [0.2, 0.5], "layers": ["stem"], "profile": "cpu"}]
    assert list(tiny.tree(tmp_path / "mine")) == ["page.ipynb"]
    assert "mine/page.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["mine", "page.html"])
def test_what_cannot_hold_a_notebook_is_refused_before_it_runs(executed, output, tmp_path):
    (tmp_path / "mine").mkdir()
    before = tiny.tree(tmp_path)
    with pytest.raises(ValueError, match=rf"{output} .* ends in \.ipynb"):
        notebooks.execute("vision", {}, tmp_path / output)
    assert executed == [] and tiny.tree(tmp_path) == before


def test_output_lies_beside_the_book_by_default(executed, tmp_path):
    cli.main(["notebook", "vision"])
    assert list(tiny.tree(tmp_path / "executed")) == ["vision.ipynb"]


def test_paths_are_those_of_where_the_command_was_given(executed, tmp_path):
    """The notebook runs in a folder of its own, where a relative path would lead elsewhere."""
    tiny.profile(tmp_path, name="mine")
    tiny.images(tmp_path / "pictures")
    notebooks.execute("vision", {"profile": "mine.yaml", "data": "pictures"})
    assert executed == [
        {"profile": str(tmp_path / "mine.yaml"), "data": str(tmp_path / "pictures")}
    ]


def test_names_are_not_taken_for_paths(executed, tmp_path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "mnist-5k").mkdir()
    notebooks.execute("vision", {"profile": "quick", "data": "mnist-5k"})
    assert executed == [{"profile": "quick", "data": "mnist-5k"}]


def test_a_page_is_executed_with_its_parameters_and_a_failing_cell_is_named(
    sources, tmp_path, capsys
):
    output = notebooks.execute("other", {"repeats": 5}, tmp_path / "page.ipynb")
    err = capsys.readouterr().err
    assert "other: " in err and "/4 " in err and "cell" in err  # progress
    text = output.read_text()
    assert "quick None None None 5" in text and "injected-parameters" in text
    failing = PAGE.replace("notebooks.parameters(In, globals())", "raise ValueError(repeats)")
    (sources / "other.py").write_text(failing)
    with pytest.raises(ValueError, match=r"failed in cell 3: ValueError: 5; see ") as caught:
        notebooks.execute("other", {"repeats": 5}, output)
    assert str(output) in str(caught.value)
    assert [p.name for p in tmp_path.glob("*.ipynb")] == ["page.ipynb"]


# Every page


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def page(request):
    return request.param


def cells(page):
    return jupytext.read(page).cells


def test_page_is_a_percent_script_with_a_title(page):
    assert page.read_text().startswith("# ---\n# jupyter:\n")
    first = cells(page)[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")


def test_page_tells_what_it_needs_and_how_long_it_takes(page):
    told = plain.load("pages.yaml", (page.parent / "pages.yaml").read_text())["headers"][page.stem]
    assert {"Needs", "Takes"} <= set(told)
    assert f'show.header("{page.stem}")' in page.read_text() or page.stem in ("claims", "home")


def test_page_of_a_claim_answers_it_before_all_else(page):
    if page.stem in WITHOUT_PARAMETERS - {"networks"} or page.stem in rulebook.rules()["outside"]:
        return
    first = next(cell for cell in cells(page) if cell.cell_type == "code")
    if page.stem == "when-it-helps":  # of no claim: its figure is the answer
        assert DRAWS.search(first.source)
    else:
        asked = re.search(r"answers\.say\(([^)]*)\)", first.source)
        claims = re.findall(r'"(C\w+)"', asked[1])
        assert claims and set(claims) <= set(rulebook.rules()["claims"])
    if page.stem not in WITHOUT_PARAMETERS:  # evidence first, the live run last
        sections = [c.source.partition("\n")[0] for c in cells(page) if c.source.startswith("## ")]
        assert sections[0] == "## What it means" and sections[-1] == "## Try it"


def test_page_takes_its_parameters_from_one_cell(page):
    tagged = [c for c in cells(page) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == (page.stem not in WITHOUT_PARAMETERS)
    for cell in tagged:
        assert notebooks.parameters([cell.source], dict.fromkeys(notebooks._defaults(page.stem)))
        assert f'show.open_page("{page.stem}", In, globals())' in page.read_text()


def test_every_figure_has_a_text_for_who_cannot_see_it(page):
    figures = [c for c in cells(page) if c.cell_type == "code" and DRAWS.search(c.source)]
    for cell in figures:
        text = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        assert len(text) > 40, cell.source
    assert figures or page.stem in {"networks", "performance"}


def test_page_carries_no_outputs(page):
    assert all(not cell.get("outputs") for cell in cells(page))


# Numbers: those of results come from the records, and are never typed

BOOK = Path(__file__).parents[1] / "book"
RESULT = re.compile(r"\d+\.\d+|\d+ ?%")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`|<[^>]*>|\]\([^)]*\)|\$[^$]+\$", re.MULTILINE | re.DOTALL)
# Settings, and names of things.
ALLOWED = {
    "": {"95 %"},  # of the intervals
    "README.md": {"3.11", "3.13", "2303.14537"},
    "rerun.md": {"3.11", "3.13"},
    "glossary.md": {"71 %", "72 %"},
    "many-trials.md": {"5 %"},
    "deviations.md": {"0.2", "0.5", "0.1"},
    "method.py": {"0.5"},
    "performance.py": {"0.1", "0.2", "0.5"},
    "protocol.py": {"0.08", "0.4", "0.1", "80 %", "20 %", "0.9"},
    "supervised.py": {"5.3"},
    "text.py": {"0.5"},
    "vision.py": {"0.8"},
}


def numbers(path):
    """Decimals and percentages in a page's prose."""
    text = path.read_text()
    if path.suffix == ".py":
        text = "\n\n".join(c.source for c in cells(path) if c.cell_type == "markdown")
    return {*RESULT.findall(CODE.sub("", text))}


@pytest.mark.parametrize(
    "path",
    [*PAGES, *sorted(BOOK.glob("*.md")), BOOK.parent / "README.md", PAGES[0].parent / "pages.yaml"],
    ids=lambda path: path.name,
)
def test_no_number_of_a_result_is_typed(path):
    assert numbers(path) <= ALLOWED[""] | ALLOWED.get(path.name, set())


def test_a_typed_result_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("It gains 0.3 points, or 12 %, at `p = 0.5`.\n\n```python\nPCA(0.2)\n```\n")
    assert numbers(page) == {"0.3", "12 %"}


# Links


TOC = BOOK.parent / "_toc.yml"
LINK = re.compile(r"\]\(([\w./-]+\.(?:md|ipynb))(?:#[\w-]+)?\)")


@pytest.mark.parametrize("path", [*PAGES, *sorted(BOOK.glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_to_pages_of_the_book(path):
    """Notebooks are executed into book/notebooks, from where their links lead."""
    listed = set(re.findall(r"(?:file|root): (\S+)", TOC.read_text()))
    folder = BOOK / "notebooks" if path.suffix == ".py" else BOOK
    for link in LINK.findall(path.read_text()):
        page = (folder / link).resolve().relative_to(BOOK.parent)
        assert page.with_suffix("").as_posix() in listed, link


def test_every_notebook_is_a_page_of_the_book():
    listed = re.findall(r"(?:file|root): book/notebooks/(\S+)", TOC.read_text())
    assert sorted(listed) == [path.stem for path in PAGES]
