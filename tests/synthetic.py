"""A store of made-up records: each a function of its trial, so that effects are known by hand."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import tiny
import yaml

from deepaug.studies import arms, catalogue
from deepaug.training import registry
from deepaug.training.trial import Trial
from deepaug.verdicts.table import Table, table

DIVERGED = "diverged"


def jitter(seed: int, size: float = 0.1) -> float:
    """Plus and minus by turns: nothing on average over confirm's ten seeds."""
    return size if seed % 2 else -size


LOST = {"contrastive": 6.0, "supervised": 2.0, "arm": 3.3}


class World:
    """Scores in points: plain trainings, what arms add, what frozen copies lose.

    `gains` are by target, from the input on; those of validation choose the deepest target.
    """

    untrained, contrastive, supervised = 30.0, 60.0, 70.0
    gains = (0.0, 1.0, 2.0, 3.0)  # contrastive, test
    twin = -1.0  # of the supervised arm
    alone = 1.5  # of the arm without augmentation, over the baseline
    lost = MappingProxyType(LOST)  # by frozen copies
    way = "one-view"  # that validation chooses
    ways = MappingProxyType({})  # what a way adds to a gain
    control = 0.5  # gain of every control of an arm
    size = 0.1  # of the jitter of gains
    most_similar = 3  # target that the score chooses, the input being 0
    conditions = ("a processor", "2.11.0")

    def depth(self, trial: Trial) -> int:
        return arms.targets(trial).index(trial.layer)

    def gain(self, trial: Trial) -> float:
        if trial.objective == "supervised":
            return self.twin
        if trial.view_strength == 0:
            return self.alone
        if trial.transformed == "same" or "noise" in trial.transform or not trial.strength:
            return self.control
        return self.gains[self.depth(trial)] + self.ways.get(trial.way, 0.0)

    def test(self, trial: Trial) -> float | str | None:
        """The score; None where nothing is recorded."""
        if trial.objective == "untrained":
            return self.untrained
        plain = getattr(self, trial.objective) + trial.seed % 7  # cancels in pairs
        if trial.layer == "none":
            return plain - (5 if trial.view_strength == 0 else 0)
        # Twins waver against each other, so that no difference is without a spread.
        size = -self.size if trial.objective == "supervised" else self.size
        return plain + self.gain(trial) + jitter(trial.seed, size)

    def record(self, trial: Trial) -> dict | None:
        score = self.test(trial)
        if score is None:
            return None
        metric = registry.primary(trial)
        device, torch = self.conditions
        made = {"device": device, "versions": {"torch": torch}}
        if "GPU" in device:
            made["accelerator"] = "cuda"
        if score == DIVERGED:
            return tiny.record(trial, status="diverged", metrics={}, **made)
        is_arm = trial.layer != "none"
        best = self.untrained if trial.objective == "untrained" else self.contrastive
        best += self.depth(trial) if is_arm else 0
        # A little less of everything that is not dropout in that way.
        best -= 0.1 * (trial.transform != "dropout") + 0.1 * (trial.way != self.way)
        values = {"validation": {metric: best}, "test": {metric: score}}
        if trial.cut != "none":
            of = "arm" if is_arm else trial.objective
            lost = self.lost[of] + jitter(trial.seed, 0.1 if of == "contrastive" else -0.1)
            for metrics in values.values():
                metrics |= {f"{metric}_free": score, f"{metric}_frozen": score - lost}
            layers = arms.targets(trial)[1:]
            size = range(1, len(layers) + 1)
            cka = [[0.9 if self.most_similar in (i, j) else 0.1 for j in size] for i in size]
            made["similarity"] = {"layers": list(layers), "cka": cka}
        return tiny.record(trial, metrics=values, **made)


class Memory:
    """A store that makes its records up when asked."""

    def __init__(self, world: World, profile: str):
        self.world, self.folder, self.found = world, Path("results", profile), {}

    def read(self, trial: Trial) -> dict | None:
        if trial.key not in self.found:
            self.found[trial.key] = self.world.record(trial)
        return self.found[trial.key]


def profile(folder: Path, modality: str = "text", exploratory: bool = False, **studies) -> str:
    """`cpu` with the studies of one modality, whose targets are four, and others changed.

    Args:
        exploratory: with the studies that judge nothing.
    """
    parts = {"text": ["text"], "nodes": ["nodes Cora", "nodes CiteSeer"]}[modality]
    others = ("nodes", "text", "vision", "sentences", "graphs")
    change = {name: None for name in others if name != modality}
    for name in ("supervised", "input-or-deep", "stop-gradient", "co-adaptation"):
        stages = {"pilot": None, "exploratory": None, "confirm": {"bases": parts}}
        of = dict.fromkeys((other for other in others if other != modality), None)
        change[name] = {"of": of, "stages": stages}
    for name in ("when-it-helps", "robustness"):
        change[name] = {"of": of} if exploratory else None
    path = folder / "made-up.yaml"
    path.write_text(yaml.safe_dump({"extends": "cpu", "studies": change | studies}))
    return str(path)


def judged(monkeypatch, folder: Path, world: World, modality: str = "text", **changes) -> Table:
    """The table of a profile whose every record is made up; `changes` as `profile` takes them."""
    monkeypatch.setattr(catalogue, "store", lambda *_: Memory(world, "made-up"))
    return table(profile(folder, modality, **changes))


def world(**changes) -> World:
    """A world with other numbers; a function in place of a method takes the trial alone."""
    made = World()
    for name, value in changes.items():
        if isinstance(value, Callable):
            value = value.__get__(made)
        setattr(made, name, value)
    return made
