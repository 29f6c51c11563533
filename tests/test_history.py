"""What judges a record is what it was when the record was added."""

import re
import subprocess
from pathlib import Path

import pytest
import tiny
import yaml

from deepaug.studies import records, rulebook
from deepaug.studies.profile import packaged
from deepaug.training import origin
from deepaug.verdicts import history
from deepaug.verdicts.history import HistoryError, NoHistory, difference

CHECKOUT = origin.PACKAGE.parent
PROFILES = packaged()


def test_no_rule_has_changed_since_the_records_it_judges_were_added():
    """Of every profile's committed records, by the checkout's own history."""
    rules, judged = rulebook.rules(), {}
    for profile in PROFILES:
        judged |= history.judged(rules, profile, CHECKOUT / "results")
    try:
        found = [*map(str, history.changes(CHECKOUT, rules, judged))]
    except NoHistory as error:
        pytest.skip(str(error))
    told = "\n".join(found[:20])
    assert not found, f"rules changed after the fact, {len(found)} times; fresh seeds?\n{told}"


def test_every_claim_that_records_judge_names_stages_of_the_agenda():
    """A claim that named no stage, or a misspelt one, would be held to nothing."""
    rules = rulebook.rules()
    stages = rules["order"]["stages"]
    for name, claim in rules["claims"].items():
        assert set(claim.get("records", ())) <= set(stages), name
        # A matrix of networks passes or fails by its own tests; all other claims by records.
        assert claim.get("records") or "pass or fail" in claim["verdict"], name
    judging = [stage for stage, settings in rules["stages"].items() if settings["judges"]]
    assert set(judging) == {"confirm", "controls", "longer"}


def test_workflows_that_test_or_build_fetch_the_whole_history():
    tested = 0
    for path in (CHECKOUT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            steps = job["steps"]
            asks_git = r"\bmake\b.*\b(test|book)\b|pytest|claims --check"
            if not any(re.search(asks_git, s.get("run", "")) for s in steps):
                continue
            tested += 1
            (checkout,) = (s for s in steps if s.get("uses", "").startswith("actions/checkout@"))
            assert checkout["with"]["fetch-depth"] == 0, path.name
    assert tested


RULES = """
bases: {vision: "a base"}   # as the profile has it
stages: {pilot: {judges: false}, confirm: {seeds: [100, 101], judges: true}, longer: {judges: true}}
interval: {confidence: 0.95}
claims:
  C1: {effect: "arm minus baseline", records: [own confirm]}
  C2: {effect: "contrastive minus twin", records: [twins confirm]}
budget: {hours: 10}
"""
PROFILE = {
    "vision": {
        "trial": tiny.SETTINGS,
        "stages": {
            "pilot": {"seeds": [0]},
            "confirm": {"seeds": [100]},
            "longer": {"seeds": [100], "trial": {"epochs": 4}},
        },
    },
    "twins": {
        "of": {"vision": {}},
        "stages": {"confirm": {"seeds": [101], "objectives": ["supervised"]}},
    },
}
C1_RECORD = tiny.trial(seed=100)
C2_RECORD = tiny.trial(seed=101, objective="supervised")
LONGER = tiny.trial(seed=100, epochs=4)
PILOT = tiny.trial(seed=0)

# Nothing of the user's own configuration takes part.
SETTINGS = {
    "user.name": "nobody",
    "user.email": "nobody@example.org",
    "commit.gpgsign": "false",
    "core.hooksPath": "/dev/null",
}
CONFIGURED = [word for item in SETTINGS.items() for word in ("-c", "=".join(item))]


class Checkout:
    """A git repository with rules, a profile and records of its own."""

    def __init__(self, folder: Path):
        self.folder, self.place = folder, "package/claims.yaml"
        self.git("init", "-q", "-b", "main")
        self.profile = folder / "small.yaml"
        self.profile.write_text(yaml.safe_dump({"studies": PROFILE}))
        self.write(RULES)
        self.commit()

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *CONFIGURED, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, rules: str) -> None:
        path = self.folder / self.place
        path.parent.mkdir(exist_ok=True)
        path.write_text(rules)

    def change(self, before: str, after: str, commit: bool = True) -> None:
        text = (self.folder / self.place).read_text()
        assert text.count(before) == 1
        self.write(text.replace(before, after))
        if commit:
            self.commit()

    def record(self, *trials, commit: bool = True) -> None:
        store = records.Store(self.folder / "results", "small")
        for trial in trials:
            store.write(tiny.record(trial))
        if commit:
            self.commit()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def found(self, results: str = "results") -> list[history.Change]:
        rules = yaml.safe_load((self.folder / self.place).read_text())
        judged = history.judged(rules, str(self.profile), self.folder / results)
        return [*history.changes(self.folder, rules, judged)]

    def blocks(self) -> list[tuple[str, str]]:
        return sorted((Path(change.record).stem, change.block) for change in self.found())


