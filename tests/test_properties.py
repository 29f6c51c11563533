"""Whatever is given, it is taken as meant or refused in one line with nothing written.

200 cases each; `pytest -m slow tests/test_properties.py` tries 10,000.
"""

import contextlib
import copy
import io
import json
import tempfile
from pathlib import Path

import pytest
import tiny
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepaug import plain
from deepaug.studies import catalogue, records
from deepaug.studies.records import Store
from deepaug.training.trial import CHOICES, Trial

CASES = [200, pytest.param(10_000, marks=pytest.mark.slow)]
TEXT = st.text(max_size=30) | st.sampled_from(
    ["../..", "/etc/passwd", "a\nb", "\x00", "!!python/object:os.system", "none", "1e-3", "~"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def thoroughly(cases: int, strategy, check) -> None:
    """Try `check` on that many examples; the same ones every time."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run = settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=quiet,
    )(given(strategy)(check))
    run()


def one_line(error: Exception) -> None:
    assert str(error).strip() and len(str(error).splitlines()) == 1, repr(str(error))


FIELDS = {
    **{name: st.sampled_from(allowed) for name, allowed in CHOICES.items()},
    "encoder": st.sampled_from(["resnet10", "resnet18", "bert2", "gin3", "counts", "tf-idf"]),
    "layer": st.sampled_from(["none", "input", "stem", "stage4", "pooled", "embeddings", "gin1"]),
    "strength": st.floats(0, 1),
    "epochs": st.integers(0, 3),
}


@st.composite
def changes(draw, names: list[str], good: dict) -> dict:
    """Some fields, most of a value that may be right."""
    chosen = draw(st.lists(st.sampled_from(names), max_size=4, unique=True))
    return {name: draw(good.get(name, PLAIN) | PLAIN) for name in chosen}


@pytest.mark.parametrize("cases", CASES)
def test_trials(cases):
    def check(fields):
        try:
            trial = Trial.from_dict({**tiny.SETTINGS, **fields})
        except ValueError as error:
            return one_line(error)
        again = Trial.from_dict(json.loads(json.dumps(trial.to_dict())))
        assert again == trial and again.key == trial.key
        assert len(trial.key) == 16 and set(trial.key) <= set("0123456789abcdef")
        return None

    names = [*Trial.__dataclass_fields__, "warm_up", "../key"]
    thoroughly(cases, changes(names, FIELDS), check)


PROFILE = {
    "trial": {"precision": "float32"},
    "seconds": 10,
    "studies": {
        "vision": {
            "trial": dict(tiny.SETTINGS),
            "stages": {
                "quick": {
                    "seeds": [0, 1],
                    "controls": ["untrained"],
                    "layers": ["input", "pooled"],
                    "transforms": ["pca"],
                    "strengths": [0.5],
                    "variants": {"longer": {"epochs": 3}},
                    "tune": {"temperature": [0.2, 0.5]},
                    "arm_controls": ["same-mask"],
                },
            },
        }
    },
}


def places(tree, here=()) -> list[tuple]:
    """The path of every node of nested dicts and lists."""
    found = [here]
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += places(value, (*here, key))
    return found


@st.composite
def mutated(draw, tree) -> object:
    """The tree with one to three nodes replaced, removed or added."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(places(tree)))
        if not where:
            continue
        node = tree
        for step in where[:-1]:
            node = node[step]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                node[where[-1]] = draw(PLAIN)
            case "remove":
                del node[where[-1]]
            case "add" if isinstance(node, dict):
                node[draw(TEXT)] = draw(PLAIN)
    return tree


@pytest.mark.parametrize("cases", CASES)
def test_profiles(cases, tmp_path):
    path = tmp_path / "own.yaml"

    def check(content):
        path.write_text(yaml.safe_dump(content), errors="replace")
        try:
            study = catalogue.load("vision", str(path), tmp_path / "results")
            assert all(entry.trial.key for entry in study.entries())
        except ValueError as error:
            one_line(error)
        assert list(tiny.tree(tmp_path)) == ["own.yaml"]

    thoroughly(cases, mutated(PROFILE), check)


@pytest.mark.parametrize("cases", CASES)
def test_profiles_that_are_any_text(cases, tmp_path):
    path = tmp_path / "own.yaml"

    def check(content):
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        )
        with pytest.raises(ValueError) as caught:
            catalogue.load("vision", str(path), tmp_path / "results")
        one_line(caught.value)
        assert list(tiny.tree(tmp_path)) == ["own.yaml"]

    thoroughly(cases, st.binary(max_size=60) | st.text(max_size=60), check)


TRIAL = tiny.trial()
RECORD = tiny.record(TRIAL)


@st.composite
def files(draw) -> bytes:
    """A record's file: whole, mutated, or with its bytes cut or changed."""
    text = json.dumps(draw(st.just(RECORD) | mutated(RECORD)), indent=1).encode()
    match draw(st.sampled_from(["whole", "cut", "flip", "insert"])):
        case "cut":
            text = text[: draw(st.integers(0, len(text)))]
        case "flip":
            at = draw(st.integers(0, len(text) - 1)) if text else 0
            text = text[:at] + bytes([draw(st.integers(0, 255))]) + text[at + 1 :]
        case "insert":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.binary(max_size=5)) + text[at:]
    return text


@pytest.mark.parametrize("cases", CASES)
def test_records(cases):
    def check(content):
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder), "quick")
            store.folder.mkdir()
            store.path(TRIAL.key).write_bytes(content)
            told = io.StringIO()
            with contextlib.redirect_stderr(told):
                record = store.read(TRIAL)
            if record is None:  # kept aside, byte for byte, and said in one line
                assert tiny.tree(store.folder) == {f"{TRIAL.key}.damaged": content}
                assert len(told.getvalue().splitlines()) == 1
            else:
                assert record == RECORD and not told.getvalue()

    thoroughly(cases, files(), check)


@pytest.mark.parametrize("cases", CASES)
def test_records_that_are_written(cases, tmp_path):
    store = Store(tmp_path, "quick")

    def check(content):
        try:
            store.write(content)
        except ValueError as error:
            one_line(error)
            assert not store.folder.exists()
        else:
            assert content == RECORD
            store.path(TRIAL.key).unlink()
            store.folder.rmdir()

    thoroughly(cases, mutated(RECORD), check)


@pytest.mark.parametrize("cases", CASES)
def test_parameters_of_notebooks(cases, tmp_path, monkeypatch):
    notebooks = pytest.importorskip("deepaug.pages.notebooks")
    pytest.importorskip("jupytext", reason="the book's tools are not installed")
    monkeypatch.chdir(tmp_path)
    names = st.sampled_from(["profile", "layers", "strengths", "seeds", "data", "In", "__import__"])

    def check(parameters):
        try:
            given = {n: plain.load(f"parameter {text!r}", text) for n, text in parameters.items()}
            values = notebooks.values_of("vision", given)
            assert json.loads(json.dumps(values)) is not None, "not plain data"
        except ValueError as error:
            one_line(error)
        assert not tiny.tree(tmp_path)

    values = TEXT | PLAIN.map(lambda value: json.dumps(value, default=str))
    thoroughly(cases, st.dictionaries(names | TEXT, values, max_size=2), check)


def test_the_unchanged_ones_pass(tmp_path):
    """What the tests above start from is right; else they would pass on anything."""
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(PROFILE))
    assert len(catalogue.load("vision", str(path), tmp_path / "results").entries()) == 16
    records.check(RECORD)
