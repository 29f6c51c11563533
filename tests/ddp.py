"""What DDP makes of a stopped gradient, printed by the first of two processes."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import deepaug


def outcome(unused: bool, one_view_plain: bool) -> str:
    """Whether the layer below the target was trained, or DDP's error."""
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4))
    handle = deepaug.attach(model, "1", deepaug.Dropout(), stop_gradient=True)
    parallel = DistributedDataParallel(model, find_unused_parameters=unused)
    for _ in range(2):
        views = torch.randn(2, 4, 3)
        try:
            first = parallel(views[0])
            if one_view_plain:
                with handle.paused():
                    second = parallel(views[1])
            else:
                second = parallel(views[1])
        except RuntimeError as error:
            return " ".join(str(error).split()[:13])
        parallel.zero_grad()
        deepaug.nt_xent(first, second).backward()
    gradient = model[0].weight.grad
    return "trained" if gradient is not None and gradient.any() else "at rest"


if __name__ == "__main__":
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())
    for name, one_view_plain in (("stopped", False), ("one view plain", True)):
        for unused in (False, True):
            told = outcome(unused, one_view_plain)
            if dist.get_rank() == 0:
                looked = ", unused parameters looked for" if unused else ""
                print(f"{name}{looked}: {told}", flush=True)
    dist.destroy_process_group()
