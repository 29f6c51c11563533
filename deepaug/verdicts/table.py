"""The table of verdicts: claim × modality, each with its tests, from the records of a profile."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepaug.studies import catalogue, rulebook
from deepaug.studies.study import Study
from deepaug.training.origin import PACKAGE
from deepaug.verdicts import claims, outcomes
from deepaug.verdicts.claims import Verdict, judge, judge_test
from deepaug.verdicts.comparison import CONTEXT, FAMILY, SECONDARY, Finding
from deepaug.verdicts.evidence import Evidence
from deepaug.verdicts.scale import Scale
from deepaug.verdicts.statistics import Effect, Limits

FEWEST_OF_SCALE = 2  # "by two of these seeds or more"
# C6's matrix, as benchmarks/matrix.py records it
NETWORKS = PACKAGE.parent / "benchmarks" / "records" / "networks.json"


@dataclass(frozen=True)
class Row:
    """A test of a claim in one modality."""

    test: str
    kind: str  # "family", "secondary" or "context"
    transform: str  # the family of its arm's transform
    arm: str
    unit: str  # "points", "tau", "share" or "probability"
    verdict: str  # the word, or why there is none
    word: str | None
    effect: Effect | None
    told: str  # the effect in words
    values: tuple[float, ...]  # of the seeds
    delta: float | None  # half-width of what is negligible; unit as the effect's
    adjusted_p: float | None  # of the family by Holm; else its own
    needed: int | None  # where inconclusive: seeds for an interval as narrow as ±delta
    excluded: float | None  # where inconclusive: a gain above this is excluded
    obstacles: tuple[str, ...]  # why an interval on one side of zero does not decide it
    diverged: float  # share of seeds, of the arm with most
    notes: tuple[str, ...]
    keys: tuple[str, ...]  # of the records it stands on
    again: tuple[str, ...]  # the commands that run these

    @property
    def name(self) -> str:
        """The test as pages call it: rules join the words of one part by an underscore."""
        return self.test.replace("_", " ")

    @property
    def interval(self) -> bool:
        """Whether its interval may be shown: it is defined, and of seeds enough."""
        enough = self.effect and self.effect.n >= rulebook.fewest_seeds()
        return bool(enough and math.isfinite(self.effect.high))


@dataclass(frozen=True)
class Cell:
    """A claim in one modality."""

    claim: str
    modality: str
    verdict: str  # the word, or why there is none
    word: str | None
    recorded: int
    planned: int
    again: tuple[str, ...]
    tests: tuple[Row, ...] = ()

    @property
    def state(self) -> str:
        """In a word or two: its verdict, or "not begun", "running", "secondary", "not judged"."""
        if self.word:
            return self.word
        found = self.verdict.partition(":")[0]
        return "not begun" if found == "running" and not self.recorded else found

    @property
    def judged(self) -> bool:
        """Whether all that the rules ask is told of it: a word, or of C7 its secondary tests."""
        return self.word is not None or self.verdict == SECONDARY


@dataclass(frozen=True, eq=False)  # hashed by identity, so that robustness.of can cache by it
class Table:
    """All verdicts at one profile, each "at this scale"."""

    profile: str
    scales: dict[str, Scale | None]  # by modality; None where not fully recorded
    cells: tuple[Cell, ...]
    networks: str  # C6, as "24 of 24 networks, 7 of 7 pipelines"

    def to_json(self) -> str:
        return json.dumps(finite(dataclasses.asdict(self)), indent=1, allow_nan=False)


def table(profile: str = "cpu", root: Path | None = None) -> Table:
    """The verdicts that a profile's records give, by the rules in claims.yaml.

    Args:
        profile, root: as `catalogue.load` takes them.

    Raises:
        ValueError: the profile has no stage that judges.

        found = table("cpu")
        {cell.claim: cell.verdict for cell in found.cells if cell.modality == "nodes"}
    """
    return table_of(profile, catalogue.every(profile, root))


def table_of(profile: str, studies: Mapping[str, Study]) -> Table:
    """As `table`, of a profile's studies."""
    if not judges(studies):
        raise ValueError(
            f"profile {profile} has no stage that judges ({', '.join(_judging())}), and a quick "
            f"run is never evidence; give --profile cpu, gpu-small or gpu"
        )
    modalities = [name for name in rulebook.rules()["order"]["modalities"] if name in studies]
    evidences = [Evidence(name, profile, studies) for name in modalities]
    scales = {e.modality: scale_of(e) for e in evidences}
    cells = [cell for e in evidences for cell in cells_of(e, scales[e.modality])]
    return Table(profile, scales, tuple(cells), networks(NETWORKS))


