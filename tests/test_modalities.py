"""What modalities share: draws, digests, downloads that are moved in when whole."""

import hashlib

import pytest
import torch

from deepaug.training import evaluation
from deepaug.training.modalities import datasets, sampling
from deepaug.validation import DataError, UnsuitedData


def test_what_is_held_out_is_the_same_each_time_and_the_rest_stays():
    kept, held_out = sampling.hold_out(50, 12)
    assert len(held_out) == 12 and sorted([*kept.tolist(), *held_out.tolist()]) == [*range(50)]
    for part, again in zip((kept, held_out), sampling.hold_out(50, 12), strict=True):
        assert part.equal(part.sort().values) and part.equal(again)


@pytest.mark.parametrize(("size", "count"), [(1, 10), (3, 3), (5, 2), (10, 1)])
def test_batches_are_full_and_of_different_samples(size, count):
    draws = torch.Generator().manual_seed(0)
    batches = sampling.full_batches(10, size, draws)
    assert [len(batch) for batch in batches] == [size] * count
    assert len(torch.cat(batches).unique()) == size * count
    assert size == 10 or not torch.cat(batches).equal(torch.arange(size * count))


LABELS = torch.tensor([0] * 40 + [1] * 40 + [-100] * 20 + [2])  # two classes, and a rare one


@pytest.mark.parametrize("count", [3, 4, 20, 101])
def test_a_subset_has_every_class_and_else_the_first_of_a_random_order(count):
    lacking = 0
    for seed in range(40):
        order = torch.randperm(101, generator=torch.Generator().manual_seed(seed))
        found = sampling.subset(LABELS, count, torch.Generator().manual_seed(seed))
        assert len(found) == count == len(found.unique()) and {0, 1, 2} <= {*LABELS[found].tolist()}
        whole = {0, 1, 2} <= {*LABELS[order[:count]].tolist()}
        assert found.equal(order[:count]) == whole
        lacking += not whole
    assert bool(lacking) == (count < 101)


def test_samples_without_classes_are_drawn_as_they_come():
    draws = (torch.Generator().manual_seed(5) for _ in range(2))
    found = sampling.subset(torch.full((30,), -100), 7, next(draws))
    assert found.equal(torch.randperm(30, generator=next(draws))[:7])


def test_fewer_samples_than_classes_are_refused():
    with pytest.raises(UnsuitedData, match="samples 2 is less than the 3 classes"):
        sampling.subset(LABELS, 2, torch.Generator())


def test_a_digest_is_of_the_bytes_in_the_order_of_the_elements():
    tensors = [torch.arange(6).view(2, 3).T, torch.zeros(0, 2), torch.tensor([0.5])]
    whole = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
    assert datasets.digest(tensors) == hashlib.sha256(whole).hexdigest()[:16]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kind" / "NAME" / "raw"


def fetch(aside):
    (aside / "below").mkdir()
    (aside / "below" / "file").write_text("whole")
    return aside / "below"


def test_a_download_is_moved_into_place(folder):
    datasets.download("set 'NAME'", folder, fetch, "ask somebody")
    assert (folder / "file").read_text() == "whole"
    assert [path.name for path in folder.parents[1].iterdir()] == ["NAME"]


def test_a_download_that_fails_leaves_nothing_and_says_why(folder):
    def cut_off(aside):
        fetch(aside)
        raise ConnectionError("no network\nat all")

    with pytest.raises(DataError) as caught:
        datasets.download("set 'NAME'", folder, cut_off, "ask somebody")
    assert str(caught.value) == (
        f"set 'NAME' not found in {folder} and could not be downloaded (no network); ask somebody, "
        f"or set DEEPAUG_DATA to another folder"
    )
    assert [*folder.parents[1].iterdir()] == []


def test_what_another_process_downloaded_first_stays(folder):
    def second(aside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("first")
        return fetch(aside)

    datasets.download("set 'NAME'", folder, second, "ask somebody")
    assert (folder / "file").read_text() == "first"


def test_accuracies_are_those_of_knn_and_of_the_probe_where_there_is_one():
    generator = torch.Generator().manual_seed(0)
    bank, part = (
        (torch.randn(n, 4, generator=generator), torch.randint(3, (n,), generator=generator))
        for n in (120, 30)
    )
    queries = {"validation": part}
    knn = {"knn": evaluation.knn_accuracy(*bank, *part, 3, 2)}
    assert evaluation.accuracies(bank, queries, 3) == {"validation": knn}
    probe = evaluation.linear_probe(*bank, queries)["validation"]
    found = evaluation.accuracies(bank, queries, 3, evaluation.linear_probe)
    assert found == {"validation": knn | {"probe": probe}}
