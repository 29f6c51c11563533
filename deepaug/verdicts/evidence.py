"""The records of one modality at one profile: arms by their roles, and scores that pair."""

import copy as copies
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from deepaug.studies import choosing, rulebook
from deepaug.studies.choice import Choice
from deepaug.studies.study import Entry, Study, obstacles
from deepaug.training import registry
from deepaug.verdicts.claims import counted

Run = tuple[str, int]  # data set, seed
CONDITIONS = ("kind", "precision", "torch")  # what `conditions` gives
Record = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """The runs of an arm, recorded or not, and the metric that they are compared by."""

    entries: Mapping[Run, Entry]
    records: Mapping[Run, Record]
    metric: str
    split: str = "test"  # which pages do not read

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry],
        read: Callable[[Entry], Record | None],
        copy: str = "",
        split: str = "test",
        metric: str = "",
    ) -> "Arm | None":
        """The arm of entries that differ in data set and seed; None if there are none.

        Args:
            read: the record of an entry, None if there is none.
            copy: "free" or "frozen": the score is that of the network's copy.
            metric: by default the primary one.

        Raises ValueError for two trials of one data set and seed.
        """
        found: dict[Run, Entry] = {}
        for entry in entries:
            run = entry.trial.data, entry.trial.seed
            if found.setdefault(run, entry).trial != entry.trial:
                raise ValueError(
                    f"{found[run].name!r} and {entry.name!r} of {entry.stage} are both the arm of "
                    f"{run[0]} seed {run[1]} that a verdict asks for; leave one out of the profile"
                )
        if not found:
            return None
        records = {run: read(entry) for run, entry in found.items()}
        metric = metric or registry.primary(next(iter(found.values())).trial)
        return cls(
            found,
            {run: record for run, record in records.items() if record is not None},
            f"{metric}_{copy}" if copy else metric,
            split,
        )

    @property
    def name(self) -> str:
        return next(iter(self.entries.values())).arm

    def score(self, run: Run) -> float:
        """In points; nan where the run, or the copy that the metric is of, diverged."""
        return self.records[run]["metrics"].get(self.split, {}).get(self.metric, math.nan)


@dataclass(frozen=True)
class Scores:
    """Scores of several arms where all of them pair."""

    values: np.ndarray  # (arms, seeds, data sets); a diverged run counts as its untrained self
    runs: tuple[tuple[Run, ...], ...]  # (seeds, data sets): where the scores come from
    diverged: float  # the largest share of an arm's seeds
    notes: tuple[str, ...]  # why a seed counts as missing
    keys: tuple[str, ...]

    @property
    def means(self) -> np.ndarray:
        """Over data sets the mean for each seed: (arms, seeds)."""
        return self.values.mean(-1)


def split_networks(arm: Callable[[str], Arm | None], untrained: Arm | None) -> list[Arm | None]:
    """What C4 compares of one training, in the order of `claims.Drop`.

    Args:
        arm: the training's arm, of a copy of its network ("free", "frozen") or of that itself ("").
    """
    return [*map(arm, ("free", "frozen", "")), untrained]


def conditions(record: Record) -> tuple[str, str, str]:
    """What the runs of a pair share: kind of device, precision and release of torch.

    Processors are one kind, whatever their make, as the rules have it: what differs is the order
    of sums, which two of one name need not share either. A GPU is of the kind that its product
    name says.
    """
    kind = record["device"] if "accelerator" in record else "cpu"
    torch = record["versions"].get("torch", "")
    return kind, record["trial"]["precision"], torch.partition("+")[0]


def paired(
    arms: Sequence[Arm], untrained: Arm, lacking: Callable[[Run], str] = lambda run: ""
) -> Scores:
    """Scores of the seeds that all arms have under the same conditions, on every data set.

    Args:
        arms: with the same runs planned.
        untrained: random initialisation, which a diverged run counts as.
        lacking: what else a run lacks, "" if nothing; its seed then counts as missing.
    """
    # In the order of entries: a set's differs between processes, and with it the bootstrap's draw.
    asked = dict.fromkeys(run for arm in arms for run in arm.entries)
    planned = sorted(asked, key=lambda run: run[1])
    parts = tuple(dict.fromkeys(part for part, _ in planned))
    seeds = tuple(dict.fromkeys(seed for _, seed in planned))
    kept, notes = [], []
    for seed in seeds:
        runs = tuple((part, seed) for part in parts)
        faults = [
            f"{p} seed {s}: {why}".strip()
            for p, s in runs
            if (why := _unpaired(arms, untrained, (p, s)) or lacking((p, s)))
        ]
        notes += faults
        kept += [] if faults else [runs]
    shape = len(arms), len(kept), len(parts)
    own = np.reshape([[[arm.score(run) for run in runs] for runs in kept] for arm in arms], shape)
    lost = np.isnan(own)
    initial = np.zeros(shape[1:])
    keys = [arm.records[run]["key"] for runs in kept for arm in arms for run in runs]
    for place in np.argwhere(lost.any(0)):
        run = kept[place[0]][place[1]]
        initial[tuple(place)] = untrained.score(run)
        keys.append(untrained.records[run]["key"])
    values = counted(own, lost, np.broadcast_to(initial, shape))
    share = float(lost.any(2).mean(1).max()) if kept else 0.0
    return Scores(values, tuple(kept), share, tuple(notes), tuple(dict.fromkeys(keys)))


