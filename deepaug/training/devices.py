"""What a trial runs on, known without loading Lightning: a sweep's parent trains nothing itself."""

import contextlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from deepaug.validation import one_of

if TYPE_CHECKING:
    import torch

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # flags of processors that compute in it; ARM's last


def resolve(accelerator: str = "auto") -> "torch.device":
    """The device of an accelerator's name; "auto" is a GPU where there is one.

    Raises ValueError for an accelerator that this machine lacks.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    here = [kind for kind, available in present.items() if available] + ["cpu"]
    if accelerator == "auto":
        return torch.device(here[0])
    return torch.device(one_of("accelerator on this machine", accelerator, here))


def name(device: "torch.device") -> str:
    """What the device is called: a GPU's product name, or the processor's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    models = _values(cpuinfo(), "model name")
    return models[0] if models else f"{device.type} {platform.processor() or platform.machine()}"


def cpuinfo() -> str:
    """What Linux says of the processors; elsewhere nothing."""
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return ""


def has_bfloat16(cpuinfo: str) -> bool:
    """Whether the processors it describes compute in bfloat16; assumed where it says nothing."""
    flags = [flag for name in ("flags", "Features") for flag in _values(cpuinfo, name)[:1]]
    return not flags or not BFLOAT16.isdisjoint(flags[0].split())


def emulates(precision: str, kind: str) -> bool:
    """Whether trials of a precision are computed in float32 there, as `bfloat16.Emulated` does."""
    return precision == "bfloat16" and kind == "cpu" and not has_bfloat16(cpuinfo())


def _values(cpuinfo: str, name: str) -> list[str]:
    fields = (line.partition(":") for line in cpuinfo.splitlines())
    return [value.strip() for field, _, value in fields if field.strip() == name]
