"""Graphs: TU sets as they lie on disk, GraphCL's encoder, an evaluation that cannot leak."""

import builtins
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC
from torch import nn
from torch_geometric.io import read_tu_data
from torch_geometric.nn import GINConv, global_add_pool, global_mean_pool

from deepaug.method import attach
from deepaug.training import loop, networks, origin
from deepaug.training.modalities.graphs import svc, tu
from deepaug.training.modalities.graphs import task as graphs
from deepaug.training.modalities.graphs import views as graph_views
from deepaug.training.modalities.graphs.gin import GIN, Counts, Readout
from deepaug.training.trial import Trial

CPU = torch.device("cpu")
SETTINGS = {
    "modality": "graphs",
    "data": "TOY",
    "encoder": "gin3",
    "width": 4,
    "pooling": "sum",
    "epochs": 2,
    "batch_size": 12,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "temperature": 0.2,
    "held_out": 0.5,
}
UNTRAINED = {"objective": "untrained", "epochs": 0}
LAYERS = ["input", "layer1", "layer2", "layer3", "readout"]


def trial(**changes):
    return Trial(**{**SETTINGS, **changes})


def toy(graphs_each=(20, 20), seed=0):
    """Lines of a TU set's files: random graphs, in the second class more edges and label 2.

    The first, fourth … graph of all has no edge.
    """
    random = np.random.default_rng(seed)
    lines = {"A": [], "graph_indicator": [], "graph_labels": [], "node_labels": []}
    first, number = 1, 0
    for label, count in enumerate(graphs_each):
        for _ in range(count):
            size = int(random.integers(3, 9))
            number += 1
            lines["graph_indicator"] += [str(number)] * size
            lines["graph_labels"].append(str(3 - 2 * label))
            share = [0.8, 0.1, 0.1] if label == 0 else [0.6, 0.1, 0.3]
            lines["node_labels"] += [str(k) for k in random.choice(3, size, p=share)]
            for u in range(size):
                for v in range(u):
                    if number % 3 != 1 and random.random() < 0.4 + 0.2 * label:
                        pair = first + u, first + v
                        lines["A"] += ["{}, {}".format(*pair), "{}, {}".format(*reversed(pair))]
            first += size
    return lines


def write(root, lines, name="TOY"):
    folder = root / "tu" / name / "raw"
    folder.mkdir(parents=True)
    for kind, rows in lines.items():
        (folder / f"{name}_{kind}.txt").write_text("".join(f"{row}\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty data folder: `load` remembers sets by name."""
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path))
    tu.load.cache_clear()
    yield tmp_path
    tu.load.cache_clear()


@pytest.fixture
def folder(root):
    return write(root, toy())


@pytest.fixture
def offline(monkeypatch):
    def fail(*_):
        raise OSError("no network\nat all")

    monkeypatch.setattr("torch_geometric.datasets.TUDataset", fail)


