"""A trial's key, the errors of its fields, and the seeds it derives."""

import dataclasses
import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny

from deepaug.studies import publish
from deepaug.studies.records import Store, read_record
from deepaug.training import registry
from deepaug.training.trial import PROTOCOL, PROTOCOLS, WAYS, Trial, derive

ARM = {"layer": "stem", "transform": "dropout", "strength": 0.5}
GRAPHS = {"modality": "graphs", "encoder": "gin3"}
TEXT = {"modality": "text", "encoder": "bert4", "pairs": "sts"}
# Fields that vision leaves no choice of: where to try them, and another value.
OTHER_ELSEWHERE = {
    "modality": (GRAPHS, "vision"),
    "pairs": (TEXT, "lee"),
    "held_out": (GRAPHS, 0.2),
    "pooling": (GRAPHS, "sum"),
    "views": (GRAPHS, "nodes"),
}
# Another value than ARM's or the default for every other field.
OTHER = {
    "data": "cifar10",
    "samples": 500,
    "objective": "supervised",
    "encoder": "resnet10",
    "width": 32,
    "view_size": 16,
    "view_strength": 0.5,
    "epochs": 10,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "schedule": "linear",
    "weight_decay": 0.0,
    "temperature": 0.1,
    "layer": "stage4",
    "transform": "pca",
    "strength": 0.2,
    "stop_gradient": "one",
    "transformed": "same",
    "statistics": "plain",
    "cut": "stage2",
    "seed": 1,
    "precision": "bfloat16",
    "threads": 2,
    "protocol": PROTOCOL + 1,
}


def refusal(**fields) -> str:
    with pytest.raises(ValueError) as caught:
        Trial.from_dict(fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_keys_are_stable():
    """Records are found by these: a change orphans every one of them."""
    assert Trial(protocol=1).key == "6d76d6a408f17555"
    assert Trial(protocol=1, **ARM, seed=7, learning_rate=1e-3).key == "12cbeaa7f94eb667"


def test_keys_from_before_networks_were_cut_are_stable():
    assert Trial(protocol=1, cut="none").key == "6d76d6a408f17555"
    assert "cut" not in json.loads(Trial(**ARM).canonical)
    older = {name: value for name, value in Trial(**ARM).to_dict().items() if name != "cut"}
    assert Trial.from_dict(older) == Trial(**ARM)


CUTS = {
    "resnet10": ("stem", "stage1", "stage2", "stage3"),
    "bert2": ("embeddings", "block1"),
    "gcn3": ("embeddings", "layer1", "layer2"),
    "gin3": ("layer1", "layer2"),
}


@pytest.mark.parametrize("modality", registry.NAMES)
def test_a_cut_has_something_to_train_on_both_sides(modality):
    for encoder in registry.MODALITIES[modality].encoders:
        layers = registry.layers(modality, encoder)
        fields = {"modality": modality, "encoder": encoder}
        allowed = [layer for layer in layers if layer in CUTS.get(encoder, layers)]
        if encoder in CUTS:
            assert tuple(allowed) == CUTS[encoder] == registry.cuts(modality, encoder)
            assert Trial(**fields).trainings == 1
            assert {Trial(**fields, cut=cut).trainings for cut in allowed} == {3}
            for layer in set(layers) - set(allowed):
                message = refusal(**fields, cut=layer)
                assert f"unknown cut: {layer!r}" in message and f"of {encoder}" in message


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cut": "stage5"}, ["'stage5'", "nearest: 'stage3'"]),
        ({"cut": "stagee2"}, ["unknown cut: 'stagee2'", "nearest: 'stage2'"]),
        ({"cut": "input"}, ["unknown cut: 'input'", "layers to train on both sides"]),
        ({"cut": ""}, ["unknown cut: ''", "'stem', 'stage1', 'stage2', 'stage3'"]),
        ({"cut": None}, ["cut must be text, not None"]),
        ({"cut": "stem", "objective": "untrained", "epochs": 0}, ["cut 'stem' needs a trained"]),
        ({**TEXT, "encoder": "owner/name", "cut": "block3"}, ["'owner/name' comes trained"]),
    ],
)
def test_a_cut_that_cannot_be_is_refused(no_network, fields, named):
    message = refusal(**fields)
    for words in named:
        assert words in message


def test_key_ignores_the_order_of_fields():
    fields = Trial(**ARM).to_dict()
    assert Trial.from_dict(dict(reversed(fields.items()))).key == Trial(**ARM).key


