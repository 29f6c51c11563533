"""What the primary arm gains under other settings than the judged ones: exploratory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deepaug.studies import catalogue, rulebook
from deepaug.studies.study import Entry
from deepaug.verdicts.comparison import untrained
from deepaug.verdicts.evidence import Arm, Evidence, paired
from deepaug.verdicts.measures import difference
from deepaug.verdicts.statistics import Effect, Limits
from deepaug.verdicts.table import Table

AUGMENTATION = "when-it-helps exploratory"
ROBUSTNESS = "robustness exploratory"
BEFORE = ("C1", "C3b")  # they are judged by the same runs, with all augmentation and without any


@dataclass(frozen=True)
class Gain:
    """What an arm gains over the baseline of its own setting, by test metrics."""

    modality: str
    setting: str  # what the baseline changes of the tuned one, "" for that itself
    augmentation: float  # as a share of the tuned baseline's
    strength: float
    control: str  # of the arm, which of `arms.ARM_CONTROLS` it is; "" of an arm itself
    judged: bool  # whether it has the strength of the verdicts' arm
    recorded: int
    planned: int
    effect: Effect | None = None  # None while runs lack
    values: tuple[float, ...] = ()  # of the seeds


def of_judged(table: Table, place: str, root: Path | None = None) -> Iterator[Gain]:
    """The gains of all modalities whose verdicts on `BEFORE` are in: nobody looks at tests earlier.

    Args:
        table: the profile's verdicts.
        place: `AUGMENTATION` or `ROBUSTNESS`.
        root: as `catalogue.load` takes it.
    """
    studies = catalogue.every(table.profile, root)
    asked = [cell for cell in table.cells if cell.claim in BEFORE]
    for modality in dict.fromkeys(cell.modality for cell in asked):
        if all(cell.word for cell in asked if cell.modality == modality):
            yield from gains(Evidence(modality, table.profile, studies), place)


def gains(evidence: Evidence, place: str) -> list[Gain]:
    """The gain of each arm and control of an exploratory stage, by augmentation and strength.

    Args:
        place: `AUGMENTATION` or `ROBUSTNESS`.
    """
    entries = evidence.entries(place)
    tuned = {e.trial.data: e.trial for e in entries if e.role == "baseline" and not e.setting}
    found: dict[tuple[str, str], Gain] = {}
    for entry in entries:
        unit = entry.setting, entry.arm
        is_arm = entry.role in ("arm", "arm control") and entry.objective == "contrastive"
        if is_arm and unit not in found:
            full = tuned[entry.trial.data].view_strength
            found[unit] = _gain(evidence, place, entry, entry.trial.view_strength / (full or 1))
    return sorted(found.values(), key=lambda gain: (gain.augmentation, gain.strength))


def _gain(evidence: Evidence, place: str, of: Entry, augmentation: float) -> Gain:
    def same_setting(arm: str) -> Callable[[Entry], bool]:
        return lambda entry: (entry.setting, entry.arm) == (of.setting, arm)

    arm, plain = (evidence.arm(place, same_setting(name)) for name in (of.arm, "baseline"))
    chosen = evidence.choice
    gain = Gain(
        evidence.modality,
        of.setting,
        augmentation,
        of.trial.strength,
        of.control,
        judged=chosen is not None
        and not of.control
        and of.trial.strength == chosen.arms[chosen.primary]["strength"],
        recorded=sum(len(a.records) for a in (arm, plain)),
        planned=sum(len(a.entries) for a in (arm, plain)),
    )
    initial = evidence.arm(place, untrained) or Arm({}, {}, "")
    if gain.recorded < gain.planned or not (scores := paired([arm, plain], initial)).runs:
        return gain
    measured = difference(scores, Limits.of(rulebook.rules()).confidence)
    return replace(gain, effect=measured.effect, values=measured.values)