def refusal(call, *arguments, **changes):
    with pytest.raises(ValueError) as caught:
        call(*arguments, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def task(**changes):
    return graphs.prepare(trial(**changes), CPU)


# Reading TU sets


def test_a_set_is_read_as_pyg_reads_it(folder):
    found = tu.load("TOY")
    data, slices, _ = read_tu_data(str(folder), "TOY")
    assert torch.equal(found.graphs.x, data.x) and torch.equal(found.labels, data.y)
    assert torch.equal(found.graphs.ptr, slices["x"])
    for number in range(len(found)):
        one = found.data(number)
        start, end = slices["x"][number], slices["x"][number + 1]
        assert torch.equal(one.x, data.x[start:end]) and one.y == data.y[number]
        # PyG's own slices are short where the last graphs have no edge.
        ends = slices["edge_index"].tolist() + [data.edge_index.shape[1]] * 2
        wanted = data.edge_index[:, ends[number] : ends[number + 1]]
        assert set(map(tuple, one.edge_index.T.tolist())) == set(map(tuple, wanted.T.tolist()))


def test_classes_are_called_as_in_the_files(folder):
    found = tu.load("TOY")
    assert found.classes == ("1", "3") and found.labels.tolist() == [1] * 20 + [0] * 20


def test_edges_are_undirected_without_loops_or_repetition(root):
    lines = toy((2, 2))
    lines |= {"A": ["2, 1", "1,1", "2,1", " 1 , 3"]}
    write(root, lines)
    assert tu.load("TOY").graphs.edges.tolist() == [[0, 0], [1, 2]]


def test_without_node_labels_the_feature_is_constant(root):
    """As GraphCL's code has it; continuous attributes are left alone."""
    lines = toy()
    del lines["node_labels"]
    lines["node_attributes"] = ["0.5, 0.25"] * len(lines["graph_indicator"])
    write(root, lines)
    assert torch.equal(tu.load("TOY").graphs.x, torch.ones(len(lines["graph_indicator"]), 1))


def test_several_columns_of_node_labels_are_one_hot_each(root):
    lines = toy((2, 2))
    nodes = len(lines["graph_indicator"])
    lines["node_labels"] = [f"{10 * (i % 2)}, {-(i % 3)}" for i in range(nodes)]
    write(root, lines)
    x = tu.load("TOY").graphs.x
    assert x[:4].tolist() == [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [1, 0, 1, 0, 0], [0, 1, 0, 0, 1]]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_line_endings_do_not_matter(root, folder, ending):
    digest = tu.load("TOY").digest
    tu.load.cache_clear()
    for path in folder.iterdir():
        path.write_bytes(path.read_text().replace("\n", ending).encode())
    assert tu.load("TOY").digest == digest


@pytest.mark.parametrize("kind", ["A", "graph_labels", "node_labels", "graph_indicator"])
def test_digest_changes_with_each_file(folder, kind):
    before = tu.load("TOY").digest
    tu.load.cache_clear()
    path = folder / f"TOY_{kind}.txt"
    lines = path.read_text().splitlines()
    if kind == "A":
        lines = lines[2:]
    elif kind == "graph_indicator":  # the last node of graph 1 goes to graph 2
        lines[lines.index("2") - 1] = "2"
    else:
        lines[0] = next(line for line in lines if line != lines[0])
    path.write_text("\n".join(lines))
    assert tu.load("TOY").digest != before


def test_nothing_is_written_where_the_data_are(root, folder, monkeypatch):
    opened, plain = [], builtins.open

    def watch(path, mode="r", *arguments, **options):
        if set(mode) & set("wax+"):
            opened.append(path)
        return plain(path, mode, *arguments, **options)

    monkeypatch.setattr(builtins, "open", watch)
    before = sorted(root.rglob("*"))
    tu.load("TOY")
    assert opened == [] and sorted(root.rglob("*")) == before


def test_a_read_only_folder_will_do(root, folder):
    os.chmod(folder, 0o500)
    assert len(tu.load("TOY")) == 40
    os.chmod(folder, 0o700)


# MUTAG, which comes with the package


def test_mutag_is_embedded(root):
    assert graphs.describe("MUTAG") == (
        "MUTAG: 188 graphs; 2 classes; 7 features; mean 17.9 nodes, 19.8 edges; "
        "digest d16682aa31817483"
    )
    assert tu.load("MUTAG").labels.bincount().tolist() == [63, 125]
    assert list(root.iterdir()) == []


def test_the_embedded_mutag_is_the_one_on_disk(root):
    embedded = tu.load("MUTAG")
    tu.load.cache_clear()
    with zipfile.ZipFile(tu.EMBEDDED / "MUTAG.zip") as archive:
        archive.extractall(root / "tu" / "MUTAG" / "raw")
    assert tu.load("MUTAG").digest == embedded.digest


def test_mutag_on_disk_goes_before_the_embedded(root):
    write(root, toy(), "MUTAG")
    assert len(tu.load("MUTAG")) == 40


def test_embedded_data_have_a_source_and_a_licence():
    for path in tu.EMBEDDED.glob("*.zip"):
        text = path.with_suffix(".txt").read_text()
        assert "Source" in text and "Licence" in text and "Made by" in text


# Bad data


@pytest.mark.parametrize("kind", ["A", "graph_indicator", "graph_labels"])
def test_a_missing_file_is_named(folder, kind):
    path = folder / f"TOY_{kind}.txt"
    path.unlink()
    message = refusal(tu.load, "TOY")
    assert f"{path} is missing" in message
    assert ("classes" in message) == (kind == "graph_labels")


def test_an_unknown_set_that_cannot_be_had_is_named(root, offline):
    message = refusal(tu.load, "NOSUCH")
    assert "'NOSUCH'" in message and "no network" in message and "PROTEINS" in message
    assert str(root / "tu" / "NOSUCH" / "raw") in message
    assert list((root / "tu").iterdir()) == []


def test_half_a_download_leaves_nothing(root, monkeypatch):
    def cut_off(beside, name):
        write(root / "tmp", toy(), name)
        (root / "tmp" / "tu" / name).rename(f"{beside}/{name}")
        raise ConnectionError

    monkeypatch.setattr("torch_geometric.datasets.TUDataset", cut_off)
    assert "ConnectionError" in refusal(tu.load, "NEW")
    assert list((root / "tu").iterdir()) == []


def test_a_set_is_downloaded_once(root, monkeypatch):
    calls = []

    def download(beside, name):
        calls.append(name)
        write(root / "tmp", toy(), name)
        (root / "tmp" / "tu" / name).rename(f"{beside}/{name}")

    monkeypatch.setattr("torch_geometric.datasets.TUDataset", download)
    for _ in range(2):
        assert len(tu.load("NEW")) == 40
        tu.load.cache_clear()
    assert calls == ["NEW"] and [p.name for p in (root / "tu").iterdir()] == ["NEW"]


def test_a_known_set_that_comes_as_another_is_not_kept(root, monkeypatch):
    def download(beside, name):
        write(root / "tmp", toy(), name)
        (root / "tmp" / "tu" / name).rename(f"{beside}/{name}")

    monkeypatch.setattr("torch_geometric.datasets.TUDataset", download)
    message = refusal(tu.load, "PROTEINS")
    assert tu.DIGESTS["PROTEINS"] in message and str(root / "tu" / "PROTEINS") in message
    assert list((root / "tu").iterdir()) == []


@pytest.mark.parametrize("name", sorted(tu.DIGESTS))
def test_known_digests_are_those_of_the_records(name):
    folder = origin.PACKAGE.parent / "results" / "cpu"
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    digests = {r["data_digest"] for r in found if r["trial"]["data"] == name}
    assert digests == {tu.DIGESTS[name]}


@pytest.mark.parametrize("name", ["../TOY", "a/b", "", "TOY*", "."])
def test_what_is_no_name_is_refused(name, offline):
    assert repr(name) in refusal(tu.load, name)


@pytest.mark.parametrize("kind", ["A", "graph_indicator", "graph_labels", "node_labels"])
@pytest.mark.parametrize("damage", ["x", "1.5", "nan", "1e999", "3, 4, 5", ",", "\ufffd", "1 2"])
def test_damaged_numbers_are_named_with_their_line(folder, kind, damage):
    path = folder / f"TOY_{kind}.txt"
    lines = path.read_text().splitlines()
    lines[4] = damage
    path.write_text("\n".join(lines))
    message = refusal(tu.load, "TOY")
    assert f"{path}, line 5: {damage!r}" in message and "whole number" in message


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        ("A", "1, 9999", "names node 9999"),
        ("A", "0, 1", "names node 0"),
        ("A", "1, 200", "joins nodes 1 and 200"),
        ("graph_indicator", "41", "names graph 41"),
        ("graph_indicator", "0", "names graph 0"),
        ("graph_indicator", "7", "out of order"),
        ("node_labels", "1\n1", "lines"),
    ],
)
def test_numbers_that_do_not_fit_are_told(folder, kind, line, told):
    path = folder / f"TOY_{kind}.txt"
    lines = path.read_text().splitlines()
    lines[0] = line
    path.write_text("\n".join(lines))
    message = refusal(tu.load, "TOY")
    assert told in message and path.name in message


