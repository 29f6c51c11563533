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


@dataclass(frozen=True)
class End:
    """A setting of the tuned baseline at an end of its grid: a better one may lie beyond."""

    setting: str
    end: str  # "smallest" or "largest"
    tried: tuple[float, ...]  # in ascending order


def ends(study: Study) -> Iterator[End]:
    """Settings that tuning left at an end of three numbers or more; of two, both are ends.

    Args:
        study: as `standings` takes it.
    """
    for standing in standings(study):
        if standing.of != "baseline":
            continue
        tune, choice = study.stages[standing.stage].tune, study.choice(standing.stage)
        tuned = vars(study.base) | (choice.baseline if choice else {})
        for name, values in tune.items():
            if len(values) < 3 or any(isinstance(value, str) for value in values):
                continue
            tried = tuple(sorted(values))
            if tuned[name] in (tried[0], tried[-1]):
                yield End(name, "smallest" if tuned[name] == tried[0] else "largest", tried)


def _means(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean scores, but of arms with a run that diverged, which cannot be chosen."""
    return {name: fmean(values) for name, values in scores.items() if min(values) > -math.inf}


def _standing(stage: str, of: str, means: dict[str, float]) -> Standing:
    """The first two by their mean; of equal ones the first, as `choice.best` has it."""
    (chosen, score), *others = sorted(means.items(), key=lambda item: -item[1])
    second, next_score = others[0] if others else ("", math.nan)
    return Standing(stage, of, chosen, score, second, score - next_score, len(means))
