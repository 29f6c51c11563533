"""The rules on made-up studies whose truth is known: how often do they decide what is not so?

Each study goes the whole way: tuning, screen, choice, confirm, family, cells. Scores are drawn;
choices and verdicts are those of `studies.choice` and `verdicts.claims`, which real studies use.

`pytest -m slow -s tests/test_null_studies.py` prints every rate with its Clopper-Pearson interval.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import optimize, special, stats

from deepaug.studies import choice, rulebook
from deepaug.verdicts import claims as verdicts
from deepaug.verdicts.statistics import Limits, paired_effect

LIMITS = Limits.of(rulebook.rules())
SEEDS = 10
CELLS = {
    "C1": ("C1",),
    "C2": ("C2",),
    "C3a": ("C3a",),
    "C3b": ("C3b standard", "C3b same transform"),
    "C4": ("C4 exhibited", "C4 alleviated"),
    "C5": ("C5",),
}
TESTS = [test for tests in CELLS.values() for test in tests]
DECIDED = ("supported", "opposed", "mixed")
STEP1 = {  # arm of step 1 -> its transform
    f"{transform} {p} {way}": transform
    for transform in ("dropout", "dropout-feature", "pca")
    for p in (0.2, 0.5)
    for way in ("both", "one view", "one view, detached")
}


@dataclass(frozen=True)
class World:
    """Where studies are drawn from. Points, but for shares and τ."""

    targets: int  # the input counted
    delta: float = 0.5
    truth: str = "null"  # see `truths`
    noise: str = "normal"  # or "heavy": t of 3 degrees of freedom, as wide
    spread: tuple[float, float] = (0.5, 1.5)  # deviation of paired differences, drawn by study
    diverging: float = 0.0  # share of runs
    leak: bool = False  # the fault to be caught: confirm on the scores that chose


NODES_AND_TEXT, IMAGES = World(targets=4), World(targets=7)
SHAPES = {"nodes, text": NODES_AND_TEXT, "images": IMAGES}
# Tests whose true effect is exactly delta: |points| 0.5, |τ| 0.2, |share| 0.05.
AT_DELTA = {
    "flat": ("C1", "C2", "C3b standard", "C4 exhibited", "C4 alleviated"),
    "deep": ("C3b same transform",),
    "peak": ("C5",),
    "trend": ("C3a",),
}


class Study:
    """One study's world: its levels, spreads and correlations, and runs drawn from it."""

    def __init__(self, world: World, random: np.random.Generator):
        self.world, self.random = world, random
        self.sd = random.uniform(*world.spread) / np.sqrt(2)  # of a run; a difference has two
        self.kinship = random.uniform(0, 0.7)  # of a run's validation and test score
        self.neighbours = random.uniform(0, 0.5)  # of runs at neighbouring targets of one seed
        self.target_sd = self.sd * random.uniform(0.7, 1.3, world.targets)
        self.sign = random.choice([-1, 1])

    def draw(self, *shape: int) -> np.ndarray:
        if self.world.noise == "heavy":
            return self.random.standard_t(3, shape) / np.sqrt(3)
        return self.random.normal(size=shape)

    def runs(self, arms: int, seeds: int) -> np.ndarray:
        """Noise of unrelated arms, (validation and test, arms, seeds)."""
        return self.some_diverge(self.sd * self.standard(arms, seeds))

    def standard(self, arms: int, seeds: int) -> np.ndarray:
        both, own = self.draw(1, arms, seeds), self.draw(2, arms, seeds)
        return np.sqrt(self.kinship) * both + np.sqrt(1 - self.kinship) * own

    def some_diverge(self, noise: np.ndarray) -> np.ndarray:
        """A diverged run has a validation score of -inf and a test score that is nan."""
        lost = self.random.random(noise.shape[1:]) < self.world.diverging
        return np.where(lost, np.array([-np.inf, np.nan])[:, None, None], noise)

    def runs_at_targets(self, seeds: int) -> np.ndarray:
        """Noise of an arm at each target, neighbours being alike, (2, targets, seeds)."""
        noise = self.standard(self.world.targets, seeds)
        for target in range(1, self.world.targets):
            new = np.sqrt(1 - self.neighbours**2) * noise[:, target]
            noise[:, target] = self.neighbours * noise[:, target - 1] + new
        return self.some_diverge(self.target_sd[:, None] * noise)

    def truths(self) -> tuple[np.ndarray, float, float]:
        """True gain of the arm at each target and alone; what contrastive shares drop more."""
        k, delta, gains = self.world.targets, self.sign * self.world.delta, 0.0
        match self.world.truth:
            case "flat":
                return np.full(k, delta), delta, self.sign * 0.05
            case "deep":
                gains = delta * (np.arange(k) > 0)
            case "peak":  # gain there minus mean after the input is delta
                gains = delta * (k - 1) / (k - 2) * (np.arange(k) == 2)
            case "trend":
                gains = self.sign * self.slope(0.2) * np.arange(k)
            case "scattered":  # targets differ, in no order
                gains = self.random.normal(0, 3, k)
            case "effective":
                return np.arange(1.0, k + 1) * 2, 4.0, 0.2
        return np.zeros(k) + gains, 0.0, 0.0

    def slope(self, tau: float) -> float:
        """Gain a target, of normal noise, that has `tau` for expected Kendall's τ."""
        shallow, deep = np.triu_indices(self.world.targets, 1)
        sds, kin = self.target_sd, self.neighbours ** (deep - shallow)
        variance = sds[shallow] ** 2 + sds[deep] ** 2 - 2 * kin * sds[shallow] * sds[deep]

        def too_large(slope):
            standing = slope * (deep - shallow) / np.sqrt(variance)
            return np.mean(2 * special.ndtr(standing) - 1) - tau

        return optimize.brentq(too_large, 0, 100)