def test_one_class_is_too_few(root):
    write(root, toy((20,)))
    assert "one class, 3" in refusal(tu.load, "TOY")


def test_empty_files_are_no_set(root):
    write(root, {kind: [] for kind in toy()})
    assert "no graphs" in refusal(tu.load, "TOY")


def test_a_class_smaller_than_the_folds_is_named(root):
    write(root, toy((20, 9)))
    message = refusal(task, held_out=0.0)
    assert "class 1" in message and "9 graphs" in message and "10 folds" in message
    task(held_out=0.5)


def test_advice_is_given_where_it_helps(root):
    write(root, toy((20, 3)), "THREE")
    message = refusal(task, data="THREE", held_out=0.0)
    assert "3 graphs" in message and "held_out" not in message
    write(root, toy((20, 4)), "FOUR")
    assert "held_out to 0.5" in refusal(task, data="FOUR", held_out=0.0)
    task(data="FOUR", held_out=0.5)


def test_a_class_too_small_to_be_split_is_named(root):
    write(root, toy((20, 2)))
    message = refusal(task, held_out=0.3, batch_size=4)
    assert "class 1" in message and "2 graphs" in message and "held_out" in message


@pytest.mark.parametrize(
    ("changes", "available"),
    [
        ({"samples": 41, "held_out": 0.0}, 40),
        ({"samples": 21}, 20),
        ({"batch_size": 21}, 20),
        ({"batch_size": 41, "held_out": 0.0}, 40),
        ({"batch_size": 1}, 20),
        ({"held_out": 0.99}, "more data"),
    ],
)
def test_more_than_the_data_has_is_refused(folder, changes, available):
    message = refusal(task, **changes)
    assert str(available) in message and all(
        f"{k} {v}" in message for k, v in changes.items() if v != 0 and k != "held_out"
    )