def judges(studies: Mapping[str, Study]) -> bool:
    """Whether any of a profile's studies has a stage whose runs may judge a claim."""
    modalities = studies.keys() & rulebook.rules()["order"]["modalities"]
    return any(stage in studies[name].stages for name in modalities for stage in _judging())


def _judging() -> list[str]:
    return [name for name, stage in rulebook.rules()["stages"].items() if stage["judges"]]


def scale_of(evidence: Evidence) -> Scale | None:
    """How the baseline stands to the rules' scale.

    None where it is not fully recorded, or where fewer seeds pair than the rules ask for.
    """
    if not evidence.has("own scale") or (own := evidence.studies["own"]).missing("scale"):
        return None
    found = Scale.of(own.recorded("scale"))
    return found if found and found.seeds >= FEWEST_OF_SCALE else None


def cells_of(evidence: Evidence, scale: Scale | None) -> list[Cell]:
    """The verdicts on all claims in one modality, but C6's."""
    rules = rulebook.rules()
    limits, found = Limits.of(rules), outcomes.found(evidence)
    family: dict[str, tuple[str, ...]] = {name: () for name in rules["claims"]}
    for test in rules["family"]["tests"]:
        family[test.split()[0]] += (test,)
    tests = {f.test: f.outcome for f in found if f.kind == FAMILY}
    unscaled = "" if scale and scale.met else _unscaled(scale)
    judged = judge(tests, {c: t for c, t in family.items() if t}, limits, not unscaled)
    cells = []
    for claim, rule in rules["claims"].items():
        if "records" not in rule:
            continue  # C6, which no record of a trial judges
        recorded, planned, state = _progress(evidence, rule["records"])
        rows = [
            _row(f, judged.tests[f.test] if f.kind == FAMILY else None, limits, unscaled, evidence)
            for f in found
            if f.claim == claim
        ]
        if state:  # nothing is told of a claim before the last of its runs is recorded
            rows = [_untold(row) for row in rows]
        word = None if state else judged.cells.get(claim)
        verdict = state or unscaled or word or _unjudged(rows, family[claim])
        if claim == "C2" and word == "supported":
            verdict += f": {_inverse(found)}"
        again = commands(evidence, rule["records"])
        cells.append(
            Cell(claim, evidence.modality, verdict, word, recorded, planned, again, tuple(rows))
        )
    return cells


def _unscaled(scale: Scale | None) -> str:
    """Why nothing is decided; a base that has hardly learnt enters no verdict."""
    if scale is None:
        return "not judged: the scale is not fully recorded"
    return (
        f"no verdict: the baseline stands {scale.above:.1f} points above random initialisation, "
        f"{scale.needed:g} are needed"
    )


def _progress(evidence: Evidence, places: Sequence[str]) -> tuple[int, int, str]:
    """How many of a claim's records there are, of how many; and why it is not judged yet."""
    keys: dict[str, bool] = {}
    for place in places:
        if not evidence.has(place):
            where = f"{place.removeprefix('own ')} of {evidence.modality}"
            return 0, 0, f"not run: profile {evidence.profile} has no {where}"
        keys |= evidence.keys(place)
    recorded = sum(keys.values())
    if evidence.obstacle:
        return recorded, len(keys), f"not judged: {evidence.obstacle}"
    running = f"running: {recorded} of {len(keys)}" if recorded < len(keys) else ""
    return recorded, len(keys), running


