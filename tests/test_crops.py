"""Documents and their crops: against naive loops, and whose labels and tokens go where."""

import math

import pytest
import tiny
import torch
from torch.nn import functional as F

from deepaug.training import evaluation, loop, registry
from deepaug.training.modalities.text import base, counted, crops, documents, metrics, tokens
from deepaug.training.modalities.text import task as text
from deepaug.training.trial import Trial, derive
from deepaug.validation import UnsuitedData

CPU = torch.device("cpu")
GOLDEN = [3.51601, 3.31582, 3.29345]  # losses by epoch
TINY = {
    "modality": "text",
    "encoder": "bert2",
    "width": 16,
    "views": "crops",
    "view_size": 10,
    "epochs": 1,
    "batch_size": 10,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "temperature": 0.1,
}


def forget():
    for cached in (documents.load_documents, crops.tokenised, tokens.tokenizer, counted.vectorizer):
        getattr(cached, "cache_clear", lambda: None)()


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path / "data"))
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def folder(tmp_path):
    return tiny.documents(tmp_path / "mine")


def trial(folder, **changes):
    return Trial(**{**TINY, "data": str(folder), **changes})


def prepare(folder, **changes):
    return text.prepare(trial(folder, **changes), CPU)


def tokens_of(task, number):
    """Ids of the number-th training document, one after another."""
    start, length = task.train.starts[number], task.train.lengths[number]
    return task.train.ids[start : start + length].tolist()


def ids_of(view, row):
    """What stands between [CLS] and [SEP]."""
    length = int(view["attention_mask"][row].sum())
    return view["input_ids"][row, 1 : length - 1].tolist()


# Documents


def test_documents_are_split_once_and_hold_every_class(folder):
    corpus = documents.load(str(folder))
    parts = [corpus.train, corpus.validation, corpus.test]
    assert [len(part) for part in parts] == [38, 10, 12]
    assert len(set(torch.cat(parts).tolist())) == 60 == len(corpus.sentences)
    assert corpus.classes == ("sea", "sky")
    for part in parts:
        assert set(corpus.labels[part].tolist()) == {0, 1}
    for sentence, label in zip(corpus.sentences, corpus.labels.tolist(), strict=True):
        assert sentence.startswith(corpus.classes[label])


def test_a_folder_may_have_parts_of_its_own(tmp_path):
    folder = tiny.documents(tmp_path / "mine", part="train")
    tiny.documents(folder, part="test", each=5)
    corpus = documents.load(str(folder))
    assert {corpus.sentences[i][:4] for i in corpus.test.tolist()} == {"test"}
    assert len(corpus.test) == 10 and len(corpus.train) + len(corpus.validation) == 60


def test_what_is_tested_with_teaches_no_vocabulary(tmp_path):
    folder = tiny.documents(tmp_path / "mine", part="train")
    tiny.documents(folder, {"sea": "zyzzyva " * 5, "sky": "quokka " * 5}, part="test", each=5)
    corpus = documents.load(str(folder))
    assert not any("zyzzyva" in sentence for sentence in corpus.vocabulary)
    assert len(corpus.vocabulary) == len(corpus.train)


def test_equal_documents_count_once(tmp_path):
    folder = tiny.documents(tmp_path / "mine")
    (folder / "sea" / "again.txt").write_text((folder / "sea" / "0.txt").read_text())
    assert len(documents.load(str(folder)).sentences) == 60


def test_of_two_equal_documents_the_first_stays_with_its_class_and_part():
    train = [(f"train {n}", n % 2) for n in range(200)] + [("twice", 0)]
    test = [("twice", 1)] + [(f"test {n}", n % 2) for n in range(20)]
    corpus = documents.assemble("mine", train, test, ("sea", "sky"))
    number = corpus.sentences.index("twice")
    assert corpus.labels[number] == 0 and number not in corpus.test.tolist()


def test_hidden_entries_are_no_classes_and_no_documents(folder):
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "sea" / ".hidden.txt").write_text("not for reading")
    assert len(documents.load(str(folder)).sentences) == 60


def test_a_folder_of_text_is_text_and_one_of_images_is_not(folder, tmp_path):
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    assert registry.of_data(str(folder)) == "text"
    assert registry.of_data(str(tmp_path / "pictures")) == "vision"


