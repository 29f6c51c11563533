"""Lightning's Fabric comes without torchmetrics, and whoever wants that finds it whole."""

import subprocess
import sys
from importlib import import_module, metadata

import pytest

from deepaug.training.fabric import knowing_only_its_version

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
    with knowing_only_its_version(mlxtend):
        stand_in = import_module(mlxtend)
        assert stand_in.__version__ == metadata.version(mlxtend)
        assert not hasattr(stand_in, "__path__")
    assert import_module(mlxtend).__path__


def test_nothing_of_it_stays_after_an_error(mlxtend):
    with pytest.raises(ZeroDivisionError), knowing_only_its_version(mlxtend):
        raise ZeroDivisionError
    assert mlxtend not in sys.modules


def test_what_is_imported_stays_what_it_is():
    with knowing_only_its_version("pytest"):
        assert import_module("pytest") is pytest
    assert sys.modules["pytest"] is pytest


def test_what_is_not_installed_stays_so():
    with knowing_only_its_version("no_such_package"), pytest.raises(ModuleNotFoundError):
        import_module("no_such_package")
