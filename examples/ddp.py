"""Several processes by DistributedDataParallel, here on CPUs.

    torchrun --standalone --nproc-per-node 2 examples/ddp.py

Each process draws for its own samples. PCA takes the directions of its process's batch alone.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import deepaug


def main() -> torch.Tensor:
    dist.init_process_group("gloo")
    torch.manual_seed(0)  # the same weights everywhere
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 16))

    # Attached before it is wrapped. A stopped gradient leaves the layers below without any: one
    # plain view gives it to them. With no plain view, DDP needs find_unused_parameters=True.
    handle = deepaug.attach(model, "2", deepaug.Dropout(0.5), stop_gradient=True)
    parallel = DistributedDataParallel(model)

    torch.manual_seed(dist.get_rank())  # other samples and other draws in each
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
    for _ in range(3):
        views = torch.randn(2, 16, 8)
        z1 = parallel(views[0])
        with handle.paused():
            z2 = parallel(views[1])
        optimizer.zero_grad()
        deepaug.nt_xent(z1, z2).backward()
        optimizer.step()

    weights = nn.utils.parameters_to_vector(model.parameters()).detach()
    everywhere = [torch.empty_like(weights) for _ in range(dist.get_world_size())]
    dist.all_gather(everywhere, weights)
    same = torch.equal(*everywhere[:2])
    # With its end in one piece, so that the lines of several processes do not mix.
    print(f"process {dist.get_rank()}: the same weights: {same}\n", end="")
    dist.destroy_process_group()
    return weights


if __name__ == "__main__":
    main()