def test_a_list_of_labels_makes_no_text_of_a_folder_of_images(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "train" / "cat").mkdir(parents=True)
    (folder / "train" / "cat" / "1.png").write_bytes(b"")
    (folder / "train" / "labels.txt").write_text("cat")
    assert registry.of_data(str(folder)) == "vision"
    (folder / "train" / "cat" / "1.txt").write_text("a caption")
    assert registry.of_data(str(folder)) == "vision"


def test_a_folder_with_parts_is_text(tmp_path):
    folder = tiny.documents(tmp_path / "mine", part="train")
    (folder / "README.txt").write_text("about it")
    assert registry.of_data(str(tiny.documents(folder, part="test"))) == "text"


def refusal(act, *args, **changes):
    with pytest.raises(ValueError) as caught:
        act(*args, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_folders_are_told_in_a_line(tmp_path):
    one = tiny.documents(tmp_path / "one", {"sea": tiny.WORDS["sea"]})
    assert "1 class folders; needed: two or more" in refusal(documents.load, str(one))
    empty = tiny.documents(tmp_path / "empty")
    (empty / "void").mkdir()
    assert "void has no document" in refusal(documents.load, str(empty))
    single = tiny.documents(tmp_path / "single", {**tiny.WORDS})
    (single / "rare").mkdir()
    (single / "rare" / "0.txt").write_text("one document alone")
    assert "class 'rare' has 1 documents, none of which is left" in refusal(
        documents.load, str(single)
    )
    odd = tiny.documents(tmp_path / "odd")
    (odd / "sea" / "0.txt").write_bytes(b"\xff\xfe\x00")
    assert "0.txt is not UTF-8" in refusal(documents.load, str(odd))
    parts = tiny.documents(tmp_path / "parts", part="train")
    tiny.documents(parts, {"sea": tiny.WORDS["sea"], "land": tiny.WORDS["sky"]}, part="test")
    assert "differ in class 'land'" in refusal(documents.load, str(parts))


@pytest.mark.parametrize("size", [3, 5, 12])
def test_of_each_class_of_a_folder_some_are_held_out(tmp_path, size):
    for number in range(10):
        folder = tmp_path / f"class{number}"
        folder.mkdir()
        for document in range(size):
            (folder / f"{document}.txt").write_text(f"document {document} of class {number}")
    corpus = documents.load(str(tmp_path))
    for part in (corpus.test, corpus.validation):
        counts = corpus.labels[part].bincount(minlength=10)
        assert (counts == max(1, round(0.2 * size))).all()
    every = torch.cat([corpus.train, corpus.validation, corpus.test])
    assert every.sort().values.equal(torch.arange(10 * size))


def test_newsgroups_are_asked_of_scikit_learn(monkeypatch, root):
    """By date, without headers, footers and quotes; what is shorter than 30 words is left out."""
    from types import SimpleNamespace

    asked = []

    def fetch(**given):
        asked.append(given)
        long = [f"{given['subset']}{n} " + "word " * (29 + n % 2) for n in range(80)]
        return SimpleNamespace(
            data=[*long, "too short"],
            target=[n // 2 % 2 for n in range(81)],
            target_names=["a", "b"],
        )

    monkeypatch.setattr("sklearn.datasets.fetch_20newsgroups", fetch)
    corpus = documents.load("20newsgroups")
    assert [given["subset"] for given in asked] == ["train", "test"]
    for given in asked:
        assert given["remove"] == ("headers", "footers", "quotes")
        assert given["data_home"] == str(root / "data" / "20newsgroups")
    assert len(corpus.sentences) == 160 and len(corpus.test) == 80
    assert len(corpus.validation) == 8 and len(corpus.train) == 72


def cache_of_newsgroups(root, each=6):
    """scikit-learn's own file, with `each` documents of a class in each part."""
    import codecs
    import pickle

    import numpy as np
    from sklearn.utils import Bunch

    def part(name):
        texts = [
            f"From: somebody\n\n> quoted {'word ' * 40}\n{name} {n} {'own ' * (27 + n)}"
            for n in range(each)
        ]
        both = [text.replace("own", kind) for kind in ("sea", "sky") for text in texts]
        return Bunch(
            data=both,
            target=np.arange(2 * each) // each,
            target_names=["sea", "sky"],
            filenames=np.array([f"{name}/{n}" for n in range(2 * each)]),
        )

    folder = root / "data" / "20newsgroups"
    folder.mkdir(parents=True)
    content = pickle.dumps({name: part(name) for name in ("train", "test")})
    (folder / "20news-bydate_py3.pkz").write_bytes(codecs.encode(content, "zlib_codec"))
    return folder


def test_newsgroups_are_read_from_scikit_learns_file(root, monkeypatch):
    monkeypatch.setattr(documents, "VALIDATION", 0.4)
    cache_of_newsgroups(root, each=30)
    corpus = documents.load("20newsgroups")
    assert corpus.classes == ("sea", "sky") and len(corpus.test) == 2 * 29  # one is too short
    assert len(corpus.train) + len(corpus.validation) == 2 * 29
    assert not any("quoted" in text or "somebody" in text for text in corpus.sentences)
    assert min(len(text.split()) for text in corpus.sentences) == 30
    assert "58 test documents; 2 classes" in text.describe("20newsgroups")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr("urllib.request.urlretrieve", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_missing_newsgroups_are_told_in_a_line_and_leave_nothing(root, offline, capfd):
    message = refusal(documents.load, "20newsgroups")
    for wanted in ("no network", "20news-bydate_py3.pkz", "DEEPAUG_DATA"):
        assert wanted in message
    assert not (root / "data" / "20newsgroups").exists()
    assert capfd.readouterr() == ("", "")


def test_damaged_newsgroups_are_named_and_stay_as_they_are(root, offline, capfd):
    file = cache_of_newsgroups(root) / "20news-bydate_py3.pkz"
    file.write_bytes(file.read_bytes()[:99])
    message = refusal(documents.load, "20newsgroups")
    assert f"{file} is damaged; remove it" in message
    assert list(file.parent.iterdir()) == [file] and file.stat().st_size == 99
    assert capfd.readouterr() == ("", "")


# Crops


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_crops_are_those_of_a_loop(folder, strength):
    task = prepare(folder, view_strength=strength)
    generator = torch.Generator().manual_seed(derive(0, "views", 3))
    draws = torch.rand(3, len(task), generator=generator)
    index = torch.tensor([4, 0, 17])
    for number, view in enumerate(task.views(3)(index)):
        for row, document in enumerate(index.tolist()):
            whole = tokens_of(task, document)
            room = max(len(whole) - 8, 0) + 1
            anchor, own = draws[0, document], draws[1 + number, document]
            place = min(int((anchor + strength * (own - anchor)) * room), room - 1)
            assert ids_of(view, row) == whole[place : place + 8]
            ids = view["input_ids"][row].tolist()
            assert (ids[0], ids[-1]) == (task.tokenizer.cls_token_id, task.tokenizer.sep_token_id)


def test_the_two_crops_are_drawn_apart_and_without_strength_together(folder):
    index = torch.arange(20)
    first, second = prepare(folder).views(0)(index)
    assert (first["input_ids"] != second["input_ids"]).any(1).float().mean() > 0.6
    first, second = prepare(folder, view_strength=0.0).views(0)(index)
    assert torch.equal(first["input_ids"], second["input_ids"])


def test_each_document_has_a_place_of_its_own(folder):
    """Not one place for a batch."""
    task = prepare(folder)
    view, _ = task.views(0)(torch.arange(20))
    places = set()
    for row in range(20):
        whole, found = tokens_of(task, row), ids_of(view, row)
        places.add(next(p for p in range(len(whole)) if whole[p : p + 8] == found))
    assert len(places) > 4


def test_what_happens_to_a_document_does_not_hang_on_its_batch(folder):
    task = prepare(folder)
    whole, _ = task.views(1)(torch.arange(20))
    some, _ = task.views(1)(torch.tensor([13, 2]))
    assert torch.equal(some["input_ids"], whole["input_ids"][[13, 2]])
    other, _ = task.views(2)(torch.arange(20))
    assert not torch.equal(other["input_ids"], whole["input_ids"])


def test_a_short_document_is_whole_and_takes_nothing_of_the_next(folder):
    (folder / "sea" / "0.txt").write_text("tide wave")
    task = prepare(folder)
    number = int(task.length.argmin())
    assert task.length[number] < 8
    for view in task.views(0)(torch.tensor([number, (number + 1) % len(task)])):
        assert ids_of(view, 0) == tokens_of(task, number)
        assert view["attention_mask"][0].sum() == task.length[number] + 2
        padding = view["input_ids"][0, task.length[number] + 2 :]
        assert (padding == task.tokenizer.pad_token_id).all()


def test_documents_no_longer_than_a_crop_are_refused(folder):
    message = refusal(prepare, folder, view_size=60)
    assert "no longer than a crop of 58 tokens" in message and "lower view_size" in message


def test_crops_have_no_strength_above_one(folder):
    assert "at most 1" in refusal(prepare, folder, view_strength=1.5)


def test_deletion_besides_is_as_frequent_as_told(folder):
    task = prepare(folder, views="crops-deletion")
    lengths = [
        v["attention_mask"].sum(1) - 2 for e in range(40) for v in task.views(e)(torch.arange(38))
    ]
    share = 1 - torch.cat(lengths).float().mean() / 8
    assert 0.07 < share < 0.13


def test_few_samples_have_neighbours_of_every_class_that_is_asked_for(folder):
    tiny.documents(folder, {"land": "hill rock moss path tree"}, each=5)
    for seed in range(12):
        task = prepare(folder, samples=10, seed=seed)
        for index in (task.bank, task.corpus.test):
            assert set(task.corpus.labels[index].tolist()) == {0, 1, 2}
    # Halves of documents are found without a class: there the draw is as it was.
    task = prepare(folder, samples=10, pairs="halves")
    draws = torch.Generator().manual_seed(derive(0, "subset"))
    order = torch.randperm(len(task.corpus.train), generator=draws)
    assert task.subset.equal(task.corpus.train[order[:10]])
    with pytest.raises(UnsuitedData, match="samples 2 is less than the 3 classes"):
        prepare(folder, samples=2, batch_size=2)


def test_the_networks_own_dropout_is_off(folder):
    encoder = prepare(folder).encoder()
    rates = [m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)]
    assert rates and not any(rates)


def test_an_epoch_has_every_document_once(folder):
    task = prepare(folder)
    batches = task.batches(torch.Generator().manual_seed(0))
    assert [len(b) for b in batches] == [10, 10, 10]
    assert len(set(torch.cat(batches).tolist())) == 30


# Evaluation


def test_features_are_the_mean_over_windows(folder):
    """Of a document by hand: from its beginning to its end, evenly."""
    task = prepare(folder)
    table = torch.randn(len(task.tokenizer), 5)

    def embed(view):
        weights = view["attention_mask"].unsqueeze(-1)
        return (table[view["input_ids"]] * weights).sum(1)

    found = task.features(embed, task.subset[:3])
    for row in range(3):
        whole = tokens_of(task, row)
        count = min(crops.WINDOWS, math.ceil(len(whole) / 8))
        places = [(len(whole) - 8) * n // max(count - 1, 1) for n in range(count)]
        frame = table[task.tokenizer.cls_token_id] + table[task.tokenizer.sep_token_id]
        expected = sum(frame + table[whole[p : p + 8]].sum(0) for p in places) / count
        torch.testing.assert_close(found[row], expected)


def test_topics_are_told_from_training_documents_alone(folder, monkeypatch):
    task = prepare(folder)
    seen = []
    original = task.features
    monkeypatch.setattr(task, "features", lambda e, i: seen.append(i) or original(e, i))
    encoder = task.encoder().eval()
    with torch.no_grad():
        metrics = task.evaluate(lambda view: encoder(**view), final=True)
    bank, validation, test = (set(index.tolist()) for index in seen)
    assert bank == set(task.subset.tolist()) and validation == set(task.corpus.validation.tolist())
    assert test == set(task.corpus.test.tolist())
    assert {m for values in metrics.values() for m in values} == {"knn", "probe"}


def test_topics_are_knns(folder):
    task = prepare(folder)
    features = torch.randn(60, 4)
    monkey = {"features": lambda e, i: features[i]}
    vars(task).update(monkey)
    metrics = task.evaluate(None, final=True)
    labels = task.corpus.labels
    for split in ("validation", "test"):
        index = getattr(task.corpus, split)
        expected = evaluation.knn_accuracy(
            features[task.bank], labels[task.bank], features[index], labels[index], 2, 1
        )
        assert metrics[split]["knn"] == expected


def test_a_long_corpus_waits_for_the_end(folder, monkeypatch):
    monkeypatch.setattr(base, "MANY", 10)
    assert prepare(folder).evaluate(None, final=False) == {"validation": {}}


def test_halves_are_found_where_features_tell_them(folder):
    """Each document has a word of its own only in its first half, so that nothing tells but it."""
    task = prepare(folder, pairs="halves")
    index = task.corpus.validation
    first, second = task.documents.take(index).halves()
    assert torch.equal(first.lengths + second.lengths, task.documents.lengths[index])
    whole = [(second.starts[i] - first.starts[i] == first.lengths[i]) for i in range(len(index))]
    assert all(whole)
    numbers = iter([torch.eye(10), torch.eye(10), torch.eye(10), torch.eye(10).roll(1, 0)])
    task._mean = lambda embed, some: next(numbers)
    assert task.evaluate(None, final=False) == {"validation": {"retrieval": 100}}
    assert task.evaluate(None, final=False) == {"validation": {"retrieval": 0}}


@pytest.mark.parametrize("pairs", ["none", "halves"])
@pytest.mark.parametrize("encoder", ["bag-of-words", "tf-idf", "lsa"])
def test_references_are_told_by_the_same_metrics(folder, encoder, pairs):
    outcome = loop.run(
        trial(folder, encoder=encoder, objective="untrained", epochs=0, pairs=pairs), "cpu"
    )
    expected = {"knn", "probe"} if pairs == "none" else {"retrieval"}
    assert set(outcome.metrics["test"]) == expected
    if pairs == "none":
        assert outcome.metrics["test"]["probe"] == 100  # the words of a class are its own


def lines(path, labels, count=40):
    """A text file of `count` long lines, the n-th labelled `labels(n)`, or not where that is ""."""
    rows = (f"number{n} {'boat wave shore sail ' * 5}\t{labels(n)}".strip() for n in range(count))
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize("encoder", ["bert2", "tf-idf"])
@pytest.mark.parametrize(
    ("labels", "count", "pairs", "words"),
    [
        (lambda n: "", 40, "halves", "holds out 0 for validation"),
        (lambda n: n % 2, 8, "none", "holds out 0 for validation"),
        (lambda n: n % 2, 19, "none", "holds out 1 for validation"),
        (lambda n: n, 40, "none", "never trained on"),
    ],
)
def test_what_holds_out_nothing_to_tell_is_refused(tmp_path, labels, count, pairs, words, encoder):
    file = lines(tmp_path / "a.tsv", labels, count)
    changes = {"objective": "untrained", "epochs": 0} if encoder == "tf-idf" else {}
    message = refusal(prepare, file, pairs=pairs, encoder=encoder, batch_size=4, **changes)
    assert words in message and str(file) in message


def test_a_file_of_labelled_lines_serves_as_a_folder_does(tmp_path):
    file = lines(tmp_path / "a.tsv", lambda n: n % 2, 60)
    outcome = loop.run(trial(file), "cpu")
    assert set(outcome.metrics["test"]) == {"knn", "probe"}
    assert set(loop.run(trial(file, pairs="halves"), "cpu").metrics["test"]) == {"retrieval"}


def test_few_words_have_few_latent_directions(tmp_path):
    texts = {"sea": "boat wave", "sky": "cloud wind"}
    file = tmp_path / "a.tsv"
    rows = [f"{texts[k]} {'and ' * n}\t{k}\n" for n in range(30) for k in texts]
    file.write_text("".join(rows))
    task = prepare(file, encoder="lsa", objective="untrained", epochs=0)
    assert task.features(None, torch.arange(4)).shape == (4, 5)


def test_what_has_no_words_cannot_be_counted(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_text("".join(f"{'! ' * (n + 1)}\t{n % 2}\n" for n in range(60)))
    changes = {"encoder": "lsa", "objective": "untrained", "epochs": 0}
    assert "no words to count" in refusal(prepare, file, **changes)


def test_sparse_neighbours_are_those_of_dense_rows():
    from scipy.sparse import csr_matrix

    bank, queries = torch.rand(50, 6), torch.rand(20, 6)
    labels, truth = torch.arange(50) % 3, torch.arange(20) % 3
    sparse = [csr_matrix(part.numpy()) for part in (bank, queries)]
    found = metrics.knn_accuracy(sparse[0], labels, sparse[1], truth, 3, 5)
    assert found == evaluation.knn_accuracy(bank, labels, queries, truth, 3, 5)


def test_the_sparse_probe_is_chosen_on_validation_and_fitted_on_rows_of_length_1():
    """Rows of many lengths, and a test set so small that another cost suits it better."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    weights = torch.randn(10)

    def split(n):
        x = torch.rand(n, 10) * 10 ** torch.rand(n, 1)
        return x, (F.normalize(x) @ weights + torch.randn(n) / 2 > weights.sum() / 10**0.5).long()

    bank, parts = split(60), {"validation": split(1000), "test": split(40)}
    expected = []
    for c in (1, 10, 100):
        probe = LogisticRegression(C=c, max_iter=200).fit(F.normalize(bank[0]).numpy(), bank[1])
        scores = (100 * probe.score(F.normalize(x).numpy(), y) for x, y in parts.values())
        expected.append(dict(zip(parts, scores, strict=True)))
    best = max(expected, key=lambda scores: scores["validation"])

    def probed(**labels):
        sparse = {n: (csr_matrix(x.numpy()), labels.get(n, y)) for n, (x, y) in parts.items()}
        return metrics.linear_probe(csr_matrix(bank[0].numpy()), bank[1], sparse, threads=1)

    assert probed() == pytest.approx(best)
    inverted = {"validation": best["validation"], "test": 100 - best["test"]}
    assert probed(test=1 - parts["test"][1]) == pytest.approx(inverted)


def test_documents_without_topics_need_pairs():
    assert "set pairs to 'halves'" in refusal(prepare, "lee-documents")
    task = prepare("lee-documents", pairs="halves", view_size=32)
    assert len(task.corpus.sentences) > 290 and task.classes == 0


# Training


@pytest.mark.parametrize("layer", registry.layers("text", "bert2"))
@pytest.mark.parametrize("transform", ["dropout", "pca"])
def test_each_layer_can_be_targeted_and_takes_effect(folder, layer, transform):
    plain = loop.run(trial(folder), "cpu")
    arm = loop.run(trial(folder, layer=layer, transform=transform, strength=0.5), "cpu")
    assert arm.status == "ok" and arm.curve[0]["loss"] != plain.curve[0]["loss"]


def test_contrastive_training_sees_no_labels(folder, monkeypatch):
    plain = loop.run(trial(folder), "cpu")
    corpus = documents.load(str(folder))
    corpus.labels[corpus.train] = corpus.labels[corpus.train].flip(0)
    shuffled = loop.run(trial(folder), "cpu")
    assert shuffled.curve == plain.curve


def test_the_twin_learns_topics(folder):
    outcome = loop.run(trial(folder, objective="supervised", epochs=8), "cpu")
    assert outcome.metrics["test"]["knn"] > 80


def test_training_twice_gives_the_same(folder):
    arm = trial(folder, layer="block1", transform="dropout", strength=0.5)
    one, other = (loop.run(arm, "cpu") for _ in range(2))
    assert (one.curve, one.metrics) == (other.curve, other.metrics)


def test_golden_trial(folder):
    """Tolerances leave room for another processor or torch, not for another training."""
    outcome = loop.run(trial(folder, epochs=3, schedule="warmup-cosine"), "cpu")
    advice = "training or evaluation changed what a trial measures: raise PROTOCOL"
    assert [point["loss"] for point in outcome.curve] == pytest.approx(GOLDEN, abs=5e-3), advice
