"""Text: SimCSE's views, a BERT in which padding counts for nothing, correlation with scores."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
import torch
import transformers
import yaml
from scipy.stats import spearmanr

from deepaug import cli
from deepaug.method import attach, transforms
from deepaug.training import loop, networks, registry
from deepaug.training.modalities.text import base, corpora, encoders, metrics, tokens
from deepaug.training.modalities.text import task as text
from deepaug.training.trial import Trial

CPU = torch.device("cpu")
WORDS = {
    "pets": ["cat", "dog", "kitten", "puppy", "hamster", "parrot", "goldfish", "rabbit"],
    "meals": ["soup", "bread", "cheese", "apple", "noodle", "pancake", "salad", "rice"],
    "trips": ["train", "harbour", "airport", "ticket", "luggage", "ferry", "border", "hotel"],
}
FRAME = ["the", "a", "of", "with", "and", "near", "some", "was", "had", "before"]
UNTRAINED = {"objective": "untrained", "epochs": 0}


def sentence(random, topic):
    """Three to twelve words, at least one of the topic."""
    frame = random.choice(FRAME, random.integers(2, 9)).tolist()
    for place in random.integers(0, len(frame), random.integers(1, 4)):
        frame.insert(place, str(random.choice(WORDS[topic])))
    return " ".join(frame)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A corpus with topics, the same without, and pairs that share a topic or do not."""
    folder, random = tmp_path_factory.mktemp("text"), np.random.default_rng(0)
    topics = list(WORDS)
    rows = [(sentence(random, topics[n % 3]), topics[n % 3]) for n in range(300)]
    (folder / "topics.txt").write_text("".join(f"{s}\t{t}\n" for s, t in rows))
    (folder / "plain.txt").write_text("".join(f"{s}\n" for s, _ in rows))
    pairs = ["sentence1\tsentence2\tscore"]
    for _ in range(120):
        one, other = random.choice(topics, 2)
        score = int(one == other) + random.uniform(0, 0.5)
        pairs.append(f"{sentence(random, one)}\t{sentence(random, other)}\t{score:.3f}")
    (folder / "pairs.tsv").write_text("\n".join(pairs) + "\n")
    return folder


@pytest.fixture
def trial(files):
    def make(data="topics.txt", pairs="pairs.tsv", **changes):
        settings = {
            "modality": "text",
            "data": str(files / data),
            "pairs": str(files / pairs),
            "encoder": "bert2",
            "width": 16,
            "view_size": 12,
            "epochs": 2,
            "batch_size": 30,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "temperature": 0.05,
        }
        return Trial(**{**settings, **changes})

    return make


@pytest.fixture
def prepared(trial):
    return lambda **changes: text.prepare(trial(**changes), CPU)


@pytest.fixture
def built(trial, prepared):
    def make(**changes):
        return networks.build(trial(**changes), prepared(**changes)).encoder

    return make


def arm(layer="block1", transform="pca", strength=0.5, **changes):
    return {"layer": layer, "transform": transform, "strength": strength, **changes}


def padded(view, more, token=7):
    """The view with `more` columns of padding that hold some token."""
    ids, mask = view["input_ids"], view["attention_mask"]
    empty = ids.new_zeros(len(ids), more)
    return {
        "input_ids": torch.cat([ids, empty + token], 1),
        "attention_mask": torch.cat([mask, empty], 1),
    }


# Tokens


def test_tokens_are_lower_case_and_framed(prepared):
    tokenizer = prepared().tokenizer
    ids = tokenizer("The CAT  was near").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == [
        "[CLS]",
        "▁the",
        "▁cat",
        "▁was",
        "▁near",
        "[SEP]",
    ]
    assert ids == tokenizer("the cat was near").input_ids


def test_what_is_decoded_reads_as_it_was(prepared):
    tokenizer = prepared().tokenizer
    ids = tokenizer("the catnear was near").input_ids
    pieces = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)
    assert any(not piece.startswith("▁") for piece in pieces)  # a word in parts is among them
    assert tokenizer(tokenizer.decode(ids, skip_special_tokens=True)).input_ids == ids


