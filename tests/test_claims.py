"""`deepaug claims`: the table in words and as JSON; what is wrong with records; C6's matrix."""

import json
import shutil
import subprocess
import sys
import time

import pytest
import tiny
import yaml
from synthetic import World, judged, world

from deepaug import cli
from deepaug.studies import records, rulebook
from deepaug.studies.records import Store, with_checksum
from deepaug.training import origin
from deepaug.verdicts import checking, history, table, telling
from deepaug.verdicts.table import networks

CHECKOUT = origin.PACKAGE.parent
FORMS = CHECKOUT / ".github" / "ISSUE_TEMPLATE"


# The table


def test_the_table_reads_at_a_hundred_columns_words_first(monkeypatch, tmp_path):
    changes = {"gains": (0.0, 0.1, 0.2, 0.3), "size": 3.0, "untrained": 44.0}
    for made in (World(), world(**changes), world(untrained=57.3)):
        text = "\n".join(telling.lines(judged(monkeypatch, tmp_path, made)))
        assert max(map(len, text.splitlines())) <= 100
    text = [*telling.lines(judged(monkeypatch, tmp_path, World()))]
    assert "supported: inverse     C2   On the corresponding" in "\n".join(text)
    assert any(line.startswith("  supported            C3b same_transform") for line in text)
    # An effect stands on one line with its p, whatever the name of its test.
    assert not [line for line in text if line.split()[:1] in (["p"], ["0.001"])]
    assert text[-1].startswith("45 of 45 networks") and "C6" in "".join(text[-2:])
    monkeypatch.setattr(table, "NETWORKS", tmp_path / "no such file")
    text = [*telling.lines(judged(monkeypatch, tmp_path, World()))]
    assert text[-1].split()[:2] == ["not", "run"] and "C6" in text[-1]


def test_json_holds_all_and_no_number_that_is_none(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, world(untrained=80.0))
    parsed = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert [cell["claim"] for cell in parsed["cells"]] == [cell.claim for cell in found.cells]
    assert parsed["cells"][0]["tests"][0]["keys"] == list(found.cells[0].tests[0].keys)


def run(*words, root=None):
    begun = time.monotonic()
    command = [sys.executable, "-X", "importtime", "-m", "deepaug", "claims", *words]
    if root:
        command += ["--results", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, time.monotonic() - begun


def test_the_committed_records_take_seconds_and_no_torch():
    done, seconds = run()
    assert done.returncode == 0 and "C3b" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith("| torch")]
    assert seconds < 20  # 2 on an idle core


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "quick"], "no stage that judges"),
        (["--partial"], "--partial needs --check"),
        (["--check", "--json"], "not allowed with"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        cli.main(["claims", *words])
    assert ended.value.code == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "earlier protocol" not in line]
    assert message in told[-1]


# What is wrong with records


@pytest.fixture
def profile(tmp_path):
    return tiny.profile(tmp_path, confirm={"seeds": [100, 101], "controls": ["untrained"]})


@pytest.fixture
def root(tmp_path):
    store = Store(tmp_path / "results", "tiny")
    for seed in (100, 101):
        store.write(tiny.record(tiny.trial(seed=seed)))
        store.write(tiny.record(tiny.trial(seed=seed, objective="untrained", epochs=0)))
    return tmp_path / "results"


def first(root):
    return sorted((root / "tiny").glob("*.json"))[0]


def rewrite(path, change):
    record = json.loads(path.read_text())
    change(record)
    del record["checksum"]
    path.write_text(json.dumps(with_checksum(record)))


FAULTS = {
    "cut short": (lambda p: p.write_text(p.read_text()[:100]), ["is not valid JSON"]),
    "no object": (lambda p: p.write_text("[1]"), ["is damaged"]),
    "edited": (lambda p: p.write_text(p.read_text().replace("50.0", "51.0")), ["checksum"]),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), ["is a folder"]),
    "another trial": (
        lambda p: rewrite(p, lambda r: r["trial"].update(seed=7)),
        ["its trial has key"],
    ),
    "no date": (
        lambda p: rewrite(p, lambda r: r.update(created="yesterday")),
        ["does not fit the schema: created"],
    ),
    "another name": (lambda p: p.rename(p.with_name("0" * 16 + ".json")), ["belongs to key"]),
    "twice": (
        lambda p: shutil.copy(p, p.with_name("copy.json")),
        ["belongs to key", "has 2 records"],
    ),
    "set aside": (lambda p: p.rename(p.with_suffix(".damaged")), ["set aside", "missing: "]),
    "removed": (lambda p: p.unlink(), ["missing: "]),
}


