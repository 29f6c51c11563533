"""GraphCL's augmentations of a whole set at once do to each graph what loops over graphs would."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool

from deepaug.training.modalities.graphs import views as graph_views
from deepaug.training.modalities.graphs.views import AUGMENTATIONS, Graphs

NODES, EDGES, ATTRIBUTES, SUBGRAPHS = range(4)
PATH = (6, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)])
KITE = (5, [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)])
LONELY = (5, [])  # nodes without an edge
PIECES = (10, [(0, 1), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9)])
CLIQUE = (5, list(combinations(range(5), 2)))
NOTHING = (0, [])
EVERY = [PATH, LONELY, KITE, PIECES, CLIQUE, (1, []), NOTHING, PATH, (2, [(0, 1)]), LONELY]


def side_by_side(parts):
    """A set of graphs, each given as its number of nodes and its edges; x tells nodes apart."""
    sizes = torch.tensor([0] + [size for size, _ in parts]).cumsum(0)
    counts = torch.tensor([0] + [len(edges) for _, edges in parts]).cumsum(0)
    pairs = [
        (u + s, v + s)
        for s, (_, edges) in zip(sizes.tolist(), parts, strict=False)
        for u, v in edges
    ]
    edges = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
    x = torch.arange(float(sizes[-1])).view(-1, 1).repeat(1, 2) + 100
    return Graphs(x, edges, sizes, counts)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def parts(graphs):
    """The graphs one by one: the x of their nodes, and edges as pairs of such."""
    found = []
    for g in range(len(graphs)):
        nodes = graphs.x[graphs.ptr[g] : graphs.ptr[g + 1], 0].tolist()
        edges = graphs.edges[:, graphs.edge_ptr[g] : graphs.edge_ptr[g + 1]]
        found.append((nodes, [tuple(graphs.x[pair, 0].tolist()) for pair in edges.T]))
    return found


def everywhere(graphs):
    return torch.ones(len(graphs), dtype=torch.bool)


def all_nodes(graphs):
    return torch.ones(len(graphs.x), dtype=torch.bool)


def all_edges(graphs):
    return torch.ones(graphs.edges.shape[1], dtype=torch.bool)


def augment(graphs, kind, ratio=0.2, seed=0):
    which = torch.full((len(graphs),), kind)
    return graph_views.augment(graphs, which, ratio, seeded(seed))


def is_sound(graphs):
    """Edges lie in their own graphs, each once, as u < v."""
    u, v = graphs.edges
    of = graphs.edge_batch
    assert (u < v).all() and len(set(zip(u.tolist(), v.tolist(), strict=True))) == len(u)
    assert torch.equal(graphs.batch[u], of) and torch.equal(graphs.batch[v], of)
    assert graphs.ptr[-1] == len(graphs.x) and graphs.edge_ptr[-1] == len(u)


def is_connected(nodes, edges):
    reached, fresh = set(), set(nodes[:1])
    while fresh:
        reached |= fresh
        ends = {b for a, b in edges if a in fresh} | {a for a, b in edges if b in fresh}
        fresh = ends - reached
    return reached == set(nodes)


# Batches


def of_pyg(batch):
    return graph_views.edge_index(batch["neighbours"], batch["starts"])


@pytest.mark.parametrize("index", [[0, 1, 2], [9, 3, 0], [6], [1, 6, 1, 4], list(range(10))])
def test_a_batch_is_pygs(index):
    graphs = side_by_side(EVERY)
    singles = []
    for size, edges in EVERY:
        start = sum(len(s.x) for s in singles)
        pairs = torch.tensor(edges, dtype=torch.long).view(-1, 2).T
        both = torch.cat([pairs, pairs.flip(0)], 1)
        singles.append(Data(x=graphs.x[start : start + size], edge_index=both))
    wanted = Batch.from_data_list([singles[i] for i in index])
    batch = graphs.take(torch.tensor(index))
    assert torch.equal(batch["x"], wanted.x) and torch.equal(batch["batch"], wanted.batch)
    assert batch["size"] == len(index)

    def edges(of):
        return sorted(map(tuple, of.T.tolist()))

    assert edges(of_pyg(batch)) == edges(wanted.edge_index)


def test_keep_is_a_loop_over_nodes_and_edges():
    graphs = side_by_side(EVERY)
    nodes, edges = (torch.rand(n) < 0.7 for n in (len(graphs.x), graphs.edges.shape[1]))
    kept = graphs.keep(nodes, edges)
    is_sound(kept)
    number = edge = 0
    for (size, pairs), (left, joined) in zip(EVERY, parts(kept), strict=True):
        labels = [100.0 + number + i for i in range(size)]
        remain = [label for label in labels if nodes[int(label) - 100]]
        assert left == remain
        wanted = [
            (labels[u], labels[v])
            for position, (u, v) in enumerate(pairs)
            if edges[edge + position] and labels[u] in remain and labels[v] in remain
        ]
        assert joined == wanted
        number, edge = number + size, edge + len(pairs)


# What all augmentations have in common


@pytest.mark.parametrize("kind", range(4), ids=AUGMENTATIONS)
@pytest.mark.parametrize("seed", range(5))
def test_views_are_sound_graphs(kind, seed):
    graphs = side_by_side(EVERY * 3)
    view = augment(graphs, kind, 0.4, seed)
    assert len(view) == len(graphs)
    is_sound(view)


@pytest.mark.parametrize("kind", range(4), ids=AUGMENTATIONS)
def test_ratio_zero_changes_nothing(kind):
    graphs = side_by_side(EVERY)
    view = augment(graphs, kind, 0.0)
    for name in ("x", "edges", "ptr", "edge_ptr"):
        assert torch.equal(getattr(view, name), getattr(graphs, name))


@pytest.mark.parametrize("kind", range(4), ids=AUGMENTATIONS)
def test_every_graph_has_its_own_draw(kind):
    """Of forty equal graphs not all lose the same; nor the same again with another seed."""
    graphs = side_by_side([KITE] * 40)
    offset = torch.arange(40.0).repeat_interleave(5).view(-1, 1) * 5
    graphs = Graphs(graphs.x - offset, graphs.edges, graphs.ptr, graphs.edge_ptr)
    seen = [[str(part) for part in parts(augment(graphs, kind, 0.4, seed))] for seed in (0, 1)]
    assert all(len(set(found)) >= 4 for found in seen)
    assert seen[0] != seen[1]
    assert seen[0] == [str(part) for part in parts(augment(graphs, kind, 0.4, 0))]


def test_each_graph_gets_the_augmentation_named_for_it():
    graphs = side_by_side([PATH] * 400)
    which = torch.arange(400) % 5  # 4 names none
    view = graph_views.augment(graphs, which.clamp_max(4), 0.4, seeded())
    for kind, before, after in zip(which.tolist(), parts(graphs), parts(view), strict=True):
        lost = len(before[0]) - len(after[0])
        if kind == NODES:
            assert lost == 2 and set(after[0]) < set(before[0])
        elif kind == EDGES:
            assert after[0] == before[0] and len(set(after[1]) - set(before[1])) == 2
        elif kind == ATTRIBUTES:
            assert lost == 0 and len(set(after[0]) - set(before[0])) == 2
        elif kind == SUBGRAPHS:
            assert lost == 2 and is_connected(*after)
        else:
            assert after == before


def test_shares_are_rounded_down_in_each_graph():
    """0.29 · 100 is 28.999…96 in floating point."""
    graphs = side_by_side([(100, []), (4, []), (5, []), (9, []), (10, [])])
    for ratio, lost in (
        (0.29, [29, 1, 1, 2, 2]),
        (0.2, [20, 0, 1, 1, 2]),
        (0.99, [99, 3, 4, 8, 9]),
    ):
        view = augment(graphs, NODES, ratio)
        assert (graphs.ptr.diff() - view.ptr.diff()).tolist() == lost


# Node dropping


def test_dropped_nodes_leave_the_pool_and_take_their_edges():
    graphs = side_by_side([KITE] * 50)
    view = augment(graphs, NODES, 0.4)
    batch = view.take(torch.arange(50))
    assert batch["x"].shape[0] == 150
    pooled = global_add_pool(batch["x"], batch["batch"], batch["size"])
    for before, after, total in zip(parts(graphs), parts(view), pooled[:, 0], strict=True):
        assert total == sum(after[0])
        assert after[1] == [e for e in before[1] if set(e) <= set(after[0])]


def test_every_node_is_dropped_alike():
    graphs = side_by_side([PATH] * 3000)
    kept = graph_views.drop_nodes(graphs, everywhere(graphs), 0.34, seeded()).view(3000, 6)
    assert (kept.sum(1) == 4).all()
    assert (kept.float().mean(0) - 4 / 6).abs().max() < 0.04


# Edge perturbation


@pytest.mark.parametrize("seed", range(5))
def test_perturbed_graphs_lose_edges_and_get_as_many_new_ones(seed):
    graphs = side_by_side(EVERY)
    view = graph_views.perturb_edges(graphs, everywhere(graphs), 0.4, seeded(seed))
    is_sound(view)
    for (size, edges), before, after in zip(EVERY, parts(graphs), parts(view), strict=True):
        changed = int(0.4 * len(edges))
        gaps = size * (size - 1) // 2 - len(edges)
        old, new = set(before[1]), set(after[1])
        assert after[0] == before[0]
        assert len(old - new) == changed and len(new - old) == min(changed, gaps)


@pytest.mark.parametrize("part", [PATH, KITE, PIECES, LONELY, CLIQUE, (40, PIECES[1])])
def test_gaps_are_numbered_without_a_mistake(part):
    """All of them, between graphs on either side that have gaps and edges of their own."""
    graphs = side_by_side([KITE, LONELY, part, NOTHING, PATH])
    for g, (size, edges) in enumerate([KITE, LONELY, part, NOTHING, PATH]):
        codes = {(u, v): v * (v - 1) // 2 + u for u, v in combinations(range(size), 2)}
        wanted = sorted((c, pair) for pair, c in codes.items() if pair not in edges)
        pairs = graphs.ptr.diff() * (graphs.ptr.diff() - 1) // 2
        gaps = pairs - graphs.edge_ptr.diff()
        base, pair_base = (graph_views._offsets(t)[:-1] for t in (gaps, pairs))
        number = base[g] + torch.arange(len(wanted))
        of = torch.full((len(wanted),), g)
        found = graph_views._gap(graphs, everywhere(graphs), number, of, base, pair_base)
        assert (found - graphs.ptr[g]).T.tolist() == [list(pair) for _, pair in wanted]


def test_large_codes_are_decoded_exactly():
    graphs = side_by_side([(60_000, [(0, 1)])])
    last = 60_000 * 59_999 // 2 - 2
    number = torch.tensor([0, last - 60_000, last])
    zero = torch.zeros(3, dtype=torch.long)
    rewired = everywhere(graphs)
    u, v = graph_views._gap(graphs, rewired, number, zero, zero[:1], zero[:1]).tolist()
    assert [b * (b - 1) // 2 + a for a, b in zip(u, v, strict=True)] == (number + 1).tolist()
    assert all(0 <= a < b < 60_000 for a, b in zip(u, v, strict=True))


def test_every_edge_goes_and_every_gap_is_filled_alike():
    graphs = side_by_side([KITE] * 4000)
    view = graph_views.perturb_edges(graphs, everywhere(graphs), 0.2, seeded())
    shift = graphs.ptr[graphs.edge_batch]
    found = Counter(map(tuple, (view.edges - shift).T.tolist()))
    old = [found[edge] / 4000 for edge in KITE[1]]
    new = [found[edge] / 4000 for edge in combinations(range(5), 2) if edge not in KITE[1]]
    assert old == pytest.approx([0.8] * 5, abs=0.03) and new == pytest.approx([0.2] * 5, abs=0.03)


def test_both_directions_of_an_edge_come_and_go_together():
    graphs = side_by_side([KITE, PIECES] * 10)
    batch = augment(graphs, EDGES, 0.4).take(torch.arange(20))
    pairs = set(map(tuple, of_pyg(batch).T.tolist()))
    assert {(b, a) for a, b in pairs} == pairs and len(pairs) == len(batch["neighbours"])


# Attribute masking


def test_masked_nodes_hold_noise_and_nothing_else_changes():
    graphs = side_by_side([PATH, LONELY, PIECES] * 200)
    view = graph_views.mask_attributes(graphs, everywhere(graphs), 0.2, seeded())
    masked = (view.x != graphs.x).all(1)
    assert torch.equal((view.x != graphs.x).any(1), masked)
    assert global_add_pool(masked.long(), graphs.batch).tolist() == [1, 1, 2] * 200
    assert torch.equal(view.edges, graphs.edges) and torch.equal(view.ptr, graphs.ptr)
    noise = view.x[masked]
    assert abs(noise.mean() - 0.5) < 0.04 and abs(noise.std() - 0.5) < 0.04
    assert len(noise.unique()) == noise.numel()
    assert (graphs.x[:, 0] == side_by_side([PATH, LONELY, PIECES] * 200).x[:, 0]).all()


# Subgraphs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_a_walk_keeps_a_connected_part(seed, ratio):
    graphs = side_by_side(EVERY)
    view = graphs.keep(
        graph_views.walk(graphs, everywhere(graphs), ratio, seeded(seed)), all_edges(graphs)
    )
    for (size, edges), (nodes, pairs) in zip(EVERY, parts(view), strict=True):
        dropped = int(ratio * size)
        if dropped == 0:
            assert len(nodes) == size  # whole, connected or not
            continue
        assert is_connected(nodes, pairs) and 1 <= len(nodes) <= size - dropped
        if (size, edges) in (PATH, KITE, CLIQUE):
            assert len(nodes) == size - dropped


def test_a_walk_stays_in_its_component():
    graphs = side_by_side([PIECES] * 100)
    kept = graph_views.walk(graphs, everywhere(graphs), 0.2, seeded()).view(100, 10)
    assert set(kept.sum(1).tolist()) == {2, 8}
    small = kept.sum(1) == 2
    assert kept[small, :2].all() and not kept[~small, :2].any()


def grown(size, edges, wanted, random):
    """The walk step by step: over and over a random edge out of what it has reached."""
    reached = {int(random.integers(size))}
    while len(reached) < wanted:
        out = [e for e in edges if len(reached & set(e)) == 1]
        reached |= set(out[random.integers(len(out))])
    return tuple(sorted(reached))


@pytest.mark.parametrize("part", [PATH, KITE])
def test_walks_are_distributed_as_grown_step_by_step(part):
    size, edges = part
    times, wanted = 4000, size - int(0.5 * size)
    graphs = side_by_side([part] * times)
    kept = graph_views.walk(graphs, everywhere(graphs), 0.5, seeded()).view(times, size)
    found = Counter(tuple(row.nonzero().flatten().tolist()) for row in kept)
    random = np.random.default_rng(0)
    expected = Counter(grown(size, edges, wanted, random) for _ in range(times))
    assert found.keys() == expected.keys()
    for nodes, count in expected.items():
        assert found[nodes] / times == pytest.approx(count / times, abs=0.035)


def test_sets_without_an_edge_have_views():
    graphs = side_by_side([LONELY] * 8)
    for kind, left in ((NODES, 4), (EDGES, 5), (ATTRIBUTES, 5), (SUBGRAPHS, 1)):
        view = augment(graphs, kind)
        assert (view.ptr.diff() == left).all() and view.edges.shape == (2, 0)
        assert of_pyg(view.take(torch.tensor([0, 7]))).shape == (2, 0)