def _unpaired(arms: Sequence[Arm], untrained: Arm, run: Run) -> str:
    """Why the runs of several arms do not pair; "" where they do."""
    if absent := [arm for arm in arms if run not in arm.records]:
        return f"{absent[0].name} is not recorded"
    used = list(arms)
    if lost := [arm for arm in arms if math.isnan(arm.score(run))]:
        if run not in untrained.records:
            return f"{lost[0].name} diverged, and its untrained self is not recorded"
        if math.isnan(untrained.score(run)):
            return f"{lost[0].name} diverged, and its untrained self has no score to count at"
        used.append(untrained)
    seen = {conditions(arm.records[run]): None for arm in used}
    if len(seen) > 1:
        differ = (sorted(set(values)) for values in zip(*seen, strict=True))
        return "not paired: " + ", ".join(" and ".join(v) for v in differ if len(v) > 1)
    return ""


@dataclass(frozen=True)
class Reading:
    """How records are read; by default as the rules have it."""

    metric: str = ""  # in the place of the primary one
    left_out: int | None = None  # a seed
    data: str = ""  # of several data sets the one to read
    band: float = 1.0  # how wide what is negligible is, as a share of what the rules say


class Evidence:
    """The studies of a profile that judge a modality, and what is recorded of them.

    A stage is named as the rules name it, "own confirm" say: `own` is the modality's study.
    """

    def __init__(self, modality: str, profile: str, studies: Mapping[str, Study]):
        self.modality, self.profile = modality, profile
        self.reading = Reading()
        self.studies: dict[str, Study] = {}
        for name, study in studies.items():
            if name == modality:
                self.studies["own"] = study
                continue
            bases = [b for b in study.bases if b.origin and b.origin.name == modality]
            if bases:
                self.studies[name] = study.part(tuple(bases))
        self._found: dict[str, list[Entry]] = {}
        self._keys: dict[str, dict[str, bool]] = {}

    def read(self, reading: Reading) -> "Evidence":
        """The same records, read otherwise."""
        other = copies.copy(self)
        other.reading = reading
        return other

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Those that a seed is trained on in turn, whose mean a verdict is about."""
        return tuple(dict.fromkeys(base.trial.data for base in self.studies["own"].bases))

    @cached_property
    def choice(self) -> Choice | None:
        """What the targets stage chose; None until it is recorded, or if nothing was left."""
        try:
            return self.studies["own"].choice("targets") if self.has("own targets") else None
        except choosing.NothingChosen:
            return None

    @property
    def target(self) -> str:
        """The primary arm's best target after the input; "" where it has none."""
        chosen = self.choice and self.choice.deep.get(self.choice.primary)
        layer = (chosen or {}).get("layer", "")
        return "" if layer in registry.layers(*self._encoder)[:1] else layer

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets in order of depth, the input first."""
        return registry.layers(*self._encoder)

    @property
    def _encoder(self) -> tuple[str, str]:
        base = self.studies["own"].base
        return base.modality, base.encoder

    def has(self, place: str) -> bool:
        """Whether the profile has a stage, of this modality."""
        study, stage = place.split()
        known = self.studies.get(study)
        return (
            known is not None
            and stage in known.stages
            and bool(known.bases_of(known.stages[stage]))
        )

    def entries(self, place: str) -> list[Entry]:
        """The settled trials of a stage, each with its place in it."""
        if place not in self._found:
            study, stage = place.split()
            has = self.has(place)
            self._found[place] = self.studies[study].stage_entries(stage) if has else []
        return self._found[place]

    def keys(self, place: str) -> dict[str, bool]:
        """Keys of a stage, and whether each is recorded; by an assumed choice if none is made."""
        if place not in self._keys:
            study, stage = place.split()
            of = self.studies[study]
            entries = of.planned(stage) if of.waits_for(stage) else self.entries(place)
            found = {e.trial.key: of.store.read(e.trial) is not None for e in entries}
            self._keys[place] = found
        return self._keys[place]

    @cached_property
    def used_seeds(self) -> frozenset[int]:
        """Seeds of the modality's own stages that judge nothing: no verdict may stand on them."""
        judges = {name: stage["judges"] for name, stage in rulebook.rules()["stages"].items()}
        stages = self.studies["own"].stages.items()
        seeds = (stage.seeds for name, stage in stages if not judges.get(name, True))
        return frozenset(chain.from_iterable(seeds))

    @cached_property
    def obstacle(self) -> str:
        """Why the stages after one of the modality's own will never be settled, "" if they may."""
        own = self.studies["own"]
        return next((said for stage in own.stages for said in obstacles(own, stage)), "")

    def arm(
        self,
        place: str,
        matches: Callable[[Entry], bool],
        objective: str = "contrastive",
        copy: str = "",
    ) -> Arm | None:
        """The arm of a stage that `matches`; None if there is none.

        Args:
            copy: "free" or "frozen": the score is that of the network's copy.
        """
        entries = (e for e in self.entries(place) if e.objective == objective and matches(e))
        matching = [
            entry
            for entry in entries
            if entry.trial.seed != self.reading.left_out
            and self.reading.data in ("", entry.trial.data)
        ]
        if not matching:  # the profile may lack the study
            return None
        store = self.studies[place.split()[0]].store
        return Arm.of(
            matching, lambda entry: store.read(entry.trial), copy, metric=self.reading.metric
        )