def named(names, scores) -> dict[str, list[float]]:
    return {name: list(row) for name, row in zip(names, scores, strict=True)}


def outcomes_of(
    world: World, random: np.random.Generator
) -> tuple[dict[str, verdicts.Outcome], bool]:
    """One study, from tuning to the outcomes of the family's eight tests; whether scale is met."""
    study = Study(world, random)
    gains, alone, more = study.truths()
    names = [str(target) for target in range(world.targets)]
    above = random.uniform(12, 40)  # of the baseline, over random initialisation

    # Tuning: configurations differ, and the choice of one is no gain of any arm.
    quality = random.normal(0, 1, 24)
    tuning = quality[:, None] + random.normal(0, 1.5, 2) + study.runs(24, 2)[0]
    above += quality[int(choice.best(named(map(str, range(24)), tuning)))]

    # Screen, step 1: 18 arms at the middle target, one seed. Step 2: all targets, two seeds.
    middle = int(choice.middle(names[1:]))
    step1 = above + gains[middle] + study.runs(len(STEP1), 1)[0]
    arms = choice.best_by_family(named(STEP1, step1), STEP1)
    screened = {family: study.runs_at_targets(SEEDS if world.leak else 2) for family in arms}
    step2 = {f: named(names, above + gains[:, None] + noise[0]) for f, noise in screened.items()}
    chosen, primary = choice.targets_and_primary(step2)
    target = int(chosen[primary])
    deep = choice.best({name: step2[primary][name] for name in names[1:]})

    # Confirm: new seeds, new runs, the test metric.
    seed_effect = random.normal(0, 1.5, SEEDS)
    level = 40 + above + seed_effect
    untrained = 40 + seed_effect / 3 + random.normal(0, 0.5, SEEDS)
    twin_level = 50 + above + random.normal(0, 1.0, SEEDS)
    share = random.uniform(0.06, 0.3)
    dropped = (share + more) * above, share * (above + gains[target]), share * (above + 10)

    def counted(scores):
        return verdicts.counted(scores, np.isnan(scores), untrained)

    noise = screened[primary] if world.leak else study.runs_at_targets(SEEDS)
    at_targets = level + gains[:, None] + noise[0 if world.leak else 1]
    diverged = np.isnan(at_targets).mean(1)
    at_targets, arm = counted(at_targets), level + gains[target]
    means = [level, level + alone, twin_level, twin_level]
    means += [level, level - dropped[0], arm, arm - dropped[1], twin_level, twin_level - dropped[2]]
    baseline, unaugmented, twin, twin_arm, *split = counted(means + study.runs(10, SEEDS)[1])
    without = verdicts.Drop(*split[:2], baseline, untrained)
    alleviated = verdicts.Drop(*split[2:4], at_targets[target], untrained)
    supervised = verdicts.Drop(*split[4:], twin, untrained)

    found = at_targets - baseline  # (targets, seeds)
    liking = random.dirichlet(np.ones(world.targets - 1))  # some scores always say the same
    says = random.choice(world.targets - 1, SEEDS, p=liking)
    if world.truth == "peak":
        says = np.ones(SEEDS)  # number 1 after the input: target 2
    trend, depth_p = verdicts.depth_trend(found.T, LIMITS.confidence)
    effects = {
        "C1": paired_effect(at_targets[target], baseline),
        "C2": verdicts.interaction(at_targets[target], baseline, twin_arm, twin, LIMITS.confidence),
        "C3a": trend,
        "C3b standard": paired_effect(unaugmented, baseline),
        "C3b same transform": paired_effect(at_targets[int(deep or 1)], at_targets[0]),
        "C4 exhibited": verdicts.drop_difference(without, supervised, LIMITS.confidence),
        "C4 alleviated": verdicts.drop_difference(without, alleviated, LIMITS.confidence),
        "C5": verdicts.against_random(found[1:].T, says, LIMITS.confidence),
    }
    deltas = {"C3a": 0.2, "C4 exhibited": 0.05, "C4 alleviated": 0.05}
    outcomes = {
        test: verdicts.Outcome(
            effect,
            deltas.get(test, world.delta),
            SEEDS,
            diverged=max(diverged) if test in ("C3a", "C5") else diverged[target],
            depth_p=depth_p if test == "C3a" else None,
        )
        for test, effect in effects.items()
    }
    if deep is None:  # it diverged at every target after the input: nothing to confirm there
        outcomes |= dict.fromkeys(CELLS["C3b"])
    return outcomes, np.mean(baseline - untrained) >= 10