def test_supervised_training_on_all_graphs_is_refused(folder):
    assert "held_out" in refusal(task, objective="supervised", held_out=0.0)
    task(objective="supervised")


def test_a_strength_that_would_leave_no_graph_is_refused(folder):
    assert "below 5" in refusal(task, view_strength=5.0)


# The encoder


def by_loops(gin, x, edges, sizes):
    """GIN in evaluation mode, node by node and graph by graph."""
    layers = []
    for layer in (gin.layer1, gin.layer2, gin.layer3):
        summed = [
            x[n] + sum((x[u] for u, v in edges if v == n), torch.zeros(x.shape[1]))
            for n in range(len(x))
        ]
        hidden = layer.conv.nn(torch.stack(summed)).clamp_min(0)
        norm = layer.norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        x = (hidden - norm.running_mean) * scale + norm.bias
        layers.append(x)
    wide, rows, start = torch.cat(layers, 1), [], 0
    for size in sizes:
        nodes = wide[start : start + size]
        pooled = nodes.sum(0)
        rows.append(pooled / max(size, 1) if gin.readout.pooling == "mean" else pooled)
        start += size
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_gin_is_a_loop_over_nodes_and_graphs(pooling):
    gin = GIN(3, 4, pooling)
    for layer in (gin.layer1, gin.layer2, gin.layer3):
        nn.init.normal_(layer.norm.running_mean)
        nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    gin.eval()
    sizes, pairs = [3, 0, 2, 1, 0], [(0, 1), (1, 2), (3, 4)]
    edges = pairs + [(v, u) for u, v in pairs]
    x = torch.randn(6, 3)
    ptr, edge_ptr = torch.tensor([0, *sizes]).cumsum(0), torch.tensor([0, 2, 2, 3, 3, 3])
    view = graph_views.Graphs(x, torch.tensor(pairs).T, ptr, edge_ptr).take(torch.arange(5))
    features = gin(**view)
    assert torch.allclose(features, by_loops(gin, x, edges, sizes), atol=1e-5)
    assert features.shape == (5, gin.features) and not features[[1, 4]].any()


