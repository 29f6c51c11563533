"""What each claim's tests found: from the records of a modality to effects that can be judged.

Definitions stand in claims.yaml; arms are found by what they are, never by their names.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from deepaug.studies import arms as known
from deepaug.studies import choice, rulebook
from deepaug.studies.study import Entry
from deepaug.training.trial import WAYS
from deepaug.verdicts.claims import Outcome, likeness
from deepaug.verdicts.evidence import Arm, Evidence, Run, paired, split_networks
from deepaug.verdicts.measures import (
    Measured,
    against,
    depth,
    difference,
    improvement,
    interaction,
    middle_half,
    ranks,
    share,
    shares,
)
from deepaug.verdicts.statistics import MOST_TARGETS, Limits

FAMILY, SECONDARY, CONTEXT = "family", "secondary", "context"
OWN, DEEP, SPLIT = "own confirm", "input-or-deep confirm", "co-adaptation confirm"
TWINS, WAYS_STAGE = "supervised confirm", "stop-gradient confirm"
ALONE = "C3b alone over no-augmentation"
# Over data sets, where there are several; by bootstrap.
AGGREGATES = {
    "interquartile mean": (middle_half, ""),
    "probability of gain": (improvement, "probability"),
}


@dataclass(frozen=True)
class Finding:
    """One test of a claim in a modality: what it compares, and what came of it."""

    claim: str
    test: str  # by its name in the rules, or what is compared
    kind: str  # "family"; "secondary", judged by its own p; or "context", not judged at all
    transform: str  # the family of the arm's transform
    arm: str
    places: tuple[str, ...]  # the stages it is of
    unit: str = "points"  # or "tau", "share", "probability"
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
        unit: str = "",
        seeds: int = 0,
        lacking: Callable[[Run], str] = lambda run: "",
    ) -> Iterator[Finding]:
        """A test of arms; nothing where the profile has not all of them.

        Args:
            place: the stage they are of, with the random initialisation of diverged runs.
            unit: "tau", "share" or "probability"; by default points.
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
        found = Finding(test.split()[0], test, kind, transform, arm.name, (place,))
        found = replace(
            found, recorded=sum(runs.values()), planned=len(runs), unit=unit or found.unit
        )
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
                    sum(seed != self.evidence.left_out for seed in planned),
                    scores.diverged,
                    measured.depth_p,
                )
                found = replace(found, outcome=outcome, values=measured.values)
        yield found

    def delta(self, unit: str) -> float:
        """Half-width of what is negligible; of what is not judged that of points."""
        deltas = self.rules["vocabulary"]["delta"]
        return deltas.get(unit, deltas[self.evidence.modality]) * self.evidence.band

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


def found(evidence: Evidence) -> list[Finding]:
    """All tests of the claims in one modality; none while its arms are not chosen."""
    c = Comparison(evidence)
    if not c.primary:
        return []
    return [finding for claim in (c1, c1_controls, c2, c3, c4, c5, c7) for finding in claim(c)]


def c1(c: Comparison) -> Iterator[Finding]:
    plain = c.arm(OWN, baseline)
    for family in c.families:
        of: dict[str, Any] = {"family": family}
        arm, longer = c.of(OWN, family), "own longer"
        yield from c.test("C1", [arm, plain], OWN, kind=c.kind(family), **of)
        if plain and len({data for data, _ in plain.entries}) > 1:
            for name, (measure, unit) in AGGREGATES.items():
                both = [arm, plain]
                yield from c.test(f"C1 {name}", both, OWN, measure, kind=CONTEXT, unit=unit, **of)
        none = c.control(OWN, arm, "no-transform")
        yield from c.test("C1 over the way at p = 0", [arm, none], OWN, **of)
        pair = [c.of(longer, family), c.arm(longer, baseline)]
        yield from c.test("C1 at four times the epochs", pair, longer, **of)
    for context in ("untrained", "no-augmentation"):
        other = c.arm(OWN, partial(of_control, context))
        yield from c.test(f"C1 baseline over {context}", [plain, other], OWN, kind=CONTEXT)


def c1_controls(c: Comparison) -> Iterator[Finding]:
    place = "own controls"
    for family in c.families:
        arm = c.of(place, family)
        noise, mask = (c.control(place, arm, kind) for kind in ("noise", "same-mask"))
        yield from c.test("C1 over noise", [arm, noise], place, family=family)
        # The same mask is of the way "both", whatever the arm's.
        if arm and next(iter(arm.entries.values())).trial.way != "both":
            arm = c.in_way("both") if family == c.primary else None
        yield from c.test("C1 both over same mask", [arm, mask], place, family=family)
        initial = c.arm(OWN, untrained)
        if mask and initial:  # of the seeds that the control has
            entries = {run: e for run, e in initial.entries.items() if run in mask.entries}
            initial = replace(initial, entries=entries) if entries else None
        yield from c.test(
            "C1 same mask over untrained", [mask, initial], place, kind=CONTEXT, family=family
        )


