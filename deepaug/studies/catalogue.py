"""The catalogue of studies: those that profiles declare, checked as a whole and put in order."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deepaug.declared import read
from deepaug.studies import profile as profiles
from deepaug.studies import records, rulebook
from deepaug.studies.profile import LAYERS, STAGES, Grid, Profile, Stage
from deepaug.studies.study import Base, Study
from deepaug.training import registry
from deepaug.training.trial import Trial
from deepaug.validation import one_of


def load(
    name: str,
    profile: str = "quick",
    root: Path | None = None,
    *,
    data: str | None = None,
    pairs: str | None = None,
    parts: list[str] | None = None,
    **grid: Any,
) -> Study:
    """A study at a profile, its grid changed where a parameter is given.

    Args:
        name: the study, one of the profile's.
        profile: "quick", "cpu", "gpu" or the path of a YAML file.
        root: the folder of all records; by default `$DEEPAUG_RESULTS` or results/.
        data: another data set, by name or path, in place of the study's own.
        pairs: other scored sentence pairs to evaluate text on.
        parts: of a study of several modalities or data sets, these alone.
        grid: fields of `Grid` (targets, transforms, p or seeds), each a list that takes the place
            of the profile's in all stages that have any; None leaves them as they are.

    Raises:
        ValueError: in one line, for anything unknown, misspelt or of wrong type.

    >>> study = load("vision", "cpu", layers=["stage3"], seeds=[0])
    >>> len(study.stage_entries("pilot"))
    5
    """
    label, declared = profiles.load(profile)
    one_of(f"study in profile {label}", name, declared.studies)
    given = {n: value for n, value in {"data": data, "pairs": pairs}.items() if value is not None}
    return _load(name, declared, store(profile, root), {}, given, parts, grid)


def every(profile: str, root: Path | None = None) -> dict[str, Study]:
    """All studies of a profile, by name, as `load` has them; records are read once for all."""
    declared, shared = profiles.load(profile)[1], store(profile, root)
    found: dict[str, Study] = {}
    for name in sorted(declared.studies, key=lambda name: bool(declared.studies[name].of)):
        found[name] = _load(name, declared, shared, found)
    return {name: found[name] for name in declared.studies}


def store(profile: str, root: Path | None = None) -> records.Store:
    """Where the records of a profile lie."""
    return records.Store(root or records.default_root(), profiles.load(profile)[0])


def _load(
    name: str,
    declared: Profile,
    store: records.Store,
    known: dict[str, Study],
    given: Mapping[str, str] = MappingProxyType({}),
    parts: list[str] | None = None,
    grid: Mapping[str, Any] = MappingProxyType({}),
) -> Study:
    """A study, of those that are `known`, or loaded with it."""
    every = _bases(name, declared, store, known, given)
    bases = every if parts is None else _only(every, read("parts", parts, tuple[str, ...]), name)
    grid = {n: values for n, values in grid.items() if values is not None}
    changes = vars(read("parameters", grid, Grid))
    stages = {}
    for stage_name, stage in declared.studies[name].stages.items():
        stage = replace(stage, seeds=stage.seeds or rulebook.seeds(stage_name))
        if "data" in given:  # it takes the place of all bases
            stage = replace(stage, bases=())
        changed = {n: new for n, new in changes.items() if new and getattr(stage, n)}
        stages[stage_name] = replace(stage, **changed)
    for base in bases if "data" in given else ():
        registry.check_data(base.trial.modality, given["data"])
    if "pairs" in given:
        registry.check_pairs(given["pairs"])
    study = Study(name, store.folder.name, every, stages, store, declared.seconds).part(bases)
    for stage_name in stages:
        _check(study, stage_name)
    return study


def _bases(
    name: str,
    declared: Profile,
    store: records.Store,
    known: dict[str, Study],
    given: Mapping[str, str],
) -> tuple[Base, ...]:
    """The bases a study is declared with: its own, or those `of` other studies."""
    studies, study = declared.studies, declared.studies[name]
    if not study.of:
        settings = {**declared.settings, **study.settings}
        several = {"": {}} if "data" in given else study.bases or {"": {}}
        return tuple(
            Base(label, Trial(**{**settings, **change, **given}))
            for label, change in several.items()
        )
    if given:
        raise ValueError(
            f"study {name} has the data of {', '.join(study.of)}; "
            f"{' and '.join(given)} can be given for those studies, not for this one"
        )
    found = []
    for other, change in study.of.items():
        one_of(f"study that {name} is of", other, [n for n in studies if not studies[n].of])
        origin = known.get(other) or _load(other, declared, store, known)
        for base in origin.bases:
            label = " ".join(filter(None, (other, base.label)))
            found.append(Base(label, replace(base.trial, **change), origin))
    return tuple(found)


def _only(bases: tuple[Base, ...], wanted: Iterable[str], study: str) -> tuple[Base, ...]:
    for part in wanted:
        one_of(f"part of study {study}", part, [p for base in bases for p in _parts(base)])
    return tuple(base for base in bases if set(_parts(base)) & set(wanted))


def _check(study: Study, name: str) -> None:
    """Raise ValueError unless a stage fits the bases, stages and trials of its study."""
    stage = study.stages[name]
    for label in stage.bases:
        one_of(f"base of {study.name}", label, [b.label for b in (study.whole or study).bases])
    for base in study.bases_of(stage):
        _check_layers(stage, base.trial)
        stage.applied(base.trial)
        if stage.chosen_from:  # no stage waits for one that waits for it
            before = [n for n in STAGES[: STAGES.index(name)] if n in study.stages]
            choosers = base.origin.stages if base.origin else before
            one_of(f"stage for {name} to be chosen from", stage.chosen_from, choosers)
            chooser = (base.origin or study).stages[stage.chosen_from]
            if chooser.augmentation or chooser.untuned:
                raise ValueError(
                    f"{stage.chosen_from}, which {name} is chosen from, has baselines beside the "
                    f"tuned one; leave out its augmentation and untuned"
                )
    study.planned(name)  # every trial is valid before any of them runs


def _check_layers(stage: Stage, base: Trial) -> None:
    if isinstance(stage.layers, dict) and base.modality not in stage.layers:
        raise ValueError(
            f"layers are given for {' and '.join(stage.layers)}, but not for {base.modality}, of "
            f"which the study has a base; add some, or name the stage's bases"
        )
    for layer in stage.layers_of(base):
        if layer not in LAYERS:
            registry.check_layer(base.modality, base.encoder, layer)


def _parts(base: Base) -> list[str]:
    """What `parts` may call a base."""
    return list(dict.fromkeys(filter(None, (base.label, base.trial.modality))))


def parts(study: Study) -> list[str]:
    """What the modalities and data sets of a study are called, as `load` takes them."""
    return list(dict.fromkeys(part for base in study.bases for part in _parts(base)))


def agenda(profile: str, root: Path | None = None) -> list[tuple[Study, str]]:
    """Studies and stages of a profile in the order in which the rules have them run.

    A study may come several times, each time with the bases of one modality alone. What the rules
    do not name, pages' own studies for instance, comes at the end.
    """
    order = rulebook.rules()["order"]
    studies = every(profile, root)
    steps = [step.split() for step in order["stages"]]
    places: list[tuple[str, str, str | None]] = [
        (modality if name == "own" else name, stage, modality)
        for modality in order["modalities"]
        for name, stage in steps
    ]
    places += [(name, stage, None) for name, study in studies.items() for stage in study.stages]
    if not any(study.stages for study in studies.values()):
        raise ValueError(f"profile {profile} has no stage; give one to a study")
    todo, seen = [], set[tuple[str, str, str]]()
    for name, stage, modality in places:
        if name not in studies or stage not in studies[name].stages:
            continue
        study = studies[name]
        bases = tuple(
            base
            for base in study.bases_of(study.stages[stage])
            if modality in (None, name, base.origin and base.origin.name)
            and (name, stage, base.label) not in seen
        )
        if bases:
            seen.update((name, stage, base.label) for base in bases)
            todo.append((study.part(bases), stage))
    return todo


def names(profile: str) -> list[str]:
    """The studies of a profile."""
    return list(profiles.load(profile)[1].studies)