def test_a_convolution_and_its_gradients_are_pygs(folder):
    view = tu.load("TOY").graphs.take(torch.arange(40))
    ours = GIN(3, 4).layer1.conv
    theirs = GINConv(ours.nn)
    edges = graph_views.edge_index(view["neighbours"], view["starts"])
    found = {}
    for name, arguments in (("ours", (view["neighbours"], view["starts"])), ("theirs", (edges,))):
        x = view["x"].clone().requires_grad_()
        ours.zero_grad()
        out = (ours if name == "ours" else theirs)(x, *arguments)
        out.square().sum().backward()
        found[name] = [out, x.grad, *(p.grad.clone() for p in ours.parameters())]
    for one, other in zip(found["ours"], found["theirs"], strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_the_readout_and_its_gradient_are_pygs(pooling):
    batch = torch.tensor([0, 0, 2, 2, 2, 4])  # graphs 1, 3 and 5 have no nodes
    layers = [torch.randn(6, 2, requires_grad=True) for _ in range(3)]
    pool = {"sum": global_add_pool, "mean": global_mean_pool}[pooling]
    outs = Readout(pooling)(layers, batch, 6), pool(torch.cat(layers, 1), batch, 6)
    assert torch.allclose(*outs, atol=1e-6)
    weights = torch.randn(6, 6)
    gradients = [torch.autograd.grad((out * weights).sum(), layers) for out in outs]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_layers_are_those_a_trial_may_name(folder):
    gin = task().encoder()
    names = dict(gin.named_modules())
    assert set(LAYERS) - {"input"} <= names.keys()
    assert gin.features == 12
    view = tu.load("TOY").graphs.take(torch.arange(40))
    shapes = {}
    for name in LAYERS[1:]:
        names[name].register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: out.shape})
        )
    gin(**view)
    nodes = len(view["x"])
    assert shapes == {**dict.fromkeys(LAYERS[1:4], (nodes, 4)), "readout": (40, 12)}


def test_the_head_is_graphcls(folder):
    first, relu, second = task().head(12)
    assert (first.in_features, first.out_features, second.out_features) == (12, 12, 12)
    assert isinstance(relu, nn.ReLU)


def test_counts_are_those_of_the_node_labels(folder):
    lines, counts = toy(), np.zeros((40, 3))
    for graph, label in zip(lines["graph_indicator"], lines["node_labels"], strict=True):
        counts[int(graph) - 1, int(label)] += 1
    prepared = task(encoder="counts", **UNTRAINED)
    encoder = prepared.encoder()
    assert encoder(**prepared.graphs.take(torch.arange(40))).tolist() == counts.tolist()
    assert encoder.features == 3 and not list(encoder.parameters())


@pytest.mark.parametrize("transform", ["dropout-feature", "pca"])
def test_a_transform_takes_a_graphs_nodes_together(folder, transform):
    """The nodes of a graph lose the same features or components; another graph other ones."""
    prepared = task(layer="layer2", transform=transform, strength=0.5)
    gin = prepared.encoder().train()
    seen = {}
    acting = networks.TRANSFORMS[transform](0.5)
    with attach.attach(gin, "layer2", acting, groups=prepared.groups):
        gin.layer2.register_forward_hook(lambda _, __, out: seen.update(out=out))
        view = prepared.graphs.take(torch.arange(40))
        if transform == "pca":
            with torch.no_grad():
                before = gin.layer2.norm  # its output has mean 0: components are lost from there
                assert before.bias.abs().max() == 0
        gin(**view)
    out, batch = seen["out"], view["batch"]
    if transform == "dropout-feature":
        lost = torch.stack([(out[batch == g] == 0).all(0) for g in range(40)])
        assert 0.3 < lost.float().mean() < 0.7 and len(lost.unique(dim=0)) > 4
    ranks = [int(torch.linalg.matrix_rank(out[batch == g].detach(), tol=1e-4)) for g in range(40)]
    assert max(ranks) <= 4 and min(ranks) < 3