def test_key_ignores_whether_a_float_was_written_as_an_int():
    assert Trial(temperature=1).key == Trial(temperature=1.0).key


def test_every_field_is_tried():
    assert {f.name for f in dataclasses.fields(Trial)} == {*OTHER_ELSEWHERE, *OTHER}


@pytest.mark.parametrize("field", OTHER)
def test_key_changes_with(field):
    assert Trial(**{**ARM, field: OTHER[field]}).key != Trial(**ARM).key


@pytest.mark.parametrize("field", ["pairs", "held_out", "pooling", "views"])
def test_key_changes_with_what_vision_does_not_have(field):
    base, value = OTHER_ELSEWHERE[field]
    assert Trial(**{**base, field: value}).key != Trial(**base).key


def test_pairs_evaluate_text_alone():
    assert "for text alone" in refusal(pairs="sts")
    assert Trial(modality="text", encoder="bert4").pairs == "none"  # told apart by topics


def test_a_transform_that_changed_alone_has_a_protocol_of_its_own():
    """Records of the others stay; old ones of its own are told by their number."""
    plain, old = Trial(), Trial(**{**ARM, "transform": "pca"}, protocol=PROTOCOL)
    changed = dataclasses.replace(plain, **{**ARM, "transform": "pca"})
    assert (changed.protocol, changed.to_dict()["protocol"]) == (0, PROTOCOLS["pca"])
    assert (old.protocol, old.to_dict()["protocol"]) == (PROTOCOL, PROTOCOL)
    assert changed.key == Trial(**{**ARM, "transform": "pca"}).key != old.key
    assert Trial.from_dict(changed.to_dict()) == changed
    assert Trial.from_dict(old.to_dict()) == old
    assert dataclasses.replace(changed, transform="dropout").key == Trial(**ARM).key


@pytest.mark.parametrize("name", WAYS)
def test_a_way_is_known_by_its_name(name):
    assert Trial(**ARM, **WAYS[name]).way == name


def test_one_mask_in_both_views_is_no_way():
    assert Trial(**ARM, transformed="same").way == "same-mask"


def test_images_and_text_have_splits_of_their_own():
    assert "held_out" in refusal(held_out=0.2)


def test_word_counts_have_nothing_to_train():
    assert "nothing to train" in refusal(**{**TEXT, "encoder": "tf-idf"})
    assert "unknown encoder: '/'" in refusal(**{**TEXT, "encoder": "/"})
    Trial(**{**TEXT, "encoder": "tf-idf", "objective": "untrained", "epochs": 0})


@pytest.fixture
def no_network(monkeypatch):
    """Neither asked nor prepared to be: what talks to the hub is not loaded either."""

    def refuse(*_, **__):
        raise AssertionError("a trial asked the network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setitem(sys.modules, "deepaug.training.modalities.text.encoders", None)


HUB = {**TEXT, "encoder": "owner/name"}


@pytest.mark.parametrize("layer", ["embeddings", "block1", "block7", "block120", "pooled"])
def test_a_layer_of_a_model_of_the_hub_is_known_by_its_name_alone(no_network, layer):
    assert Trial(**{**HUB, **ARM, "layer": layer}).layer == layer


@pytest.mark.parametrize("layer", ["input", "block", "block0", "block07", "block-1", "blocks", "x"])
def test_what_no_model_of_the_hub_has_is_refused_by_its_name_alone(no_network, layer):
    message = refusal(**{**HUB, **ARM, "layer": layer})
    for words in (repr(layer), "'embeddings'", "'block1'", "'pooled'"):
        assert words in message


def test_a_record_of_a_model_of_the_hub_is_read_without_a_network(no_network, tmp_path):
    trial = Trial(**{**HUB, **ARM, "layer": "block7"})
    store = Store(tmp_path, "quick")
    store.write(tiny.record(trial))
    assert read_record(store.path(trial.key))["key"] == trial.key
    assert list(publish.table(tmp_path)["trial.layer"]) == ["block7"]


@pytest.mark.parametrize("field", ["views", "pooling"])
def test_names_are_those_of_the_modality(field):
    assert "of vision" in refusal(**{field: OTHER_ELSEWHERE[field][1]})


def test_canonical_form_holds_what_differs_from_the_defaults():
    assert json.loads(Trial().canonical) == {"protocol": PROTOCOL}
    assert json.loads(Trial(seed=3).canonical) == {"protocol": PROTOCOL, "seed": 3}


def test_a_field_added_later_keeps_old_keys():
    @dataclass(frozen=True)
    class Later(Trial):
        warm_up: int = 0

    assert Later(**ARM).key == Trial(**ARM).key
    assert Later(**ARM, warm_up=5).key != Trial(**ARM).key


def test_survives_json():
    trial = Trial(**ARM, learning_rate=1e-3)
    assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", "1e-3"),
        ("learning_rate", True),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        pytest.param("learning_rate", 10**400, id="learning_rate-huge"),
        ("learning_rate", None),
        ("epochs", 2.5),
        ("epochs", 2.0),
        ("epochs", True),
        ("epochs", "2"),
        ("layer", None),
        ("data", 5),
        ("data", ["mnist-5k"]),
    ],
)
def test_wrong_type_is_refused(field, value):
    assert field in refusal(**{field: value})