def test_long_sentences_are_cut_and_odd_ones_work(prepared, built):
    task = prepared()
    found = task.tokens(["cat " * 5000, "cat", "", "\u200b", "猫🐈 zyxw"])
    assert found.lengths[:2].tolist() == [12, 3] and found.ids.shape == (5, 12)
    separator = task.tokenizer.sep_token_id
    assert found.ids[0, 11] == separator and found.ids[1, 2] == separator
    assert built().eval()(**found.batch(torch.arange(5))).isfinite().all()


def test_a_vocabulary_trained_again_is_the_same(files, prepared):
    """The library's WordPiece orders ties by hashes, which are others in each training."""
    again = tokens.tokenizer.__wrapped__(str(files / "topics.txt"))
    assert again.get_vocab() == prepared().tokenizer.get_vocab()


# Padding


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_sentence_has_the_same_features_alone_and_in_a_batch(built, prepared, pooling):
    encoder, task = built(pooling=pooling).eval(), prepared()
    together = encoder(**task.train.batch(torch.arange(20)))
    assert task.length[:20].unique().numel() > 3
    for i in range(20):
        alone = encoder(**task.train.batch(torch.tensor([i])))
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


def test_mean_pooling_is_over_a_sentences_own_tokens():
    hidden = torch.tensor([[[1.0], [3.0], [torch.nan]], [[1.0], [2.0], [6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert encoders.Pooling("mean")(hidden, mask).tolist() == [[2.0], [3.0]]
    assert encoders.Pooling("cls")(hidden, mask).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("layer", ["embeddings", "block1", "block2"])
@pytest.mark.parametrize("transform", ["pca", "pca-truncate"])
def test_padding_enters_no_statistic(built, prepared, layer, transform):
    """However much of it there is, and whatever it holds."""
    encoder, task = built(view_strength=0.0).train(), prepared(**arm(layer, transform))
    short = (task.length < 9).nonzero().squeeze(1)
    view = task.train.batch(short)
    seen = []
    transform = networks.TRANSFORMS[transform](0.5)
    with attach.attach(encoder, task.module(layer), transform, mask=task.mask) as handle:
        for shown in (view, padded(view, 4), padded(view, 4, token=9)):
            handle.seed(1)
            seen.append(encoder(**shown))
    plain = encoder(**view)
    for features in seen[1:]:
        torch.testing.assert_close(features, seen[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(seen[0], plain, atol=1e-3)


# Batches


def test_an_epoch_has_every_sentence_once(prepared):
    task = prepared(batch_size=20)  # of 240
    batches = task.batches(torch.Generator().manual_seed(0))
    assert [len(b) for b in batches] == [20] * 12
    assert sorted(torch.cat(batches).tolist()) == list(range(240))


def test_what_fills_no_batch_is_left_out_whatever_its_length(prepared):
    task = prepared(batch_size=70)
    left = torch.zeros(240)
    for seed in range(60):
        batches = task.batches(torch.Generator().manual_seed(seed))
        seen = torch.cat(batches)
        assert [len(b) for b in batches] == [70] * 3 and len(seen.unique()) == 210
        left += 1
        left[seen] -= 1
    lengths = task.length.float()
    assert (lengths * left).sum() / left.sum() == pytest.approx(lengths.mean().item(), rel=0.02)


def test_sentences_of_a_batch_are_of_like_length(prepared):
    task = prepared(batch_size=20)
    batches = task.batches(torch.Generator().manual_seed(0))
    spreads = [(task.length[b].max() - task.length[b].min()).item() for b in batches]
    assert max(spreads) <= 3 < task.length.max() - task.length.min()
    means = [task.length[b].float().mean() for b in batches]
    assert means != sorted(means)  # short batches do not come first


def test_epochs_come_in_other_batches(prepared):
    task = prepared(batch_size=20)
    one, other = (task.batches(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert {frozenset(b.tolist()) for b in one}.isdisjoint(frozenset(b.tolist()) for b in other)


def test_the_subset_is_the_seeds(prepared, files):
    one, other, again = (prepared(samples=100, seed=seed) for seed in (0, 1, 0))
    assert len(one) == 100 and torch.equal(one.subset, again.subset)
    assert not torch.equal(one.subset.sort().values, other.subset.sort().values)
    corpus = corpora.load(str(files / "topics.txt"))
    assert set(one.subset.tolist()) <= set(corpus.train.tolist())


def test_labels_are_those_of_the_sentences_trained_on(prepared):
    """The seed draws these in an order of its own, whose places are no numbers of sentences."""
    task = prepared(samples=100)
    labels = task.labels(torch.arange(100)).tolist()
    for sentence, label in zip(task.texts(task.subset), labels, strict=True):
        assert {*sentence.split()} & {*WORDS[task.corpus.classes[label]]}


# Views


def test_simcses_views_are_the_same_tokens(prepared):
    task = prepared()
    first, second = task.views(0)(torch.arange(30))
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(first[name], second[name])
    assert first["input_ids"].shape[1] == task.length[:30].max()


def test_simcses_views_differ_by_dropout_alone(prepared, built):
    first, second = prepared().views(0)(torch.arange(30))
    encoder = built().train()
    features = encoder(**first), encoder(**second)
    assert all((a != b).any() for a, b in zip(*features, strict=True))  # each sentence's own mask
    encoder.eval()
    assert torch.equal(encoder(**first), encoder(**second))


def dropouts(encoder):
    return {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)}


@pytest.mark.parametrize(
    ("changes", "rate"),
    [({}, 0.1), ({"view_strength": 2.5}, 0.25), ({"view_strength": 0.0}, 0.0)],
)
def test_view_strength_scales_the_networks_dropout(built, changes, rate):
    assert dropouts(built(**changes)) == {rate}
    assert dropouts(built(views="deletion", **changes)) == {0.0}


@pytest.mark.parametrize("views", ["standard", "deletion"])
def test_no_view_strength_is_no_augmentation(prepared, built, views):
    changes = {"views": views, "view_strength": 0.0}
    task, encoder = prepared(**changes), built(**changes).train()
    first, second = task.views(0)(torch.arange(30))
    assert torch.equal(encoder(**first), encoder(**second))
    assert torch.equal(first["input_ids"], task.train.batch(torch.arange(30))["input_ids"])


def rows(view):
    """Each sentence's own tokens."""
    pairs = zip(view["input_ids"], view["attention_mask"].bool(), strict=True)
    return [ids[mask].tolist() for ids, mask in pairs]


def is_part(short, whole):
    left = iter(whole)
    return all(token in left for token in short)


def test_deletion_keeps_order_frame_and_a_word(prepared):
    task = prepared(views="deletion", view_strength=9.0)
    index = torch.arange(240)
    whole = rows(task.train.batch(index))
    for view in task.views(0)(index):
        assert view["input_ids"].shape[1] == view["attention_mask"].sum(1).max()
        for short, long in zip(rows(view), whole, strict=True):
            assert is_part(short, long) and len(short) >= 3
            assert short[0] == long[0] and short[-1] == long[-1]


@pytest.mark.parametrize("strength", [1.0, 4.0])
def test_deletion_is_as_frequent_as_told(strength):
    lengths = torch.full((4000,), 34)
    ids = torch.arange(34).expand(4000, -1)
    draws = torch.rand(4000, 34, generator=torch.Generator().manual_seed(0))
    _, left = tokens.delete(ids, lengths, draws, 0.1 * strength)
    assert 1 - (left - 2).float().mean() / 32 == pytest.approx(0.1 * strength, abs=0.005)


def test_deletion_is_each_views_and_each_sentences(prepared):
    task = prepared(views="deletion", view_strength=5.0)
    view = task.views(0)
    first, second = map(rows, view(torch.arange(240)))
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 120
    same = torch.zeros(6, dtype=torch.int64) + 3
    assert len({tuple(row) for row in rows(view(same)[0])}) == 1  # the sentence's, not its place's
    copy = tokens.Tokens(task.train.ids[same], task.train.lengths[same])
    task.train = copy
    lost = {tuple(row) for row in rows(task.views(0)(torch.arange(6))[0])}
    assert len(lost) > 1  # six sentences of the same words lose different ones


def test_deletion_depends_on_seed_epoch_and_sentence_alone(prepared):
    task = prepared(views="deletion", view_strength=5.0)
    few, many = torch.tensor([5, 17]), torch.tensor([60, 17, 4, 5])
    for view in range(2):
        a, b = rows(task.views(3)(few)[view]), rows(task.views(3)(many)[view])
        assert a[0] == b[3] and a[1] == b[1]
    every = torch.arange(240)
    assert rows(task.views(3)(every)[0]) != rows(task.views(4)(every)[0])


# The encoder and its layers


def test_each_layer_can_be_targeted_and_takes_effect(trial):
    losses = [loop.run(trial(epochs=1, samples=90), "cpu").curve[-1]["loss"]]
    for layer in ("embeddings", "block1", "block2", "pooled"):
        outcome = loop.run(trial(**arm(layer, epochs=1, samples=90)), "cpu")
        assert outcome.status == "ok"
        losses.append(outcome.curve[-1]["loss"])
    assert len(set(losses)) == 5


def test_layers_are_those_of_the_model_in_order(built, prepared):
    encoder = built()
    reached = []
    names = [
        prepared(**arm(layer)).module(layer)
        for layer in ("embeddings", "block1", "block2", "pooled")
    ]
    for name in names:
        module = encoder.get_submodule(name)
        module.register_forward_hook(lambda *_, name=name: reached.append(name))
    encoder(**prepared().train.batch(torch.arange(3)))
    assert reached == names


def test_encoder_is_of_the_size_it_says(built, prepared):
    encoder = built(encoder="bert4", width=128)
    config = encoder.bert.config
    assert (config.num_hidden_layers, config.num_attention_heads) == (4, 2)
    assert (config.intermediate_size, config.max_position_embeddings) == (512, 12)
    assert encoder(**prepared().train.batch(torch.arange(3))).shape == (3, 128)
    assert encoder.features == 128


def test_two_arms_of_a_seed_have_the_same_dropout(trial, prepared, monkeypatch):
    """Below the target nothing tells them apart."""
    seen = []

    class Watched(transforms.Dropout):
        def transform(self, x, mask, groups):
            seen.append(x.detach().clone())
            return super().transform(x, mask, groups) if self.p == 0.5 else x

    monkeypatch.setitem(networks.TRANSFORMS, "dropout", Watched)
    frozen = {"epochs": 1, "learning_rate": 1e-30, "samples": 90}
    for strength in (0.5, 0.3):
        loop.run(trial(**arm("block2", "dropout", strength, **frozen)), "cpu")
    half = len(seen) // 2
    assert half == 6  # three batches, two views
    assert all(torch.equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))
    assert not torch.equal(seen[0], seen[1])


def test_bfloat16_is_finite(trial):
    outcome = loop.run(trial(precision="bfloat16", samples=90, **arm()), "cpu")
    assert outcome.status == "ok" and np.isfinite(outcome.metrics["test"]["spearman"])


def test_training_twice_gives_the_same(trial):
    one, other = (loop.run(trial(samples=90, **arm()), "cpu") for _ in range(2))
    assert one.metrics == other.metrics and one.curve == other.curve


def test_training_learns(trial):
    outcome = loop.run(trial(epochs=4), "cpu")
    losses = [point["loss"] for point in outcome.curve]
    assert losses[-1] < losses[0] - 0.1


def test_the_supervised_twin_learns_topics(trial):
    twin = loop.run(trial(objective="supervised", epochs=4, learning_rate=3e-3), "cpu")
    assert twin.metrics["test"]["probe"] > 80


# Evaluation


def fixed(vectors):
    """A task whose sentences have these features, and its scored pairs by their numbers."""

    def spearman(pairs, scores):
        first, second = (torch.tensor([vectors[p[side]] for p in pairs]) for side in (0, 1))
        return metrics.rank_correlation(first, second, tuple(scores))

    return spearman


def test_correlation_of_a_case_made_by_hand():
    of = fixed([[1.0, 0.0], [3.0, 0.0], [1.0, 1.0], [0.0, 2.0], [-1.0, 0.0]])
    pairs = [(0, 1), (0, 2), (0, 3), (0, 4)]  # cosines 1, 0.71, 0, -1, whatever the lengths
    assert of(pairs, [5, 4, 1, 0]) == pytest.approx(100)
    assert of(pairs, [0, 1, 4, 5]) == pytest.approx(-100)
    assert of(pairs, [5, 1, 4, 0]) == pytest.approx(80)  # 1 - 6·2 / (4·15)


def test_correlation_is_scipys():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(12, 5)).astype(np.float32)
    pairs = list(combinations(range(12), 2))
    scores = random.integers(0, 6, len(pairs)).tolist()  # with ties, as people give them
    cosine = [
        vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])
        for a, b in pairs
    ]
    expected = 100 * spearmanr(cosine, scores).statistic
    assert fixed(vectors.tolist())(pairs, scores) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_features_that_tell_nothing_apart_have_no_correlation(value):
    assert fixed([[value, value]] * 4)([(0, 1), (1, 2), (2, 3)], [1, 2, 3]) == 0


def test_features_go_to_their_own_sentences(prepared, built):
    """They are computed in another order: by length."""
    task, encoder = prepared(), built().eval()
    sentences = ["cat the dog near some rice", "soup", "a train to the harbour had a ticket"]
    found = task.text_features(lambda view: encoder(**view), sentences)
    for row, one in zip(found, sentences, strict=True):
        alone = task.text_features(lambda view: encoder(**view), [one])[0]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-5)


def test_splits_have_their_metrics(trial):
    outcome = loop.run(trial(**UNTRAINED), "cpu")
    assert outcome.metrics["test"].keys() == outcome.metrics["validation"].keys()
    assert outcome.metrics["test"].keys() == {"spearman", "probe"}
    plain = loop.run(trial(data="plain.txt", **UNTRAINED), "cpu")
    assert plain.metrics["test"].keys() == {"spearman"}


def test_the_curve_has_the_validation_metric(trial):
    outcome = loop.run(trial(epochs=8, samples=60), "cpu")
    assert [point["epoch"] for point in outcome.curve if "spearman" in point] == [2, 4, 6]


def test_the_test_split_waits_for_the_end(prepared, built):
    task, encoder = prepared(), built().eval().requires_grad_(False)
    assert task.evaluate(lambda view: encoder(**view), final=False).keys() == {"validation"}


def test_the_probe_learns_from_training_sentences_alone(prepared, monkeypatch):
    monkeypatch.setattr(base, "BANK", 50)
    task, asked = prepared(samples=120), []
    chance = {"validation": 0.0, "test": 0.0}
    monkeypatch.setattr(task, "scored_probe", lambda *a: asked.append(a) or chance)
    task.evaluate(lambda view: torch.zeros(len(view["input_ids"]), 2), final=True)
    bank, labels, queries, threads = asked[0]
    assert len(bank) == 50 and torch.equal(labels, task.corpus.labels[task.subset[:50]])
    assert {split: len(y) for split, (_, y) in queries.items()} == {"validation": 30, "test": 30}
    assert threads == 1


# Word counts


def test_beside_pairs_the_probe_of_lsa_takes_rows_of_length_1(prepared, monkeypatch):
    seen = []

    def regression(inputs, labels, queries, threads, costs):
        seen.append(inputs)
        return dict.fromkeys(queries, 0.0)

    monkeypatch.setattr(metrics.evaluation, "best_regression", regression)
    prepared(encoder="lsa", **UNTRAINED).evaluate(None, final=True)
    (inputs,) = seen
    np.testing.assert_allclose(np.linalg.norm(inputs, axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("encoder", ["bag-of-words", "tf-idf"])
def test_counts_go_the_way_of_a_trial(trial, encoder):
    outcome = loop.run(trial(encoder=encoder, **UNTRAINED), "cpu")
    assert outcome.status == "ok" and outcome.curve == []
    assert outcome.metrics["test"].keys() == {"spearman", "probe"}
    assert outcome.metrics["test"]["probe"] > 90


def test_tf_idf_beats_an_encoder_at_random(trial):
    scores = [
        loop.run(trial(encoder=name, **UNTRAINED), "cpu").metrics["test"]["spearman"]
        for name in ("tf-idf", "bert2")
    ]
    assert scores[0] > max(15, scores[1])


def test_frequent_words_weigh_less_in_tf_idf_alone(prepared):
    pair = ["the cat", "the dog"]
    counted, weighted = (
        metrics.cosine(f[:1], f[1:])[0]
        for f in (
            prepared(encoder=name, **UNTRAINED).text_features(None, pair)
            for name in ("bag-of-words", "tf-idf")
        )
    )
    assert weighted < counted - 0.1 and counted == pytest.approx(0.5)


def test_counts_of_sentences_without_a_known_word_are_alike_nothing():
    from scipy.sparse import csr_matrix

    first, second = csr_matrix([[1.0, 0.0], [0.0, 0.0]]), csr_matrix([[2.0, 0.0], [0.0, 0.0]])
    assert metrics.cosine(first, second).tolist() == [1.0, 0.0]


# What no trial can do without


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": 241}, "240"),
        ({"batch_size": 241}, "240"),
        ({"data": "plain.txt", "objective": "supervised"}, "no labels"),
        ({"view_size": 2}, "view_size"),
        ({"view_strength": 10.0}, "view_strength"),
        ({"width": 200}, "multiple of 64"),
        ({"samples": 1, "batch_size": 1, "objective": "supervised"}, "two of its 3 labels"),
        ({"pairs": "nowhere.tsv"}, "nowhere.tsv"),
        ({"data": "nowhere.txt"}, "nowhere.txt"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_in_a_line(prepared, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        prepared(**changes)
    assert "\n" not in str(caught.value)


# Models of the hub, here from a folder


@pytest.fixture(scope="module")
def distil(files):
    """A DistilBERT and its tokenizer, as a hub's snapshot."""
    folder = files / "owner" / "distil"
    tokenizer = tokens.tokenizer(str(files / "topics.txt"))
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=3, n_heads=2, hidden_dim=32
    )
    transformers.DistilBertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_model_of_the_hub_is_trained_like_another(trial, distil):
    assert len(registry.layers("text", distil)) == 5
    changes = arm("block3", "pca", encoder=distil, learning_rate=1e-4, samples=60)
    outcome = loop.run(trial(**changes), "cpu")
    assert outcome.status == "ok" and outcome.encoder.features == 16


def test_a_model_of_the_hub_keeps_its_weights_and_takes_our_dropout(built, distil):
    encoder = built(encoder=distil, view_strength=2.0)
    kept = transformers.AutoModel.from_pretrained(distil).state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in encoder.bert.state_dict().items())
    assert dropouts(encoder) == {0.2}


def test_a_model_of_the_hub_takes_no_more_tokens_than_it_says(prepared, distil, monkeypatch):
    monkeypatch.setattr(prepared(encoder=distil).tokenizer, "model_max_length", 10)
    with pytest.raises(ValueError, match="view_size 12"):
        prepared(encoder=distil)


def test_a_model_that_the_hub_lacks_is_refused_in_a_line(prepared, files):
    with pytest.raises(ValueError, match="cannot load encoder") as caught:
        prepared(encoder=str(files / "owner" / "nothing"), **arm("block1"))
    assert "\n" not in str(caught.value)


def test_a_block_that_a_model_of_the_hub_lacks_is_refused_with_those_it_has(prepared, distil):
    with pytest.raises(ValueError) as caught:
        prepared(encoder=distil, **arm("block4"))
    for words in ("'block4'", "3 blocks", "allowed: embeddings, block1, block2, block3, pooled"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_at_a_block_that_a_model_lacks_ends_in_a_line(trial, distil, tmp_path, capsys):
    base = dataclasses.asdict(trial(encoder=distil, samples=60))
    del base["seed"], base["protocol"], base["cut"]
    stage = {"seeds": [0], "layers": ["block4"], "transforms": ["pca"], "strengths": [0.5]}
    profile = tmp_path / "mine.yaml"
    study = {"trial": base, "stages": {"quick": stage}}
    profile.write_text(yaml.safe_dump({"seconds": 1, "studies": {"mine": study}}))
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "mine", "--profile", str(profile), "--results", str(tmp_path / "results")])
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert caught.value.code == 2
    assert told.startswith(f"deepaug: encoder {distil!r} has no layer 'block4', but 3 blocks")
    assert "allowed: embeddings, block1" in told
