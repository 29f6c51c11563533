"""What each claim's tests found: from the records of a modality to effects that can be judged.

Definitions stand in claims.yaml.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from deepaug.studies import arms as known
from deepaug.studies.study import Entry
from deepaug.training.trial import WAYS
from deepaug.verdicts.claims import likeness
from deepaug.verdicts.comparison import (
    CONTEXT,
    DEEP,
    FAMILY,
    OWN,
    SPLIT,
    TWINS,
    WAYS_STAGE,
    Comparison,
    Finding,
    baseline,
    of_control,
    of_family,
    untrained,
)
from deepaug.verdicts.evidence import Arm, Evidence, Run, split_networks
from deepaug.verdicts.measures import (
    Measured,
    against,
    depth,
    improvement,
    interaction,
    level,
    middle_half,
    ranks,
    share,
    shares,
)
from deepaug.verdicts.statistics import FEWEST_TARGETS, MOST_TARGETS

ALONE = "C3b alone over no-augmentation"
# Over data sets, where there are several; by bootstrap.
AGGREGATES = {
    "interquartile mean": (middle_half, "points"),
    "probability of gain": (improvement, "probability"),
}


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
    yield from c.test("C1 baseline's score", [plain], OWN, level, kind=CONTEXT)
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
    if FEWEST_TARGETS <= len(targets) <= MOST_TARGETS:
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
    none = c.arm(DEEP, partial(of_control, "no-augmentation"))
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