@pytest.mark.parametrize(("field", "good", "bad"), [("epochs", 1, True), ("epochs", 2, 2.0)])
def test_a_value_that_equals_one_of_a_valid_trial_is_refused_all_the_same(field, good, bad):
    for _ in range(2):
        assert getattr(Trial(**{field: good}), field) is good
        assert field in refusal(**{field: bad})


def test_a_float_in_quotes_gets_the_hint_about_yaml():
    assert "without quotation marks" in refusal(learning_rate="1e-3")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0),
        ("width", -1),
        ("view_size", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("temperature", -0.5),
        ("threads", 0),
        ("samples", -1),
        ("view_strength", -0.1),
        ("weight_decay", -1e-4),
        ("seed", -1),
        ("seed", 2**31),
        ("epochs", 0),  # of a trained encoder
        ("strength", -0.1),
        ("strength", 1.0),
        ("strength", math.nan),
        ("strength", "high"),
    ],
)
def test_value_out_of_range_is_refused(field, value):
    assert field in refusal(**{**ARM, field: value})


@pytest.mark.parametrize(
    ("field", "value", "nearest"),
    [
        ("layer", "stage5", "stage4"),
        ("layer", "layer4", "stage4"),
        ("transform", "dropuot", "dropout"),
        ("encoder", "resnet19", "resnet18"),
        ("modality", "visoin", "vision"),
        ("objective", "contrast", "contrastive"),
        ("optimizer", "adamW", "adamw"),
        ("schedule", "cosin", "cosine"),
        ("precision", "float16", "bfloat16"),
        ("stop_gradient", "on", "one"),
        ("transformed", "bothe", "both"),
    ],
)
def test_unknown_choice_is_answered_with_the_nearest(field, value, nearest):
    message = refusal(**{**ARM, field: value})
    assert field in message and repr(value) in message and repr(nearest) in message


def test_unknown_field_is_answered_with_the_nearest():
    message = refusal(learning_rat=0.1)
    assert "'learning_rat'" in message and "'learning_rate'" in message


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"layer": "stem"}, "transform"),
        ({"transform": "pca"}, "layer"),
        ({"strength": 0.5}, "strength"),
        ({"stop_gradient": "one"}, "stop_gradient"),
        ({"transformed": "same"}, "transformed"),
        ({"objective": "untrained"}, "epochs"),
        ({"samples": 100, "batch_size": 101}, "batch_size"),
    ],
)
def test_contradiction_is_refused(fields, named):
    assert named in refusal(**fields)


def test_a_batch_may_be_all_the_data():
    assert Trial(samples=100, batch_size=100).batch_size == 100


def test_purposes_seeds_and_steps_derive_distinct_streams():
    purposes = ("initialisation", "subset", "order", "views", "transform")
    purposes += ("dropout", "retraining", "similarity")
    every = [derive(*of) for of in itertools.product(range(20), purposes, range(15))]
    assert len(set(every)) == len(every)
    assert all(0 <= seed < 2**63 for seed in every)


def test_derived_seeds_are_stable():
    """Another stream would unpair what is recorded from what is yet to run."""
    assert derive(0, "views") == 6152487358802696575
    assert derive(100, "transform", 7) == 4361012579457015605


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny.trial().seed = 1


@pytest.mark.parametrize("name", ["width", "view_size", "batch_size", "threads", "seed"])
def test_sizes_that_no_memory_holds_are_refused(name):
    assert f"{name} must be below" in refusal(**{name: 10**30})


def test_an_empty_folder_of_data_is_none(monkeypatch):
    """An unset variable of the shell: the working folder is not meant."""
    monkeypatch.setenv("DEEPAUG_DATA", "")
    assert registry.data_root() == Path.home() / ".cache" / "deepaug"
