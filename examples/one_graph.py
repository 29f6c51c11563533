"""Compile, export, trace and script a network that has a transform.

    python examples/one_graph.py

torch.compile works as ever; in training the transform is a break in the graph. What must be one
graph, as with fullgraph=True, in torch.export, fx and jit.trace, is one in evaluation; in training,
and for jit.script, remove the handle first.
"""

import torch
from torch import nn

import deepaug


def main() -> int:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
    x = torch.randn(4, 8)
    handle = deepaug.attach(model, "1", deepaug.Dropout(0.5))

    compiled = torch.compile(model, backend="aot_eager")  # leave the backend out for speed
    compiled(x).sum().backward()  # the transform acts

    model.eval()
    plain = model(x)
    whole = torch.compile(model, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(model, (x,)).module()
    traced = torch.fx.symbolic_trace(model)
    for graph in (whole, exported, traced):
        torch.testing.assert_close(graph(x), plain)

    handle.remove()
    torch.testing.assert_close(torch.jit.script(model)(x), plain)
    print(f"the transform acted {handle.calls} time")
    return handle.calls


if __name__ == "__main__":
    main()