def test_rows_of_the_readout_are_graphs(folder):
    arm = {"transform": "dropout", "strength": 0.5}
    assert task(layer="readout", **arm).groups is None
    for layer in LAYERS[:-1]:
        prepared = task(layer=layer, **arm)
        view = prepared.graphs.take(torch.tensor([3, 5]))
        assert torch.equal(prepared.groups(**view), view["batch"])


# Views and batches


def views(index, epoch=0, **changes):
    return task(**changes).views(epoch)(torch.tensor(index))


def same(one, other):
    return one["size"] == other["size"] and all(
        torch.equal(one[name], other[name]) for name in ("x", "neighbours", "starts", "batch")
    )


def single(view, place):
    """One graph of a batch: its features and edges."""
    nodes = view["batch"] == place
    first = int(nodes.nonzero()[0])
    edges = graph_views.edge_index(view["neighbours"], view["starts"])
    edges = edges[:, nodes[edges[0]]] - first
    return view["x"][nodes].tolist(), sorted(map(tuple, edges.T.tolist()))


@pytest.mark.parametrize(
    "family", ["standard", "original", "nodes", "edges", "attributes", "subgraphs"]
)
def test_views_do_not_depend_on_the_batch(folder, family):
    index = list(range(40))
    other = [17, 4, 39, 0, 21]
    for whole, part in zip(views(index, views=family), views(other, views=family), strict=True):
        for place, graph in enumerate(other):
            assert single(part, place) == single(whole, graph)


def test_views_do_not_depend_on_what_is_trained_on(folder):
    alone = views([3, 7])
    for changes in (
        {"samples": 12},
        {"held_out": 0.0},
        {"layer": "layer1", "transform": "pca", "strength": 0.5},
    ):
        assert all(map(same, views([3, 7], **changes), alone))


def test_views_change_with_seed_epoch_and_number(folder):
    index = list(range(40))
    first, second = views(index)
    assert not same(first, second)
    for changes in ({"seed": 1}, {"epoch": 1}):
        assert not any(map(same, views(index, **changes), (first, second)))
    assert all(map(same, views(index), (first, second)))


def test_original_views_leave_the_first_as_it_is(folder):
    index = list(range(40))
    plain = tu.load("TOY").graphs.take(torch.tensor(index))
    first, second = views(index, views="original")
    assert same(first, plain) and not same(second, plain)
    assert not any(same(view, plain) for view in views(index))


@pytest.mark.parametrize(
    "family", ["standard", "original", "nodes", "edges", "attributes", "subgraphs"]
)
def test_view_strength_zero_is_the_graph_itself(folder, family):
    index = list(range(40))
    plain = tu.load("TOY").graphs.take(torch.tensor(index))
    assert all(same(view, plain) for view in views(index, views=family, view_strength=0.0))


def test_standard_views_draw_one_of_four_for_each_graph_and_view(folder, monkeypatch):
    drawn, augment = [], graph_views.augment
    monkeypatch.setattr(
        graph_views,
        "augment",
        lambda found, which, ratio, generator: (
            drawn.append((which.clone(), ratio)) or augment(found, which, ratio, generator)
        ),
    )
    prepared = task(view_strength=0.5)
    for epoch in range(50):
        prepared.views(epoch)
    which = torch.stack([w for w, _ in drawn])
    assert {ratio for _, ratio in drawn} == {0.1} and which.shape == (100, 40)
    shares = which.flatten().bincount(minlength=4) / which.numel()
    assert (shares - 0.25).abs().max() < 0.03
    for one, other in ((which[::2], which[1::2]), (which[:, 1:], which[:, :-1])):
        assert abs((one == other).float().mean() - 0.25) < 0.05