@pytest.fixture
def checkout(tmp_path):
    try:
        return Checkout(tmp_path)
    except FileNotFoundError:
        pytest.skip("git is not installed")


def test_rules_that_stay_are_no_change(checkout):
    checkout.record(C1_RECORD, C2_RECORD, LONGER)
    assert checkout.blocks() == []


def test_a_claim_changed_after_its_record_is_told_in_one_line(checkout):
    checkout.record(C1_RECORD)
    commit = checkout.git("rev-parse", "HEAD")
    checkout.change("arm minus baseline", "arm minus the best baseline")
    (change,) = checkout.found()
    assert str(change) == (
        f"small/{C1_RECORD.key}.json, added in {commit[:12]}: C1: effect was 'arm minus baseline' "
        f"and is 'arm minus the best baseline'"
    )


def test_a_claim_changed_before_its_record_is_no_change(checkout):
    checkout.change("arm minus baseline", "arm minus the best baseline")
    checkout.record(C1_RECORD)
    assert checkout.blocks() == []


def test_records_of_another_claim_stay_judged(checkout):
    checkout.record(C1_RECORD, C2_RECORD)
    checkout.change("contrastive minus twin", "twin minus contrastive")
    assert checkout.blocks() == [(C2_RECORD.key, "C2")]


def test_a_claim_that_was_not_there_is_a_change(checkout):
    checkout.record(C1_RECORD)
    checkout.change("claims:\n", "claims:\n  C9: {effect: more, records: [own confirm]}\n")
    assert checkout.blocks() == [(C1_RECORD.key, "C9")]


def test_a_common_block_changed_is_a_change_for_all(checkout):
    checkout.record(C1_RECORD, C2_RECORD)
    checkout.change("0.95", "0.9")
    assert checkout.blocks() == sorted([(C1_RECORD.key, "interval"), (C2_RECORD.key, "interval")])


@pytest.mark.parametrize("block", ["extra: {level: 0.1}\n", ""])
def test_a_common_block_that_comes_or_goes_is_a_change(checkout, block):
    checkout.record(C1_RECORD)
    checkout.change(
        "interval: {confidence: 0.95}\n", block and "interval: {confidence: 0.95}\n" + block
    )
    assert checkout.blocks() == [(C1_RECORD.key, "extra" if block else "interval")]


def test_a_stage_that_no_claim_names_is_held_to_the_common_blocks(checkout):
    checkout.record(LONGER)
    checkout.change("arm minus baseline", "another")
    assert checkout.blocks() == []
    checkout.change("0.95", "0.9")
    assert checkout.blocks() == [(LONGER.key, "interval")]


@pytest.mark.parametrize("block", ["published", "references", "outside", "budget", "order"])
def test_what_judges_nothing_may_come_and_change(checkout, block):
    checkout.record(C1_RECORD, PILOT)
    checkout.change("budget: {hours: 10}", f"{block}: {{told: 11}}")
    checkout.change("told: 11", "told: 12")
    assert checkout.blocks() == []


def test_a_stage_that_judges_nothing_is_held_to_no_rule(checkout):
    checkout.record(PILOT)
    checkout.change("0.95", "0.9")
    assert checkout.blocks() == []


def test_comments_and_layout_are_no_change(checkout):
    checkout.record(C1_RECORD)
    checkout.change("# as the profile has it", "# as it always was")
    checkout.change("interval: {confidence: 0.95}", "interval:\n  # of t\n  confidence: .95")
    assert checkout.blocks() == []


def test_rules_that_moved_are_no_change_and_changes_are_seen_across_the_move(checkout):
    checkout.record(C1_RECORD)
    checkout.git("mv", checkout.place, "claims.yaml")
    checkout.place = "claims.yaml"
    checkout.commit()
    assert checkout.blocks() == []
    checkout.change("arm minus baseline", "another")
    assert checkout.blocks() == [(C1_RECORD.key, "C1")]


