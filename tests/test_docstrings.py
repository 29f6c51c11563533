"""Examples in docstrings are run; each public name has one."""

import doctest
import importlib
from pathlib import Path

import pytest

import deepaug

PACKAGE = Path(deepaug.__file__).parent
MODULES = sorted(
    ".".join(("deepaug", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text()
)
BY_ATTACH = {"Handle"}  # what `attach` returns: its example is that one's


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", sorted({*deepaug.__all__} - BY_ATTACH))
def test_a_public_name_has_an_example(name):
    assert ">>> " in getattr(deepaug, name).__doc__
