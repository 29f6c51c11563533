"""TU sets of labelled graphs (Morris et al. 2020, arXiv 2007.08663), read from their text files.

PyG downloads them. They are read here: its reader (`torch_geometric.io.read_tu_data`) takes no
archive, drops a last line that has no line end, and of a damaged number says neither file nor line;
`TUDataset` writes a copy beside the files; and `numpy.loadtxt` counts rows instead of lines.
"""

import functools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepaug.training import registry
from deepaug.training.modalities import datasets
from deepaug.training.modalities.graphs.views import Graphs, edge_index
from deepaug.training.modalities.pyg import Data
from deepaug.validation import DataError

EMBEDDED = Path(__file__).parents[1] / "data"
FILES = "{0}_A.txt, {0}_graph_indicator.txt, {0}_graph_labels.txt and perhaps {0}_node_labels.txt"

# Of the sets that the profiles name, as the records have them.
DIGESTS = {
    "MUTAG": "d16682aa31817483",
    "PROTEINS": "7e0b27da94f5986c",
    "NCI109": "0fdba6135950ce43",
}


@dataclass(frozen=True)
class GraphSet:
    """graphs with node labels as one-hot features, or a constant 1; labels: int64 (graphs,)."""

    name: str
    graphs: Graphs
    labels: Tensor
    classes: tuple[str, ...]  # as the set's own files call them
    digest: str  # sha256 of features, edges, sizes and labels, 16 digits

    def __len__(self) -> int:
        return len(self.labels)

    def data(self, number: int) -> Data:
        """One graph as PyG keeps it, for drawing or another library."""
        one = self.graphs.take(torch.tensor([number]))
        edges = edge_index(one["neighbours"], one["starts"])
        return Data(x=one["x"], edge_index=edges, y=self.labels[number : number + 1])


@functools.lru_cache(maxsize=4)
def load(name: str) -> GraphSet:
    """The TU set `name` from `$DEEPAUG_DATA`/tu/<name>/raw, from the package, or downloaded.

    Nothing is written beside the files that are there. As in GraphCL's code, features are the node
    labels, one-hot, or a constant 1 where a set has none; continuous node attributes and all edge
    labels are left out. Edges are undirected, without loops or repetition.

    Raises DataError, in one line, for a set that is missing, damaged or without classes.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise DataError(f"{name!r} cannot be the name of a TU set; known here: {_known()}")
    folder = registry.data_root() / "tu" / name / "raw"
    if folder.is_dir():
        return _read(folder, name)
    if (EMBEDDED / f"{name}.zip").is_file():
        with zipfile.ZipFile(EMBEDDED / f"{name}.zip") as archive:
            return _read(zipfile.Path(archive), name)
    _download(folder, name)
    return _read(folder, name)


def _known() -> str:
    return ", ".join(registry.MODALITIES["graphs"].data)


def _download(folder: Path, name: str) -> None:
    from torch_geometric.datasets import TUDataset

    def fetch(aside: Path) -> Path:
        TUDataset(str(aside), name)
        raw = aside / name / "raw"
        if name in DIGESTS and (digest := _read(raw, name).digest) != DIGESTS[name]:
            raise DataError(
                f"the TU set {name!r} that was downloaded is another than the records are of "
                f"(digest {digest}, not {DIGESTS[name]}); nothing of it is kept; put its files in "
                f"{folder} to use it all the same"
            )
        return raw

    advice = f"known here: {_known()}; or put {FILES.format(name)} there"
    datasets.download(f"TU set {name!r}", folder, fetch, advice)


def _read(folder: Path | zipfile.Path, name: str) -> GraphSet:
    def table(kind: str, columns: int = 1) -> np.ndarray:
        return _table(folder / f"{name}_{kind}.txt", columns)

    graph_of_node = table("graph_indicator")[:, 0] - 1
    ends = table("A", columns=2) - 1
    if not (folder / f"{name}_graph_labels.txt").exists():
        raise DataError(
            f"{folder / f'{name}_graph_labels.txt'} is missing: features of graphs without classes "
            f"cannot be evaluated; take a set for classification, such as {_known()}"
        )
    classes, labels = np.unique(table("graph_labels")[:, 0], return_inverse=True)
    if len(classes) < 2:
        found = f"one class, {classes[0]}" if len(classes) else "no graphs"
        raise DataError(f"TU set {name!r} has {found}; needed: two classes or more")
    _check_nodes(graph_of_node, len(labels), folder / f"{name}_graph_indicator.txt")
    _check_edges(ends, graph_of_node, folder / f"{name}_A.txt")
    x = _features(folder / f"{name}_node_labels.txt", len(graph_of_node))
    ends = np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1)
    edges = np.ascontiguousarray(np.unique(ends, axis=0).T)
    starts = np.arange(len(labels) + 1)
    ptr, edge_ptr = (np.searchsorted(of, starts) for of in (graph_of_node, graph_of_node[edges[0]]))
    graphs = Graphs(x, *map(torch.from_numpy, (edges, ptr, edge_ptr)))
    labels = torch.from_numpy(labels)
    digest = datasets.digest([x, graphs.edges, graphs.ptr, graphs.edge_ptr, labels])
    return GraphSet(name, graphs, labels, tuple(map(str, classes)), digest)


def _check_nodes(graph_of_node: np.ndarray, graphs: int, path: Path | zipfile.Path) -> None:
    wrong = graph_of_node[(graph_of_node < 0) | (graph_of_node >= graphs)]
    if len(wrong):
        raise DataError(
            f"{path} names graph {wrong.min() + 1}; the labels are those of graphs 1 to {graphs}"
        )
    if (np.diff(graph_of_node) < 0).any():
        raise DataError(f"{path} is out of order; the nodes of graph 1 come first, then graph 2's")


def _check_edges(ends: np.ndarray, graph_of_node: np.ndarray, path: Path | zipfile.Path) -> None:
    nodes = len(graph_of_node)
    wrong = ends[(ends < 0) | (ends >= nodes)]
    if len(wrong):
        raise DataError(f"{path} names node {wrong[0] + 1}; the set has nodes 1 to {nodes}")
    across = ends[graph_of_node[ends[:, 0]] != graph_of_node[ends[:, 1]]]
    if len(across):
        pair = " and ".join(map(str, across[0] + 1))
        raise DataError(f"{path} joins nodes {pair}, which are of different graphs")


def _features(path: Path | zipfile.Path, nodes: int) -> Tensor:
    """(nodes, f): each column of node labels as one-hot; a value that no node has gets no place."""
    if not path.exists():
        return torch.ones(nodes, 1)
    table = _table(path)
    if len(table) != nodes:
        raise DataError(f"{path} has {len(table)} lines; the set has {nodes} nodes")
    parts = [column[:, None] == np.unique(column) for column in table.T]
    return torch.from_numpy(np.concatenate(parts, 1).astype(np.float32))


def _table(path: Path | zipfile.Path, columns: int | None = None) -> np.ndarray:
    """The whole numbers of a text file, int64 (lines, columns); by default as line 1 has."""
    if not path.exists():
        raise DataError(f"{path} is missing; a TU set needs {FILES.format('NAME')}")
    rows = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = [_whole(part) for part in line.split(",")]
        columns = columns or len(row)
        if len(row) != columns or None in row:
            wanted = "a whole number" if columns == 1 else f"{columns} whole numbers, with commas"
            raise DataError(f"{path}, line {number}: {line.strip()[:40]!r}; needed: {wanted}")
        rows.append(row)
    return np.array(rows, np.int64).reshape(-1, columns or 1)


def _whole(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else None