@pytest.mark.parametrize("family", graph_views.AUGMENTATIONS)
def test_a_family_of_one_is_in_both_views(folder, monkeypatch, family):
    drawn = []
    monkeypatch.setattr(graph_views, "augment", lambda g, which, *_: drawn.append(which) or g)
    task(views=family).views(0)
    number = graph_views.AUGMENTATIONS.index(family)
    assert len(drawn) == 2 and all((which == number).all() for which in drawn)


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, [12, 8]),
        ({"batch_size": 19}, [20]),  # a graph by itself has nothing to contrast with
        ({"batch_size": 10}, [10, 10]),
        ({"held_out": 0.0, "batch_size": 13}, [13, 13, 14]),
        ({"samples": 15}, [12, 3]),
    ],
)
def test_batches_hold_every_graph_once_and_none_alone(folder, changes, sizes):
    prepared = task(**changes)
    batches = prepared.batches(torch.Generator().manual_seed(0))
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches).sort().values, prepared.train.sort().values)
    assert len(set(prepared.train.tolist())) == sum(sizes)
    others = prepared.batches(torch.Generator().manual_seed(1))
    assert not torch.equal(torch.cat(others), torch.cat(batches))


# Who is trained on, and who evaluated


@pytest.mark.parametrize("seed", range(4))
def test_parts_are_disjoint_whole_and_stratified(root, seed):
    write(root, toy((40, 20)))
    prepared = task(seed=seed, held_out=0.4)
    parts = [prepared.train, prepared.validation, prepared.test]
    assert [len(part) for part in parts] == [36, 12, 12]
    assert torch.cat(parts).sort().values.tolist() == list(range(60))
    for part in parts:
        share = prepared.labels(part).float().mean() * len(part)
        assert abs(share - 2 / 3 * len(part)) <= 1.5
    assert not torch.equal(task(seed=seed + 9, held_out=0.4).test, prepared.test)


def test_of_an_odd_number_held_out_the_test_part_has_one_more(root):
    write(root, toy((40, 20)))
    prepared = task(held_out=0.45)
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (33, 13, 14)


def test_a_subset_is_stratified_and_the_seeds(root):
    write(root, toy((40, 20)))
    subsets = [task(seed=s, held_out=0.0, samples=30).train for s in range(3)]
    for subset in subsets:
        assert len(set(subset.tolist())) == 30
        assert abs((tu.load("TOY").labels[subset] == 1).sum() - 20) <= 1
    assert len({tuple(s.tolist()) for s in subsets}) == 3


def test_nested_svc_is_sklearns_grid_search(folder):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = random.normal(size=(60, 4)) + 0.8 * labels[:, None]
    validation, test = [], []
    for rest, held_out in StratifiedKFold(10, shuffle=True, random_state=0).split(features, labels):
        search = GridSearchCV(SVC(), {"C": [1e-3, 1e-2, 0.1, 1, 10, 100, 1000]}, cv=5)
        search.fit(features[rest], labels[rest])
        validation.append(100 * search.best_score_)
        test.append(100 * search.score(features[held_out], labels[held_out]))
    assert svc.nested_svc(features, labels) == pytest.approx((np.mean(validation), np.mean(test)))


def test_constant_features_give_the_larger_class():
    labels = np.repeat([0, 1], [10, 20])
    assert svc.nested_svc(np.ones((30, 2)), labels)[1] == pytest.approx(100 * 2 / 3)


def test_split_svc_is_sklearns(folder):
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = random.normal(size=(90, 4)) + 0.5 * labels[:, None]
    train, validation, test = np.arange(50), np.arange(50, 70), np.arange(70, 90)
    best = (-1.0, 0.0)
    for c in svc.COSTS:
        fitted = SVC(C=c).fit(features[train], labels[train])
        scores = [100 * fitted.score(features[part], labels[part]) for part in (validation, test)]
        best = tuple(scores) if scores[0] > best[0] else best
    assert svc.split_svc(features, labels, train, validation, test) == pytest.approx(best)


