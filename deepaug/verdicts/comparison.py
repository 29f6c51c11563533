"""A comparison of arms: what an entry is, the arms that a claim asks for, and a test of them.

Arms are found by what they are, controls of a baseline by their names.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from deepaug.studies import arms as known
from deepaug.studies import choice, rulebook
from deepaug.studies.study import Entry
from deepaug.verdicts.claims import Outcome
from deepaug.verdicts.evidence import Arm, Evidence, Run, paired
from deepaug.verdicts.measures import Measured, depth, difference
from deepaug.verdicts.statistics import Limits

FAMILY, SECONDARY, CONTEXT = "family", "secondary", "context"
# Stages that judge, as the rules name them
OWN, DEEP, SPLIT = "own confirm", "input-or-deep confirm", "co-adaptation confirm"
TWINS, WAYS_STAGE = "supervised confirm", "stop-gradient confirm"


@dataclass(frozen=True)
class Finding:
    """One test of a claim in a modality: what it compares, and what came of it."""

    claim: str
    test: str  # by its name in the rules, or what is compared
    kind: str  # "family"; "secondary", judged by its own p; or "context", not judged at all
    transform: str  # the family of the arm's transform
    arm: str
    places: tuple[str, ...]  # the stages it is of
    unit: str  # "points", "tau", "share", "probability"
    outcome: Outcome | None = None  # None while runs lack
    values: tuple[float, ...] = ()
    recorded: int = 0  # of its runs
    planned: int = 0
    notes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


# What an entry is


def baseline(entry: Entry) -> bool:
    return entry.role == "baseline" and _cut_in_the_middle(entry)


def of_control(name: str, entry: Entry) -> bool:
    return entry.role == "control" and entry.arm == name


untrained = partial(of_control, "untrained")


def of_family(family: str, entry: Entry) -> bool:
    in_family = entry.trial.transform in choice.FAMILIES[family]
    return entry.role == "arm" and in_family and _cut_in_the_middle(entry)


def _cut_in_the_middle(entry: Entry) -> bool:
    """Of networks that are split those that judge; all others are not split."""
    return entry.trial.cut in ("none", known.middle(entry.trial))


def _held_against(arm: Arm, control: str, entry: Entry) -> bool:
    return entry.control == control and arm.name in entry.of


class Comparison:
    """The arms of one modality, and tests of them by the rules."""

    def __init__(self, evidence: Evidence):
        self.evidence, self.rules = evidence, rulebook.rules()
        self.limits = Limits.of(self.rules)
        chosen = evidence.choice
        self.primary = chosen.primary if chosen else ""
        # The primary arm comes first.
        self.families = sorted(chosen.arms if chosen else (), key=lambda f: f != self.primary)

    def kind(self, family: str) -> str:
        return FAMILY if family == self.primary else SECONDARY

    def test(
        self,
        test: str,
        arms: Sequence[Arm | None],
        place: str,
        measure: Callable[..., Measured] = difference,
        *,
        kind: str = SECONDARY,
        family: str = "",
        unit: str = "points",
        seeds: int = 0,
        lacking: Callable[[Run], str] = lambda run: "",
    ) -> Iterator[Finding]:
        """A test of arms; nothing where the profile has not all of them.

        Args:
            place: the stage they are of, with the random initialisation of diverged runs.
            unit: of the effect; see `Finding`.
            seeds: how many are planned; by default as many as the stage has by the rules.
        """
        compared = [arm for arm in arms if arm is not None]
        if len(compared) < len(arms):
            return
        # Longer runs have no random initialisation of their own: it is that of confirm.
        initial = self.arm(place, untrained) or self.arm(OWN, untrained) or Arm({}, {}, "")
        runs = {a.entries[run].trial.key: run in a.records for a in compared for run in a.entries}
        arm = compared[-1] if measure is depth else compared[0]
        transform = family or ("" if kind == CONTEXT else self.primary)
        found = Finding(test.split()[0], test, kind, transform, arm.name, (place,), unit)
        found = replace(found, recorded=sum(runs.values()), planned=len(runs))
        if found.recorded == found.planned:
            stage = place.split()[1]
            planned = rulebook.seeds(stage)[: seeds or None]

            def absent(run: Run) -> str:
                return self.not_fresh(run, stage) or lacking(run)

            scores = paired(compared, initial, absent)
            found = replace(found, notes=scores.notes, keys=scores.keys)
            if scores.runs:
                measured = measure(scores, confidence=self.limits.confidence)
                outcome = Outcome(
                    measured.effect,
                    self.delta(unit),
                    sum(seed != self.evidence.reading.left_out for seed in planned),
                    scores.diverged,
                    measured.depth_p,
                )
                found = replace(found, outcome=outcome, values=measured.values)
        yield found

    def delta(self, unit: str) -> float:
        """Half-width of what is negligible; of what is not judged that of points."""
        deltas = self.rules["vocabulary"]["delta"]
        return deltas.get(unit, deltas[self.evidence.modality]) * self.evidence.reading.band

    def not_fresh(self, run: Run, stage: str) -> str:
        """Why a run's seed may not judge, by the rules; "" where it may."""
        if run[1] not in rulebook.seeds(stage):
            return f"the rules do not give this seed to {stage}"
        if run[1] in self.evidence.used_seeds:
            return "this seed was used before to choose or to try out"
        return ""

    def arm(self, place: str, matches: Callable[[Entry], bool], *rest: str) -> Arm | None:
        return self.evidence.arm(place, matches, *rest)

    def of(self, place: str, family: str = "", *rest: str) -> Arm | None:
        """The arm of a family, by default the primary one."""
        return self.arm(place, partial(of_family, family or self.primary), *rest)

    def control(self, place: str, arm: Arm | None, kind: str, *rest: str) -> Arm | None:
        return arm and self.arm(place, partial(_held_against, arm, kind), *rest)

    def at(self, layer: str) -> Arm | None:
        """The primary arm at one of all targets."""
        return self.arm(DEEP, lambda e: of_family(self.primary, e) and e.trial.layer == layer)

    def in_way(self, way: str) -> Arm | None:
        """The primary arm, at its target, in one of all ways."""

        def matches(entry: Entry) -> bool:
            of_primary = entry.trial.transform in choice.FAMILIES[self.primary]
            is_arm = entry.role == "arm" or entry.control == way  # not a control of the same way
            return of_primary and is_arm and entry.trial.way == way

        return self.arm(WAYS_STAGE, matches)
