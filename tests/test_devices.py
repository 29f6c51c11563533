"""Accelerators by name, and what a device is called."""

import subprocess
import sys

import pytest
import torch

from deepaug.cli import main
from deepaug.training import devices


@pytest.fixture
def machine(monkeypatch):
    """A machine with the accelerators named."""

    def having(*present):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in present)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in present)

    return having


@pytest.mark.parametrize(("present", "kind"), [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda")])
def test_auto_is_a_gpu_where_there_is_one(present, kind, machine):
    machine(*present)
    assert devices.resolve("auto").type == kind
    assert devices.resolve("cpu").type == "cpu"


@pytest.mark.parametrize("accelerator", ["cuda", "mps"])
def test_an_accelerator_that_is_not_there_is_refused(accelerator, machine, capsys, tmp_path):
    machine()
    with pytest.raises(ValueError, match=f"accelerator on this machine: '{accelerator}'.*'cpu'"):
        devices.resolve(accelerator)
    with pytest.raises(SystemExit) as end:
        main(["run", "vision", "--accelerator", accelerator, "--results", str(tmp_path / "new")])
    told = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(told) == 1 and not (tmp_path / "new").exists()


def test_the_processor_has_a_name():
    assert devices.name(torch.device("cpu")).strip()


X86 = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu avx512f{}\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd{}\n"


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        (X86.format(""), False),
        (X86.format(" avx512_bf16"), True),
        (X86.format(" amx_bf16 amx_tile"), True),
        (ARM.format(""), False),
        (ARM.format(" bf16"), True),
        ("", True),  # unknown: nothing is claimed
        ("processor\t: 0\n", True),
    ],
)
def test_what_a_processor_computes_in_bfloat16(cpuinfo, has):
    assert devices.has_bfloat16(cpuinfo) is has


def test_a_processor_is_called_by_its_model(monkeypatch):
    monkeypatch.setattr(devices, "cpuinfo", lambda: X86.format(""))
    assert devices.name(torch.device("cpu")) == "A processor"


def test_a_sweep_knows_its_device_without_loading_lightning():
    code = "import sys, deepaug.studies.sweep; from deepaug.training import devices"
    code += "; devices.name(devices.resolve('auto'))"
    code += "; sys.exit(bool({'lightning', 'lightning_fabric'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
