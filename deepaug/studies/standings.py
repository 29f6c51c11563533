"""What the stages that choose have chosen, and how close the runner-up came."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from deepaug.studies import choice, choosing, rulebook
from deepaug.studies.study import Study


@dataclass(frozen=True)
class Standing:
    """The best of some arms by validation, in points, and the next best."""

    stage: str
    of: str  # what was chosen: "baseline", a family's arm, or "primary arm"
    chosen: str
    score: float  # mean over seeds and data sets
    second: str  # "" where there was no other
    behind: float  # of the second, in points; nan without one
    candidates: int


def standings(study: Study) -> Iterator[Standing]:
    """One for each choice of each stage whose records are all there.

    Args:
        study: a modality's own; stages that choose are those of the rules.
    """
    stages = rulebook.rules()["stages"]
    for stage in (name for name in study.stages if "chooses" in stages.get(name, {})):
        if study.waits_for(stage) or study.missing(stage):
            continue
        entries, scores = choosing.by_arm(study.recorded(stage))
        roles = {name: own[0].role for name, own in entries.items()}
        if study.stages[stage].tune:
            tuned = [name for name, role in roles.items() if role in choosing.BASELINES]
            if means := _means({name: scores[name] for name in tuned}):
                yield _standing(stage, "baseline", means)
        own = {name: scores[name] for name, role in roles.items() if role == "arm"}
        transforms = {name: entries[name][0].trial.transform for name in own}
        best = {}
        for family, of in choice.by_family(own, transforms).items():
            if means := _means(of):
                standing = _standing(stage, f"{family} arm", means)
                best[standing.chosen] = standing.score
                yield standing
        if study.stages[stage].everywhere and best:
            yield _standing(stage, "primary arm", best)


def _means(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean scores, but of arms with a run that diverged, which cannot be chosen."""
    return {name: fmean(values) for name, values in scores.items() if min(values) > -math.inf}


def _standing(stage: str, of: str, means: dict[str, float]) -> Standing:
    """The first two by their mean; of equal ones the first, as `choice.best` has it."""
    (chosen, score), *others = sorted(means.items(), key=lambda item: -item[1])
    second, next_score = others[0] if others else ("", math.nan)
    return Standing(stage, of, chosen, score, second, score - next_score, len(means))
