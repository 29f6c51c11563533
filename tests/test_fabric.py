"""Lightning's Fabric comes without torchmetrics, and whoever wants that finds it whole."""

import subprocess
import sys
from importlib import import_module, metadata
from importlib.util import find_spec

import pytest

from deepaug.training.fabric import stubbed

TRAINS = """
import importlib.util, sys
import deepaug.training.steps
loaded = {"torchmetrics", "matplotlib", "transformers", "scipy.signal"} & set(sys.modules)
assert not loaded, loaded
assert importlib.util.find_spec("torchmetrics").submodule_search_locations
from lightning_fabric.utilities.imports import _TORCHMETRICS_GREATER_EQUAL_1_0_0 as is_new
assert is_new
"""


def test_a_training_begins_without_torchmetrics_which_can_be_imported_later():
    subprocess.run([sys.executable, "-c", TRAINS], check=True)


@pytest.fixture
def mlxtend(monkeypatch):
    """A package that is installed and not imported."""
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    return "mlxtend"


def test_a_package_is_its_version_for_as_long_as_asked(mlxtend):
    with stubbed(mlxtend):
        stub = import_module(mlxtend)
        assert stub.__version__ == metadata.version(mlxtend)
        assert not hasattr(stub, "__path__") and find_spec(mlxtend)
    assert import_module(mlxtend).__path__


def test_nothing_of_it_stays_after_an_error(mlxtend):
    with pytest.raises(ZeroDivisionError), stubbed(mlxtend):
        raise ZeroDivisionError
    assert mlxtend not in sys.modules


def test_what_takes_its_place_meanwhile_stays(mlxtend, monkeypatch):
    with stubbed(mlxtend):
        monkeypatch.setitem(sys.modules, mlxtend, pytest)
    assert sys.modules[mlxtend] is pytest


def test_what_is_imported_stays_what_it_is():
    with stubbed("pytest"):
        assert import_module("pytest") is pytest
    assert sys.modules["pytest"] is pytest


def test_what_is_not_installed_stays_so():
    with stubbed("no_such_package"), pytest.raises(ModuleNotFoundError):
        import_module("no_such_package")