def simulate(world: World, studies: int, seed: int = 0) -> Counter:
    """How many of so many studies came to each (test or cell, word).

    Of "any" and a word how many had it among their tests; of ("any", "decided") how many had
    "supported" or "opposed" there.
    """
    count = Counter()
    random = np.random.default_rng(seed)
    for _ in range(studies):
        outcomes, scale_met = outcomes_of(world, random)
        judged = verdicts.judge(outcomes, CELLS, LIMITS, scale_met)
        words = {test: verdict.word for test, verdict in judged.tests.items()}
        count.update(words.items())
        count.update((f"cell {cell}", word) for cell, word in judged.cells.items())
        count.update(("any", word) for word in set(words.values()))
        count["any", "decided"] += any(word in DECIDED for word in words.values())
        count["any cell", "decided"] += any(word in DECIDED for word in judged.cells.values())
    return count


def at_least(events: int, studies: int) -> float:
    """Lower end of the rate's 95 % interval, Clopper and Pearson's."""
    return stats.binomtest(events, studies).proportion_ci(0.95, "exact").low


def line(name: str, events: int, studies: int) -> str:
    interval = stats.binomtest(events, studies).proportion_ci(0.95, "exact")
    share = f"{100 * events / studies:5.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    return f"  {name:20} {share}"


def report(title: str, count: Counter, studies: int, words=DECIDED, names=()) -> None:
    print(f"\n{title}: {' or '.join(words)}, {studies} studies")
    for name in names or [*TESTS, *(f"cell {cell}" for cell in CELLS)]:
        print(line(name, sum(count[name, word] for word in words), studies))
    for name in ("any", "any cell"):
        if words == DECIDED:
            print(line(name, count[name, "decided"], studies))


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"noise": "heavy"}, {"diverging": 0.05}], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_of_null_studies_one_in_twenty_decides_anything(shape, change):
    count = simulate(replace(SHAPES[shape], **change), 2000)
    report(f"null, {shape}, {change}", count, 2000)
    assert at_least(count["any", "decided"], 2000) <= 0.05
    assert at_least(count["any cell", "decided"], 2000) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("spread", [(0.5, 1.5), (0.1, 0.6)])
@pytest.mark.parametrize("truth", AT_DELTA)
@pytest.mark.parametrize("world", [NODES_AND_TEXT, replace(NODES_AND_TEXT, delta=1.0), IMAGES])
def test_an_effect_of_delta_is_seldom_called_negligible(world, truth, spread):
    """Of nodes delta is 1 point."""
    count = simulate(replace(world, truth=truth, spread=spread), 2000)
    names = AT_DELTA[truth]
    title = f"{truth}, {world.targets} targets, delta {world.delta}, spread {spread}"
    report(title, count, 2000, ("negligible",), names)
    for name in names:
        assert at_least(count[name, "negligible"], 2000) <= 0.025
    if truth == "flat":
        assert at_least(count["cell C4", "negligible"], 2000) <= 0.025


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_targets_that_differ_in_no_order_seldom_make_a_trend(shape):
    """C3a's permutation: the seeds agree on the order, and depth has no part in it."""
    count = simulate(replace(SHAPES[shape], truth="scattered"), 2000)
    report(f"scattered, {shape}", count, 2000, names=["C3a"])
    for word in ("supported", "opposed"):
        assert at_least(count["C3a", word], 2000) <= 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_a_hundred_null_studies(shape):
    count = simulate(SHAPES[shape], 100)
    assert at_least(count["any", "decided"], 100) <= 0.05


@pytest.mark.parametrize("truth", AT_DELTA)
def test_a_hundred_studies_at_delta(truth):
    count = simulate(replace(NODES_AND_TEXT, truth=truth, spread=(0.1, 0.6)), 100)
    for name in AT_DELTA[truth]:
        assert at_least(count[name, "negligible"], 100) <= 0.025


def test_without_holm_the_rate_is_caught(monkeypatch):
    monkeypatch.setattr(verdicts, "holm", list)
    count = simulate(IMAGES, 100)
    assert at_least(count["any", "decided"], 100) > 0.05


@pytest.mark.parametrize("leak", [False, True])
def test_choosing_leaves_its_trace_in_the_scores_that_chose_alone(leak):
    """The best of many seems better than it is: not so in new runs of other seeds."""
    random, world = np.random.default_rng(0), replace(IMAGES, leak=leak)
    found = [outcomes_of(world, random)[0] for _ in range(200)]
    for test in ("C1", "C2", "C3b same transform"):
        means = [outcomes[test].effect.mean for outcomes in found]
        effect = paired_effect(means, np.zeros(200), confidence=0.999)
        assert (effect.low > 0) == leak and effect.high > 0, (test, effect)


def test_true_effects_are_found():
    """Rates of a null study are low because nothing is there, not because nothing is ever found."""
    count = simulate(replace(IMAGES, truth="effective"), 20)
    for test in ("C1", "C2", "C3a", "C3b standard", "C3b same transform", "C4 exhibited"):
        assert count[test, "supported"] >= 18, test
        assert not count[test, "opposed"]
