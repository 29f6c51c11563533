"""GraphCL's four augmentations (You et al. 2020, arXiv 2010.13902), for all graphs at once.

A set is a handful of tensors and no list of `torch_geometric.data.Data`: a view of every graph of
the epoch then takes a few tensor operations, and a batch is sliced out of it. PyG's loader copies
and collates graph by graph, which costs more than training a small GIN.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from torch import Generator, Tensor

AUGMENTATIONS = ("nodes", "edges", "attributes", "subgraphs")


@dataclass(frozen=True)
class Graphs:
    """Undirected graphs side by side: of graph g, nodes ptr[g] … ptr[g + 1] - 1, edges likewise.

    x: (nodes, f), float32. edges: (2, e), int64, each edge once as u < v, counted over all graphs.
    ptr, edge_ptr: (graphs + 1,), int64. A graph may lack edges, and even nodes.
    """

    x: Tensor
    edges: Tensor
    ptr: Tensor
    edge_ptr: Tensor

    def __len__(self) -> int:
        return len(self.ptr) - 1

    @cached_property
    def batch(self) -> Tensor:
        """(nodes,): the graph of each node."""
        return _members(self.ptr)

    @cached_property
    def edge_batch(self) -> Tensor:
        """(e,): the graph of each edge."""
        return _members(self.edge_ptr)

    @cached_property
    def adjacency(self) -> tuple[Tensor, Tensor, Tensor]:
        """Neighbours (2e,), node after node; how many each node has (nodes,); ptr among them."""
        of, neighbours = torch.cat([self.edges, self.edges.flip(0)], 1)
        order = of.int().argsort(stable=True)  # int32 sorts sooner
        return neighbours[order], of.bincount(minlength=len(self.x)), 2 * self.edge_ptr

    def to(self, device: torch.device) -> "Graphs":
        if device == self.x.device:
            return self
        return Graphs(*(t.to(device) for t in (self.x, self.edges, self.ptr, self.edge_ptr)))

    def take(self, index: Tensor) -> dict[str, Any]:
        """The graphs `index` (n,) as an encoder's arguments.

        x (nodes, f); neighbours (2e,) of node after node, and starts (nodes + 1,), where each
        node's begin; batch (nodes,), the graph of each node, from 0 to n - 1; size, n.
        """
        neighbours, degrees, ptr = self.adjacency
        nodes, batch, shift = _slices(self.ptr, index)
        # A graph's nodes lie together, and so do their neighbours.
        edges, of, _ = _slices(ptr, index)
        return {
            "x": self.x[nodes],
            "neighbours": neighbours[edges] - shift[of],
            "starts": _offsets(degrees[nodes]),
            "batch": batch,
            "size": len(index),
        }

    def keep(self, nodes: Tensor, edges: Tensor) -> "Graphs":
        """Without the nodes and edges where the masks are false, nor edges that lost an end."""
        edges = edges & nodes[self.edges].all(0)
        number, edge_number = _offsets(nodes), _offsets(edges)
        return Graphs(
            self.x[nodes],
            number[self.edges[:, edges]],
            number[self.ptr],
            edge_number[self.edge_ptr],
        )


def edge_index(neighbours: Tensor, starts: Tensor) -> Tensor:
    """Adjacency as PyG keeps it: (2, 2e), each edge in both directions."""
    return torch.stack([neighbours, _members(starts)])


def augment(graphs: Graphs, which: Tensor, ratio: float, generator: Generator) -> Graphs:
    """One view of each graph, every graph with its own draw.

    Args:
        graphs: on the CPU, where the draws are the same whatever trains.
        which: (graphs,), the augmentation of each as an index into `AUGMENTATIONS`.
        ratio: share of the nodes (or edges) to change, 0 <= ratio < 1, rounded down in each graph,
            so that no graph loses its last node; 0 leaves all as they are.

    Returns:
        As many graphs. What happens to one depends on the generator's seed and its place in
        `graphs` alone.
    """
    masked = mask_attributes(graphs, which == 2, ratio, generator)
    rewired = perturb_edges(masked, which == 1, ratio, generator)
    nodes = drop_nodes(graphs, which == 0, ratio, generator)
    nodes &= walk(graphs, which == 3, ratio, generator)
    return rewired.keep(nodes, torch.ones(rewired.edges.shape[1], dtype=torch.bool))


def drop_nodes(graphs: Graphs, chosen: Tensor, ratio: float, generator: Generator) -> Tensor:
    """Node dropping in the chosen graphs: (nodes,), false where a node goes, with its edges."""
    count = _share(graphs.ptr, chosen, ratio)
    return _ranks(graphs.ptr, graphs.batch, count > 0, generator) >= count[graphs.batch]


def mask_attributes(graphs: Graphs, chosen: Tensor, ratio: float, generator: Generator) -> Graphs:
    """Attribute masking: the features of the chosen graphs' drawn nodes become N(0.5, 0.5²) noise.

    The noise is that of GraphCL's code, mean and deviation 0.5, whatever the features' own.
    """
    count = _share(graphs.ptr, chosen, ratio)
    masked = _ranks(graphs.ptr, graphs.batch, count > 0, generator) < count[graphs.batch]
    x = graphs.x.clone()
    x[masked] = 0.5 + 0.5 * torch.randn(int(masked.sum()), x.shape[1], generator=generator)
    return Graphs(x, graphs.edges, graphs.ptr, graphs.edge_ptr)


def walk(graphs: Graphs, chosen: Tensor, ratio: float, generator: Generator) -> Tensor:
    """Subgraph: (nodes,), true for the connected part of each chosen graph that a walk reaches.

    The walk starts at any node and each step takes a random edge out of what it has reached, until
    all but `ratio` of the nodes are in, or the component ends. That is GraphCL's walk, which may go
    on from any node visited; one that goes on from the last alone takes steps without number to
    see 80 % of a long chain. Drawn as first-passage percolation: with exponential lengths on the
    edges the walk takes nodes in the order of their distance from the start (Richardson's growth
    model), so that one shortest-path search walks all the graphs.
    """
    sizes = graphs.ptr.diff()
    count = _share(graphs.ptr, chosen, ratio)
    draws = torch.rand(len(graphs), generator=generator, dtype=torch.float64)
    lengths = torch.rand(graphs.edges.shape[1], generator=generator, dtype=torch.float64)
    walked = count > 0
    if not walked.any():
        return torch.ones(len(graphs.x), dtype=torch.bool)
    starts = (graphs.ptr[:-1] + (draws * sizes).long())[walked]
    taken = walked[graphs.edge_batch]
    # Never of length 0, so that a node comes strictly after the one it was reached from.
    lengths = 1e-9 - torch.log1p(-lengths[taken])
    shape = (len(graphs.x), len(graphs.x))
    lengths = csr_array((lengths.numpy(), tuple(graphs.edges[:, taken].numpy())), shape=shape)
    distance = dijkstra(lengths, directed=False, indices=starts.numpy(), min_only=True)
    node = walked[graphs.batch].nonzero().squeeze(1)
    of, distance = graphs.batch[node], torch.from_numpy(distance)[node]
    order = torch.from_numpy(np.lexsort((distance.numpy(), of.numpy())))
    rank = _places(order, of, sizes * walked)
    reached = torch.ones(len(graphs.x), dtype=torch.bool)
    reached[node] = (rank < (sizes - count)[of]) & distance.isfinite()
    return reached


def perturb_edges(graphs: Graphs, chosen: Tensor, ratio: float, generator: Generator) -> Graphs:
    """Edge perturbation: in each chosen graph drop random edges and add as many new ones.

    The new ones are distinct and join pairs of nodes that no edge joined before, any such pair
    alike; if there are fewer such pairs than edges dropped, all of them.
    """
    of, sizes = graphs.edge_batch, graphs.ptr.diff()
    dropped = _share(graphs.edge_ptr, chosen, ratio)
    rank = _ranks(graphs.edge_ptr, of, dropped > 0, generator)
    draws = torch.rand(graphs.edges.shape[1], generator=generator, dtype=torch.float64)
    # Gaps are numbered: rewired graph after rewired graph, from 0 to gaps - 1 in each.
    pairs = sizes * (sizes - 1) // 2 * (dropped > 0)
    gaps = pairs - graphs.edge_ptr.diff() * (dropped > 0)
    added = torch.minimum(dropped, gaps)
    replaced = rank < added[of]
    graph = of[replaced]
    base = _offsets(gaps)[:-1]
    # `added` of the numbers below gaps, without repetition: sort so many draws below
    # gaps - added + 1 and add 0, 1, 2, … to them.
    gap = base[graph] + (draws[replaced] * (gaps - added + 1)[graph]).long()
    gap = gap.sort().values + torch.arange(len(gap)) - _offsets(added)[graph]
    edges = graphs.edges.clone()
    edges[:, replaced] = _gap(graphs, dropped > 0, gap, graph, base, _offsets(pairs)[:-1])
    kept = replaced | (rank >= dropped[of])
    return Graphs(graphs.x, edges[:, kept], graphs.ptr, _offsets(kept)[graphs.edge_ptr])


def _gap(
    graphs: Graphs,
    rewired: Tensor,
    gap: Tensor,
    graph: Tensor,
    base: Tensor,
    pair_base: Tensor,
) -> Tensor:
    """(2, n): the pairs of nodes that the gaps numbered `gap` (n,), of graphs `graph`, lie between.

    A pair u < v of a graph's own nodes has the code v·(v - 1)/2 + u. Gap j of a graph has the code
    j + (how many edges come before it). Only the `rewired` graphs (graphs,) are looked at.
    """
    edge = rewired[graphs.edge_batch].nonzero().squeeze(1)
    of = graphs.edge_batch[edge]
    first = _offsets(graphs.edge_ptr.diff() * rewired)[:-1]  # of each graph's among these edges
    u, v = graphs.edges[:, edge] - graphs.ptr[of]
    codes = (pair_base[of] + v * (v - 1) // 2 + u).sort().values - pair_base[of]
    passed = base[of] + codes - (torch.arange(len(codes)) - first[of])
    before = torch.searchsorted(passed, gap, right=True) - first[graph]
    code = gap - base[graph] + before
    v = ((1 + (1 + 8 * code.double()).sqrt()) / 2).long()
    v -= (v * (v - 1) // 2 > code).long()  # the root may have been rounded up
    return torch.stack([code - v * (v - 1) // 2, v]) + graphs.ptr[graph]


def _share(ptr: Tensor, chosen: Tensor, ratio: float) -> Tensor:
    """(graphs,): how many of a chosen graph's nodes or edges are to change, none of the others'."""
    # 0.29 · 100 is a little less than 29 in floating point, and still means 29.
    return (ptr.diff() * ratio + 1e-6).long() * chosen


def _ranks(ptr: Tensor, of: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """A random order of each chosen graph's nodes or edges: each one's place in it, from 0.

    ptr as in `Graphs`, of (rows,) the graph of each row, chosen (graphs,). 0 in other graphs.
    """
    # All rows draw, so that what happens to a graph does not hang on which others are chosen.
    draws = torch.rand(len(of), generator=generator)
    rank = torch.zeros_like(of)
    row = chosen[of].nonzero().squeeze(1)
    # float32 draws, added in float64: the sum is exact and cannot round up into the next graph.
    order = (of[row] + draws[row].double()).argsort()
    rank[row] = _places(order, of[row], ptr.diff() * chosen)
    return rank


def _places(order: Tensor, of: Tensor, counts: Tensor) -> Tensor:
    """The place of each row in its graph, given the order of all rows and the graphs' counts."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order)) - _offsets(counts)[of]
    return places


def _members(ptr: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(ptr) - 1, device=ptr.device), ptr.diff())


def _offsets(counts: Tensor) -> Tensor:
    """0 and the running sums, one longer than `counts`."""
    return torch.cat([counts.new_zeros(1, dtype=torch.long), counts.cumsum(0)])


def _slices(ptr: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the graphs `index`, the place in `index` each belongs to, and by how much they shift.

    A row's new number is the old one less its graph's shift.
    """
    offsets = _offsets(ptr[index + 1] - ptr[index])
    shift = ptr[index] - offsets[:-1]
    of = _members(offsets)
    return torch.arange(len(of), device=ptr.device) + shift[of], of, shift