def _unjudged(rows: Sequence[Row], family: Sequence[str]) -> str:
    """What to say of a cell all of whose records are there."""
    if not family:
        return SECONDARY
    by_test = {row.test: row for row in rows if row.kind == FAMILY}
    if absent := [test for test in family if test not in by_test]:
        why = "its arms diverged before, or its targets are too few or too many"
        return f"not judged: {' and '.join(absent)} cannot be taken; {why}"
    return next(row.verdict for row in by_test.values() if row.word is None)


def _inverse(found: Sequence[Finding]) -> str:
    """Which kind of support C2 has, by the primary arm's own gains."""
    (primary,) = (f.transform for f in found if f.test == "C2" and f.kind == FAMILY)
    of_primary = {f.test: f for f in found if f.claim == "C2" and f.transform == primary}
    gains = (of_primary[test].outcome for test in ("C2 contrastive gain", "C2 twin's gain"))
    inverse = claims.inverse(*(outcome.effect for outcome in gains))
    return "inverse" if inverse else "interaction only"


def _row(
    found: Finding, verdict: Verdict | None, limits: Limits, unscaled: str, evidence: Evidence
) -> Row:
    outcome = found.outcome
    if verdict is None:
        verdict = judge_test(outcome, None, limits, not unscaled)
    word = None if found.kind == CONTEXT else verdict.word
    if found.recorded < found.planned:
        said = f"running: {found.recorded} of {found.planned}"
    elif outcome is None:
        said = "not judged: no seed pairs"
    elif found.kind == CONTEXT:
        said = CONTEXT
    else:
        said = unscaled or word or f"not judged: {outcome.effect.n} of {outcome.planned} seeds"
    return Row(
        found.test,
        found.kind,
        found.transform,
        found.arm,
        found.unit,
        said,
        word,
        effect=outcome.effect if outcome else None,
        told=claims.told(outcome.effect, found.values, limits) if outcome else "",
        values=found.values,
        delta=outcome.delta if outcome and found.unit != "probability" else None,
        adjusted_p=verdict.adjusted_p if word else None,
        needed=verdict.needed if word else None,
        excluded=verdict.excluded if word else None,
        obstacles=verdict.obstacles if word else (),
        diverged=outcome.diverged if outcome else 0.0,
        notes=(*found.notes, *claims.passed(outcome, word)),
        keys=found.keys,
        again=commands(evidence, found.places),
    )


def _untold(row: Row) -> Row:
    """A test of a claim that is not judged yet: without all that its records say."""
    whole = row.effect is not None
    return replace(
        row,
        verdict="waits for other runs of its claim" if whole else row.verdict,
        word=None,
        effect=None,
        told="",
        values=(),
        adjusted_p=None,
        needed=None,
        excluded=None,
        obstacles=(),
        diverged=0.0,
        notes=(),
    )


def commands(evidence: Evidence, places: Sequence[str]) -> tuple[str, ...]:
    """What to type to run stages, again or for the first time."""
    found = []
    for place in places:
        name, stage = place.split()
        study = evidence.modality if name == "own" else name
        part = "" if name == "own" else f" --parts {evidence.modality}"
        found.append(f"deepaug run {study} --profile {evidence.profile} --stage {stage}{part}")
    return tuple(found)


def networks(path: Path) -> str:
    """C6 in words, from {"networks": {name: "passed", …}, "pipelines": {…}, …}.

    Whatever is not "passed" counts as no pass, a skip too. Raises ValueError for another format.

    >>> networks(Path("no such file"))
    'not run'
    """
    try:
        found = json.loads(path.read_text())
        counts = {kind: [*found[kind].values()] for kind in ("networks", "pipelines")}
    except FileNotFoundError:
        return "not run"
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is not a matrix of networks and pipelines, each with names and whether they "
            f"passed; run its tests again"
        ) from None
    of = (f"{results.count('passed')} of {len(results)} {k}" for k, results in counts.items())
    return ", ".join(of)


def finite(value: Any) -> Any:
    """A value as JSON can have it: None in place of what is no finite number."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
