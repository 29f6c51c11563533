"""The environment is told in several files; they must tell the same."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
STATED = [Requirement(line) for line in sum(EXTRAS.values(), PROJECT["dependencies"])]
REQUIREMENTS = sorted({str(r): r for r in STATED if r.name != PROJECT["name"]}.values(), key=str)
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
PINS = [Requirement(line) for line in LOCK if not line.startswith("#")]


def test_extras_name_extras_that_exist():
    for requirement in STATED:
        if requirement.name == PROJECT["name"]:
            assert requirement.extras <= EXTRAS.keys(), requirement


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_lock_satisfies_pyproject(requirement):
    name = canonicalize_name(requirement.name)
    pins = [pin for pin in PINS if canonicalize_name(pin.name) == name]
    assert pins, f"requirements.lock lacks {requirement}; renew it with `make lock`"
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "==" and version.version in requirement.specifier, pin


def test_lock_names_versions_and_nothing_else():
    """No index, address or file of the machine that made it; builds by any index."""
    for line in LOCK:
        if line.startswith("#"):
            assert not re.search(r"://|--|\.(com|org|io|net)\b", line), line
        else:
            assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+( ; .+)?", line), line


def test_conda_environment_equals_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = conda["dependencies"]
    assert Requirement(python).specifier == Requirement("x" + PROJECT["requires-python"]).specifier
    assert (conda["name"], python[:6], pip) == (PROJECT["name"], "python", "pip")
    constraint, project = from_pip["pip"]
    assert constraint == "--constraint requirements.lock"
    extras = re.fullmatch(r"--editable \.\[([a-z,]+)\]", project)[1]
    assert set(extras.split(",")) <= EXTRAS.keys()


def test_binder_has_what_the_notebooks_import():
    """Of conda-forge, where two packages have other names; what builds the site is left out."""
    binder = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text())
    python, torch, *others = binder["dependencies"]
    found = {re.split("[=<>]", name)[0] for name in others}
    names = {"torch-geometric": "pytorch-geometric", "torch": "pytorch-cpu"}
    site = {"jupyter-book", "snakemake", "sphinxcontrib-bibtex", "sphinxext-opengraph"}
    site |= {"beautifulsoup4", "deepaug", "latex2mathml"}
    stated = [*PROJECT["dependencies"], *EXTRAS["run"], *EXTRAS["pages"], *EXTRAS["book"]]
    wanted = {canonicalize_name(Requirement(line).name) for line in stated} - site - {"torch"}
    assert {canonicalize_name(name) for name in found} == {names.get(n, n) for n in wanted}
    assert torch == next(f"pytorch-cpu{Requirement(r).specifier}" for r in stated if "torch>" in r)
    assert Requirement(python.replace("=", "==")).specifier.contains("3.11")
    assert (ROOT / "binder" / "postBuild").stat().st_mode & 0o111


def test_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