def test_labels_of_the_test_part_change_the_test_accuracy_alone(folder):
    """Neither C nor the fit may know them."""
    prepared, embed = task(), lambda view: Counts(3)(**view)
    before = prepared.evaluate(embed, final=True)
    prepared._labels[prepared.test] = 1 - prepared._labels[prepared.test]
    after = prepared.evaluate(embed, final=True)
    assert after["validation"] == before["validation"]
    assert after["test"]["svc"] == pytest.approx(100 - before["test"]["svc"])


def test_folds_are_the_same_for_every_seed(folder, monkeypatch):
    monkeypatch.setattr(svc, "COSTS", (1.0, 10.0))
    embed = Counts(3)
    found = [task(held_out=0.0, seed=s).evaluate(lambda v: embed(**v), True) for s in (0, 1)]
    assert found[0] == found[1]


def test_test_is_left_alone_in_mid_training(folder, monkeypatch):
    embed = Counts(3)
    prepared = task()
    assert prepared.evaluate(lambda v: embed(**v), final=False).keys() == {"validation"}
    monkeypatch.setattr(graphs, "MANY", 39)
    assert prepared.evaluate(lambda v: embed(**v), final=False) == {"validation": {}}
    assert prepared.evaluate(lambda v: embed(**v), final=True).keys() == {"validation", "test"}


def test_whole_graphs_are_evaluated(folder):
    seen = []
    prepared = task()
    prepared.evaluate(lambda v: seen.append(v) or Counts(3)(**v), True)
    (view,) = seen
    assert same(view, tu.load("TOY").graphs.take(torch.arange(40)))


# Training


def run(**changes):
    return loop.run(trial(**changes), "cpu")


def losses(outcome):
    return [point["loss"] for point in outcome.curve]


def test_features_that_are_not_finite_have_diverged(folder):
    """The loss of the last step was taken before it."""
    outcome = run(data="TOY", epochs=1, batch_size=20, learning_rate=1e30)
    assert (outcome.status, outcome.metrics) == ("diverged", {})


def test_training_is_deterministic_and_learns(folder):
    one, other = run(epochs=8), run(epochs=8)
    assert losses(one) == losses(other) and one.metrics == other.metrics
    assert losses(one)[-1] < losses(one)[0]
    assert one.data_digest == tu.load("TOY").digest
    assert losses(run(epochs=8, seed=1)) != losses(one)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_takes_a_transform(folder, layer):
    plain = losses(run())
    for transform in ("dropout", "dropout-feature", "pca", "noise"):
        outcome = run(layer=layer, transform=transform, strength=0.5)
        assert outcome.status == "ok" and losses(outcome) != plain


@pytest.mark.parametrize(
    "changes",
    [
        {"held_out": 0.0},
        {"objective": "supervised"},
        {"precision": "bfloat16"},
        {"pooling": "mean"},
        {"width": 8},
        {"views": "original"},
        {"view_strength": 2.0},
        {"samples": 15},
        {"batch_size": 9},
    ],
    ids=str,
)
def test_each_setting_takes_effect(folder, changes):
    outcome = run(**changes)
    assert outcome.status == "ok" and losses(outcome) != losses(run())
    assert outcome.metrics["test"].keys() == {"svc"} == outcome.metrics["validation"].keys()


@pytest.mark.parametrize("encoder", ["gin3", "counts"])
def test_untrained_features_are_evaluated(folder, encoder):
    outcome = run(encoder=encoder, **UNTRAINED)
    assert outcome.curve == [] and 0 <= outcome.metrics["test"]["svc"] <= 100


def test_sets_without_an_edge_are_trained_on(root):
    write(root, toy() | {"A": []})
    assert tu.load("TOY").graphs.edges.shape == (2, 0)
    for family in ("standard", *graph_views.AUGMENTATIONS):
        assert run(views=family, held_out=0.5).status == "ok"


def test_a_graph_without_nodes_is_carried_along(root):
    lines = toy()
    lines["graph_labels"].append("3")
    write(root, lines)
    assert len(tu.load("TOY")) == 41
    assert run().status == "ok"
    assert run(held_out=0.0, **UNTRAINED).status == "ok"