def test_records_that_moved_were_known_before(checkout):
    """Neither a move nor a removal in between makes a seed fresh."""
    checkout.record(C1_RECORD, C2_RECORD)
    checkout.git("rm", "-q", f"results/small/{C2_RECORD.key}.json")
    checkout.commit()
    checkout.change("arm minus baseline", "another")
    checkout.change("contrastive minus twin", "another twin")
    checkout.record(C2_RECORD)
    checkout.git("mv", "results", "evidence")
    checkout.commit()
    changed = sorted((Path(c.record).stem, c.block) for c in checkout.found("evidence"))
    assert changed == sorted([(C1_RECORD.key, "C1"), (C2_RECORD.key, "C2")])


def test_records_that_came_by_a_merge_are_judged_by_the_rules_of_their_branch(checkout):
    checkout.git("switch", "-q", "-c", "sweep")
    checkout.record(C1_RECORD)
    checkout.git("switch", "-q", "main")
    checkout.change("arm minus baseline", "another")
    checkout.git("merge", "-q", "--no-edit", "sweep")
    assert checkout.blocks() == [(C1_RECORD.key, "C1")]


def test_records_that_a_merge_alone_added_are_found(checkout):
    checkout.git("switch", "-q", "-c", "other")
    checkout.write(RULES + "# other\n")
    checkout.commit()
    checkout.git("switch", "-q", "main")
    checkout.git("commit", "-q", "--allow-empty", "-m", "nothing")
    checkout.git("merge", "-q", "--no-commit", "other")
    checkout.record(C1_RECORD)
    checkout.change("arm minus baseline", "another")
    assert checkout.blocks() == [(C1_RECORD.key, "C1")]


def test_records_that_are_not_committed_are_held_against_the_last_commit(checkout):
    checkout.record(C1_RECORD, commit=False)
    assert checkout.blocks() == []
    checkout.change("arm minus baseline", "another", commit=False)
    (change,) = checkout.found()
    assert change.commit == "HEAD" and change.block == "C1"


def test_a_change_that_is_not_committed_is_a_change(checkout):
    checkout.record(C1_RECORD)
    checkout.change("0.95", "0.9", commit=False)
    assert checkout.blocks() == [(C1_RECORD.key, "interval")]


def test_a_shallow_clone_cannot_be_checked(checkout, tmp_path_factory):
    checkout.record(C1_RECORD)
    clone = tmp_path_factory.mktemp("clone")
    checkout.git("clone", "-q", "--depth", "1", checkout.folder.as_uri(), str(clone / "it"))
    with pytest.raises(HistoryError, match=r"shallow clone.*git fetch --unshallow") as error:
        [*history.changes(clone / "it", yaml.safe_load(RULES), {})]
    assert "\n" not in str(error.value)


def test_a_release_archive_has_no_history(tmp_path):
    with pytest.raises(NoHistory, match="not a git checkout"):
        [*history.changes(tmp_path, yaml.safe_load(RULES), {})]


@pytest.mark.parametrize(
    ("rules", "message"),
    [("claims: [C1", "not YAML"), ("a list: no claims\nclaims: 3", "not a mapping with claims")],
)
def test_rules_that_cannot_be_read_are_told(checkout, rules, message):
    checkout.write(rules)
    checkout.record(C1_RECORD)
    checkout.write(RULES)
    checkout.commit()
    with pytest.raises(HistoryError, match=message) as error:
        checkout.found()
    assert "\n" not in str(error.value)


def test_records_without_rules_are_told(checkout):
    checkout.git("rm", "-q", checkout.place)
    checkout.record(C1_RECORD)
    checkout.write(RULES)
    checkout.commit()
    with pytest.raises(HistoryError, match="which added records, has no rules"):
        checkout.found()


@pytest.mark.parametrize(
    ("before", "now", "what"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, ""),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1].b was 2 and is 3"),
        ({"a": {"b": None}}, {"a": {}}, "a.b was None and is absent"),
        ({"a": 1}, {"a": 1, "b": 2}, "b was absent and is 2"),
        ({"a": [1]}, {"a": [1, 2]}, "a was [1] and is [1, 2]"),
        ({"a": {"b": 1}}, {"a": "b"}, "a was {'b': 1} and is 'b'"),
        (1, 2, "was 1 and is 2"),
    ],
)
def test_the_first_difference_is_told_by_its_place(before, now, what):
    assert difference(before, now) == what
