"""What a trial runs on, told without loading Lightning: a sweep's parent process trains nothing."""

import contextlib
import platform
from pathlib import Path

import torch

from deepaug.validation import one_of


def resolve(accelerator: str = "auto") -> torch.device:
    """The device of an accelerator's name; "auto" is a GPU where there is one.

    Raises ValueError for an accelerator that this machine lacks.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    here = [kind for kind, available in present.items() if available] + ["cpu"]
    if accelerator == "auto":
        return torch.device(here[0])
    return torch.device(one_of("accelerator on this machine", accelerator, here))


def name(device: torch.device) -> str:
    """What the device is called: a GPU's product name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{device.type} {platform.processor() or platform.machine()}"