def c2(c: Comparison) -> Iterator[Finding]:
    twin = "supervised"
    plain = [c.arm(TWINS, baseline), c.arm(TWINS, baseline, twin)]
    for family in c.families:
        of: dict[str, Any] = {"family": family}
        arm = [c.of(TWINS, family), c.of(TWINS, family, twin)]
        here, there = [arm[0], plain[0]], [arm[1], plain[1]]
        yield from c.test("C2", here + there, TWINS, interaction, kind=c.kind(family), **of)
        yield from c.test("C2 contrastive gain", here, TWINS, kind=CONTEXT, **of)
        yield from c.test("C2 twin's gain", there, TWINS, kind=CONTEXT, **of)
        here = [arm[0], c.control(TWINS, arm[0], "no-transform")]
        there = [arm[1], c.control(TWINS, arm[1], "no-transform", twin)]
        yield from c.test("C2 over the way at p = 0", here + there, TWINS, interaction, **of)


def c3(c: Comparison) -> Iterator[Finding]:
    plain, targets = c.arm(DEEP, baseline), c.evidence.targets
    if 4 <= len(targets) <= MOST_TARGETS:
        arms = [plain, *map(c.at, targets)]
        yield from c.test("C3a", arms, DEEP, depth, kind=FAMILY, unit="tau")
        for layer in targets:
            arm = [c.at(layer), plain]
            yield from c.test(f"C3a gain at {layer}", arm, DEEP, kind=CONTEXT, family=c.primary)
    if not c.evidence.target:
        return  # the arm diverged at every target after the input
    deep = c.at(c.evidence.target)
    alone, at_input = (c.control(DEEP, deep, kind) for kind in ("alone", "at-input"))
    yield from c.test("C3b standard", [alone, plain], DEEP, kind=FAMILY)
    yield from c.test("C3b same_transform", [deep, at_input], DEEP, kind=FAMILY)
    none = c.arm(OWN, partial(of_control, "no-augmentation"))
    yield from c.test(ALONE, [alone, none], DEEP, kind=CONTEXT, family=c.primary)


def c4(c: Comparison) -> Iterator[Finding]:
    def parts(matches: Callable[[Entry], bool], objective: str = "contrastive") -> list[Arm | None]:
        return split_networks(
            partial(c.arm, SPLIT, matches, objective), c.arm(SPLIT, untrained, objective)
        )

    plain, twin = parts(baseline), parts(baseline, "supervised")
    arm, unit = parts(partial(of_family, c.primary)), "share"
    for found in c.test("C4 exhibited", plain + twin, SPLIT, shares, kind=FAMILY, unit=unit):
        yield replace(found, transform="")  # neither training has one
    yield from c.test("C4 alleviated", plain + arm, SPLIT, shares, kind=FAMILY, unit=unit)
    for name, own in (("contrastive", plain), ("supervised", twin), ("with the arm", arm)):
        yield from c.test(f"C4 share, {name}", own, SPLIT, share, kind=CONTEXT, unit=unit)
        for copy, part in zip(("free", "frozen"), own, strict=False):
            test = f"C4 {copy} copy over its network, {name}"
            yield from c.test(test, [part, own[2]], SPLIT, kind=CONTEXT)


def c5(c: Comparison) -> Iterator[Finding]:
    after = c.evidence.targets[1:]
    compared, split = [c.arm(DEEP, baseline), *map(c.at, after)], c.arm(SPLIT, baseline)
    if split is None:
        return
    scores = _scores(split, after)
    chosen = {run: int(of.argmax()) for run, of in scores.items()}  # of equal ones the shallowest
    names = [after[number] for number in chosen.values()]

    def test(name: str, measure: Callable[..., Measured], *notes: str, **of) -> Iterator[Finding]:
        def lacking(run: Run) -> str:
            return "" if run in chosen else "no similarity of its layers"

        for found in c.test(f"C5 {name}", compared, DEEP, measure, lacking=lacking, **of):
            yield replace(
                found,
                outcome=found.outcome if len(split.records) == len(split.entries) else None,
                recorded=found.recorded + len(split.records),
                planned=found.planned + len(split.entries),
                keys=found.keys + tuple(record["key"] for record in split.records.values()),
                notes=(*found.notes, *notes),
                places=(*found.places, SPLIT),
            )

    counts = ", ".join(f"{name} {names.count(name)} times" for name in sorted({*names}))
    told = f"the score chooses {counts}"
    yield from test("random", partial(against, chosen, None), told, kind=FAMILY)
    middle = known.middle(next(iter(split.entries.values())).trial)
    fixed = {"last": after[-1], "middle": middle, "validation": c.evidence.target}
    for name, layer in fixed.items():
        if layer:  # validation has none where the arm diverged at every target
            told = f"the score chooses {layer} too in {names.count(layer)} of {len(names)} runs"
            yield from test(name, partial(against, chosen, after.index(layer)), told)
    yield from test(
        "rank correlation of score and gain", partial(ranks, scores), kind=CONTEXT, unit="tau"
    )


def _scores(split: Arm, after: Sequence[str]) -> dict[Run, np.ndarray]:
    """C5's score of each target, (targets,), of each run."""
    found = {}
    for run, record in split.records.items():
        similarity = record.get("similarity", {})
        if similarity.get("layers") == list(after):
            found[run] = likeness(similarity["cka"])
    return found


def c7(c: Comparison) -> Iterator[Finding]:
    planned = {"seeds": c.rules["claims"]["C7"]["n"]}
    plain, both = c.arm(WAYS_STAGE, baseline), c.in_way("both")
    for way in WAYS:
        arm = c.in_way(way)
        yield from c.test(f"C7 {way}", [arm, plain], WAYS_STAGE, **planned)
        if way != "both":
            yield from c.test(f"C7 {way} over both", [arm, both], WAYS_STAGE, **planned)
