"""TU sets of labelled graphs (Morris et al. 2020, arXiv 2007.08663), read from their text files."""

import functools
import hashlib
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from deepaug.training import registry
from deepaug.training.modalities.graphs.views import Graphs, edge_index
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
        raise DataError(f"data set {name!r} is no name of a TU set, such as {_known()}")
    folder = registry.data_root() / "tu" / name / "raw"
    if folder.is_dir():
        return _read(folder, name)
    if (EMBEDDED / f"{name}.zip").is_file():
        with zipfile.ZipFile(EMBEDDED / f"{name}.zip") as archive:
            return _read(zipfile.Path(archive), name)
    _download(folder, name)
    return _read(folder, name)


def _known() -> str:
    return ", ".join(registry.data("graphs"))


def _download(folder: Path, name: str) -> None:
    from torch_geometric.datasets import TUDataset

    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        # Moved into place when it is whole: half a download would pass for a damaged set.
        with tempfile.TemporaryDirectory(dir=folder.parent.parent) as beside:
            TUDataset(beside, name)
            if name in DIGESTS:
                _check_downloaded(Path(beside, name, "raw"), name)
            folder.parent.mkdir(exist_ok=True)
            Path(beside, name, "raw").rename(folder)
    except DataError:
        raise
    except Exception as error:  # the file systems below PyG raise errors of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"TU set {name!r} not found in {folder} and could not be downloaded ({reason}); known "
            f"here: {_known()}; or put {FILES.format(name)} there"
        ) from None


def _check_downloaded(folder: Path, name: str) -> None:
    """Raise DataError if a set that the records are of comes as another; nothing of it is kept."""
    digest = _read(folder, name).digest
    if digest != DIGESTS[name]:
        raise DataError(
            f"the TU set {name!r} that was downloaded is another than the records are of (digest "
            f"{digest}, not {DIGESTS[name]}); nothing of it is kept; put its files in "
            f"{registry.data_root() / 'tu' / name / 'raw'} to use it all the same"
        )


def _read(folder: Path | zipfile.Path, name: str) -> GraphSet:
    def table(kind: str, columns: int = 1) -> np.ndarray:
        return _table(folder / f"{name}_{kind}.txt", columns)

    of = table("graph_indicator")[:, 0] - 1
    ends = table("A", columns=2) - 1
    if not (folder / f"{name}_graph_labels.txt").exists():
        raise DataError(
            f"{folder / f'{name}_graph_labels.txt'} is missing: features of graphs without classes "
            f"cannot be evaluated; take a set for classification, such as {_known()}"
        )
    raw_labels = table("graph_labels")[:, 0]
    classes, labels = np.unique(raw_labels, return_inverse=True)
    if len(classes) < 2:
        found = f"one class, {classes[0]}" if len(classes) else "no graphs"
        raise DataError(f"TU set {name!r} has {found}; needed: two classes or more")
    graphs = len(labels)
    where = f"{folder / f'{name}_graph_indicator.txt'}"
    if len(of) and (of.min() < 0 or of.max() >= graphs):
        wrong = (of.min() if of.min() < 0 else of.max()) + 1
        raise DataError(
            f"{where} names graph {wrong}; the labels are those of graphs 1 to {graphs}"
        )
    if (np.diff(of) < 0).any():
        raise DataError(f"{where} is out of order; the nodes of graph 1 come first, then graph 2's")
    where = f"{folder / f'{name}_A.txt'}"
    outside = (ends < 0) | (ends >= len(of))
    if outside.any():
        wrong = ends[outside][0] + 1
        raise DataError(f"{where} names node {wrong}; {name!r} has nodes 1 to {len(of)}")
    across = of[ends[:, 0]] != of[ends[:, 1]]
    if across.any():
        pair = " and ".join(map(str, ends[across][0] + 1))
        raise DataError(f"{where} joins nodes {pair}, which are of different graphs")
    return _assemble(name, of, ends, _features(folder, name, len(of)), labels, classes)


def _assemble(
    name: str,
    of: np.ndarray,
    ends: np.ndarray,
    x: Tensor,
    labels: np.ndarray,
    classes: np.ndarray,
) -> GraphSet:
    u, v = np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1).T
    u, v = np.divmod(np.unique(u * len(of) + v), max(len(of), 1))
    starts = np.arange(len(labels) + 1)
    graphs = Graphs(
        x,
        torch.from_numpy(np.stack([u, v])),
        torch.from_numpy(np.searchsorted(of, starts)),
        torch.from_numpy(np.searchsorted(of[u], starts)),
    )
    labels = torch.from_numpy(labels)
    digest = hashlib.sha256()
    for tensor in (graphs.x, graphs.edges, graphs.ptr, graphs.edge_ptr, labels):
        digest.update(tensor.numpy().tobytes())
    return GraphSet(name, graphs, labels, tuple(map(str, classes)), digest.hexdigest()[:16])


def _features(folder: Path | zipfile.Path, name: str, nodes: int) -> Tensor:
    """(nodes, f): each column of node labels as one-hot; a value that no node has gets no place."""
    path = folder / f"{name}_node_labels.txt"
    if not path.exists():
        return torch.ones(nodes, 1)
    table = _table(path)
    if len(table) != nodes:
        raise DataError(f"{path} has {len(table)} lines; {name!r} has {nodes} nodes")
    parts = [column[:, None] == np.unique(column) for column in table.T]
    return torch.from_numpy(np.concatenate(parts, 1).astype(np.float32))


def _table(path: Path | zipfile.Path, columns: int | None = None) -> np.ndarray:
    """The whole numbers of a text file, int64 (lines, columns)."""
    if not path.exists():
        raise DataError(f"{path} is missing; a TU set needs {FILES.format('NAME')}")
    rows = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
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
