"""What the stages that choose have chosen, and how close the runner-up came."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from deepaug.studies import choice, choosing, rulebook
from deepaug.studies.study import Study
from deepaug.training.trial import Trial


@dataclass(frozen=True)
class End:
    """A setting of the tuned baseline at an end of its grid: a better one may lie beyond."""

    setting: str
    end: str  # "smallest" or "largest"
    tried: tuple[float, ...]  # in ascending order


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
    ends: tuple[End, ...] = ()  # of a tuned baseline


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
                standing = _standing(stage, "baseline", means)
                trial = entries[standing.chosen][0].trial
                yield replace(standing, ends=tuple(_ends(study.stages[stage].tune, trial)))
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


def _ends(tune: Mapping[str, Sequence[Any]], tuned: Trial) -> Iterator[End]:
    """Settings left at an end of three numbers or more; of two, both are ends."""
    for name, values in tune.items():
        if len(values) < 3 or any(isinstance(value, str) for value in values):
            continue
        tried, chosen = tuple(sorted(values)), getattr(tuned, name)
        if chosen in (tried[0], tried[-1]):
            yield End(name, "smallest" if chosen == tried[0] else "largest", tried)


def _means(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean scores, but of arms with a run that diverged, which cannot be chosen."""
    return {name: fmean(values) for name, values in scores.items() if min(values) > -math.inf}


def _standing(stage: str, of: str, means: dict[str, float]) -> Standing:
    """The first two by their mean; of equal ones the first, as `choice.best` has it."""
    (chosen, score), *others = sorted(means.items(), key=lambda item: -item[1])
    second, next_score = others[0] if others else ("", math.nan)
    return Standing(stage, of, chosen, score, second, score - next_score, len(means))