@pytest.mark.parametrize(("spoil", "messages"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_a_line_and_exit_2(monkeypatch, capsys, profile, root, spoil, messages):
    monkeypatch.setattr(history, "changes", lambda *_: [])
    spoil(first(root))
    before = tiny.tree(root)
    arguments = ["claims", "--check", "--profile", str(profile), "--results", str(root)]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and tiny.tree(root) == before
    said = capsys.readouterr().out.splitlines()
    for message in messages:
        assert sum(message in line for line in said) == 1, message
    assert said[-1].split()[1].startswith("fault")
    # What is still to come may be lacking; what is there must be whole.
    may_pass = messages == ["missing: "]
    if may_pass:
        cli.main([*arguments, "--partial"])
    else:
        with pytest.raises(SystemExit):
            cli.main([*arguments, "--partial"])


def test_whole_records_have_no_fault(monkeypatch, capsys, profile, root):
    monkeypatch.setattr(history, "changes", lambda *_: [])
    cli.main(["claims", "--check", "--profile", str(profile), "--results", str(root)])
    assert capsys.readouterr().out == f"0 faults in the records of {profile}\n"


def test_missing_is_also_what_waits_for_a_choice(monkeypatch, tmp_path):
    monkeypatch.setattr(history, "changes", lambda *_: [])
    chosen = {"seeds": [100], "chosen_from": "tuning"}
    tuning = {"seeds": [2], "tune": {"temperature": [0.2, 0.4]}}
    path = tiny.profile(tmp_path, tuning=tuning, confirm=chosen)
    found = [*checking.faults(str(path), tmp_path / "results")]
    assert [line for line in found if "confirm" in line and "waits for tuning" in line]
    assert sum("vision tuning: " in line for line in found) == 3


def test_rules_that_changed_after_a_record_are_a_fault(monkeypatch, profile, root):
    change = history.Change("tiny/a.json", "0" * 40, "C1", "effect was a and is b")
    monkeypatch.setattr(history, "changes", lambda *_: [change])
    (line,) = checking.faults(str(profile), root)
    assert line.startswith("rules changed after a record: tiny/a.json, added in 0000")


@pytest.fixture
def checkout(tmp_path):
    """A repository of two commits."""
    folder = tmp_path / "checkout"
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for message in ("one", "two"):
        words = ["commit", "-q", "--allow-empty", "--no-verify", "-m", message]
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True)
    return folder


def test_a_shallow_clone_is_a_fault_and_no_git_a_note(
    monkeypatch, capsys, tmp_path, checkout, profile, root
):
    arguments = ["claims", "--check", "--partial", "--profile", str(profile)]
    arguments += ["--results", str(root)]
    shallow = tmp_path / "shallow"
    clone = ["git", "clone", "-q", "--depth", "1", checkout.as_uri(), str(shallow)]
    subprocess.run(clone, check=True)
    monkeypatch.setattr(checking, "CHECKOUT", shallow)
    with pytest.raises(SystemExit):
        cli.main(arguments)
    said = capsys.readouterr()
    assert "git fetch --unshallow" in said.out and "shallow clone" in said.err
    monkeypatch.setattr(checking, "CHECKOUT", tmp_path)
    cli.main(arguments)
    said = capsys.readouterr()
    assert said.out.startswith("0 faults") and "is not a git checkout" in said.err


def test_without_jsonschema_one_line_says_what_to_install(monkeypatch, capsys, profile, root):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["claims", "--check", "--profile", str(profile), "--results", str(root)])
    assert ended.value.code == 2
    assert "jsonschema is not installed; pip install" in capsys.readouterr().err


def test_the_committed_records_are_whole():
    """Those of every profile that has any; what is missing is still to come."""
    for folder in {path.parent.name for path in records.files(CHECKOUT / "results")} - {"quick"}:
        assert [*checking.faults(folder, CHECKOUT / "results", partial=True)] == []


# C6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "not run"),
        (
            {
                "networks": {"resnet18": "passed", "vit": "skipped"},
                "pipelines": {"plain loop": "passed"},
                "revision": "0" * 40,
                "versions": {"torch": "2.11"},
            },
            "1 of 2 networks, 1 of 1 pipelines",
        ),
        ({"networks": ["resnet18"], "pipelines": {}}, "is not a matrix"),
        ("{", "is not a matrix"),
    ],
)
def test_networks_and_pipelines_are_counted(tmp_path, content, told):
    path = tmp_path / "networks.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    if told.startswith("is not"):
        with pytest.raises(ValueError, match=told):
            networks(path)
    else:
        assert networks(path) == told


# What is sent in


def test_forms_ask_and_the_workflow_checks():
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in FORMS.glob("*.yml")}
    assert forms.keys() == {"records", "reading"}
    for form in forms.values():
        assert form["name"] and form["description"]
        fields = [field["id"] for field in form["body"]]
        assert len(set(fields)) == len(fields)
        assert any(field.get("validations", {}).get("required") for field in form["body"])
    (claim,) = (f for f in forms["reading"]["body"] if f["id"] == "claim")
    assert claim["attributes"]["options"] == [*rulebook.rules()["claims"], "none"]
    jobs = yaml.safe_load((CHECKOUT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = " ".join(step.get("run", "") for step in jobs["records"]["steps"])
    assert "deepaug claims --check --partial" in steps


def test_the_book_is_built_of_checked_records():
    snakefile = (CHECKOUT / "workflow" / "Snakefile").read_text()
    assert snakefile.count('"build/claims.txt",') == 2
    assert "deepaug claims --check --partial" in snakefile
