"""A notebook of the book, opened where deepaug is not installed, brings it along."""

import inspect
import json
from pathlib import Path

import environments
import pytest

from deepaug.pages import notebooks

bootstrap = notebooks.bootstrap
nbformat = pytest.importorskip("nbformat", reason="the book's tools are not installed")
ROOT = Path(__file__).parents[1]
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
STUB = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "stub"
version = "1"
optional-dependencies = {pages = ["numpy"]}
[tool.setuptools]
packages = ["deepaug"]
"""


def git(folder, *words):
    user = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    environments.call("git", "-C", folder, *user, *words)


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    environments.skip_unless_built()
    return environments.without_deepaug(tmp_path_factory.mktemp("bare") / "environment")


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository whose package says from where it was imported."""
    folder = tmp_path / "repository"
    for name, text in {
        "pyproject.toml": STUB,
        "deepaug/__init__.py": "print('imported', __file__)",
        "notebooks/pages.yaml": "",
        "book/notebooks/a.ipynb": "{}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch", "notebooks", folder)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All")
    return folder


def opened(python, folder, url, branch=None, **variables):
    """The cell's text as a kernel runs it in a folder, and then an import of deepaug."""
    text = f"{inspect.getsource(bootstrap)}\ninstall({url!r}, {branch!r})\nimport deepaug"
    folder.mkdir(exist_ok=True)
    return environments.run(python, "-c", text, cwd=folder, **OFFLINE, **variables)


def test_it_clones_the_repository_where_nothing_is_there_and_once(python, repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for told in (3, 1):  # lines: the second time there is nothing to do
        done = opened(python, elsewhere, repository.as_uri(), "notebooks")
        assert done.returncode == 0, done.stderr
        assert len(lines := done.stdout.splitlines()) == told
        assert lines[-1] == f"imported {elsewhere / 'deepaug-book' / 'deepaug' / '__init__.py'}"
    environments.call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "stub")


@pytest.mark.slow
def test_it_takes_the_checkout_around_the_notebook(python, repository):
    done = opened(python, repository / "book" / "notebooks", None)
    assert done.returncode == 0, done.stderr
    assert "Fetching" not in done.stdout
    assert f"imported {repository / 'deepaug' / '__init__.py'}" in done.stdout
    environments.call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "stub")


def test_it_does_nothing_where_the_checkout_is_imported_already(python, repository, tmp_path):
    there = {"PYTHONPATH": str(repository)}
    done = opened(python, tmp_path / "elsewhere", "file:///nowhere", **there)
    assert done.stdout == f"imported {repository / 'deepaug' / '__init__.py'}\n"


@pytest.mark.slow
def test_a_package_without_its_records_does_not_do(python, repository, tmp_path):
    """As a wheel is, installed by itself."""
    (tmp_path / "site" / "deepaug").mkdir(parents=True)
    (tmp_path / "site" / "deepaug" / "__init__.py").write_text("print('a wheel')")
    done = opened(python, repository / "notebooks", None, PYTHONPATH=str(tmp_path / "site"))
    assert "a wheel" not in done.stdout and f"imported {repository}" in done.stdout
    environments.call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "stub")


@pytest.mark.parametrize(
    ("url", "line"),
    [(None, "open this notebook in a checkout"), ("file:///nowhere", "git clone --quiet file:/")],
)
def test_what_cannot_be_fetched_is_told_in_one_line(python, tmp_path, url, line):
    done = opened(python, tmp_path / "elsewhere", url)
    (told,) = done.stderr.splitlines()
    assert done.returncode == 1 and line in told


# The cell


@pytest.mark.parametrize(
    ("told", "call"),
    [
        ("title: A book\n", "install(None, None)"),
        ("repository: {url: u, branch: notebooks}\n", "install('u', 'notebooks')"),
    ],
)
def test_the_cell_stands_behind_the_title(tmp_path, monkeypatch, told, call):
    monkeypatch.setattr(notebooks, "PACKAGE", tmp_path / "deepaug")
    (tmp_path / "_config.yml").write_text(told)
    page = nbformat.v4.new_notebook()
    page.cells = [nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell("1")]
    nbformat.write(page, tmp_path / "a.ipynb")
    notebooks.add_installation(tmp_path / "a.ipynb")
    title, cell, rest = json.loads((tmp_path / "a.ipynb").read_text())["cells"]
    assert (title["source"], rest["source"]) == (["# A"], ["1"])
    assert cell["metadata"]["tags"] == ["remove-cell"] and not cell["outputs"]
    assert "".join(cell["source"]).endswith(call)


@pytest.mark.slow
def test_a_page_runs_in_bare_jupyter(python, tmp_path, monkeypatch):
    """This repository, as it is committed, is cloned by the page's own first cell."""
    jupytext = pytest.importorskip("jupytext")
    pytest.importorskip("papermill")
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    monkeypatch.setattr(notebooks.plain, "read", lambda *_: {"repository": {"url": ROOT.as_uri()}})
    page, done = tmp_path / "method.ipynb", tmp_path / "done.ipynb"
    jupytext.write(jupytext.read(notebooks.SOURCES / "method.py"), page)
    notebooks.add_installation(page)
    words = ("-m", "papermill", page, done, "--kernel", "python3", "--cwd", tmp_path)
    try:
        environments.call(python, *words, **OFFLINE)
        assert (tmp_path / "deepaug-book" / "results" / "cpu").is_dir()
        outputs = [o for cell in nbformat.read(done, 4).cells for o in cell.get("outputs", [])]
        assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    finally:
        environments.call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "deepaug")
