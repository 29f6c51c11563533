"""What the exploratory pages show: when the arm gains, and what the verdicts hang on."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.axes import Axes

from deepaug.pages import answers, figures
from deepaug.pages.figures import NAMES
from deepaug.pages.page import Page
from deepaug.pages.show import finish
from deepaug.pages.texts import texts
from deepaug.studies import rulebook
from deepaug.verdicts import effects, exploratory, robustness, wording
from deepaug.verdicts.exploratory import AUGMENTATION, BEFORE, ROBUSTNESS, Gain
from deepaug.verdicts.outcomes import ALONE
from deepaug.verdicts.robustness import Firmness
from deepaug.verdicts.table import Table

Points = Sequence[tuple[float, Sequence[float]]]  # what is varied, and the gains of the seeds
SETTINGS = {
    "untuned": "With settings that nobody tuned",
    "plain-statistics": "With BatchNorm's statistics from passes without the transform",
}
SHARES = {0.0: "no", 0.25: "a quarter of the", 0.5: "half of the", 1.0: "all of the"}


def gains_by_augmentation() -> None:
    """In each judged modality the gain of the primary arm where the input is augmented less."""
    for table, found in _judged(AUGMENTATION):
        for name, gains in found.items():
            told = "; ".join(f"with {_share(g.augmentation)}: {_told(g)}" for g in gains)
            alone = answers.beside_it(ALONE, gains[0].modality, table)
            read = reading(AUGMENTATION, gains, table.profile)
            display(_paragraph(name, read, f"Gain {told}.", alone))
        lines = {
            name: [(gain.augmentation, gain.values) for gain in gains if gain.effect]
            for name, gains in found.items()
        }
        _show(lines, "input augmentation, as a share of what was tuned", table.profile)
        waiting = [NAMES[m] for m in table.scales if NAMES[m] not in found]
        if waiting:
            names, claims = (" and ".join(of) for of in (waiting, BEFORE))
            told = f"{names.capitalize()}: shown once the verdicts on {claims} are in."
            display(Markdown(told))


def gains_by_strength() -> None:
    """The gain of the primary arm at other strengths, and with settings that nobody tuned."""
    for table, found in _judged(ROBUSTNESS):
        lines = {}
        for name, gains in found.items():
            tuned = [gain for gain in gains if not gain.setting and not gain.control]
            told = "; ".join(
                f"at p = {g.strength:g}{' (the judged one)' if g.judged else ''}: {_told(g)}"
                for g in tuned
            )
            other = [
                f"{SETTINGS[g.setting or g.control]}: {_told(g)}."
                for g in gains
                if g.setting or g.control
            ]
            read = reading(ROBUSTNESS, gains, table.profile)
            display(_paragraph(name, read, f"Gain {told}.", *other))
            lines[name] = [(gain.strength, gain.values) for gain in tuned if gain.effect]
        _show(lines, "strength p of the transform", table.profile)


def live_by_augmentation(page: Page) -> None:
    """The gains of the live run, by validation; of each seed the mean over its arms and data."""
    found: dict[str, dict[float, list[pd.DataFrame]]] = {}
    for part in effects.by_base(page.live).values():
        gained = effects.gains(effects.frame(part), effects.metric_of(page.study, part))
        trial = part[0][0].trial
        of = found.setdefault(NAMES[trial.modality], {})
        of.setdefault(trial.view_strength, []).append(gained[gained["transform"] != "none"])
    lines = {
        name: [
            (x, tuple(pd.concat(of).groupby("seed")["gain"].mean()))
            for x, of in sorted(by_strength.items())
        ]
        for name, by_strength in found.items()
    }
    ax = by_value(lines)
    ax.set(xlabel="input augmentation, as a share of the recipe's", ylabel="gain, points")
    finish(page.live)


def _judged(place: str) -> Iterator[tuple[Table, dict[str, list[Gain]]]]:
    """Each table of verdicts, and the gains of a stage by the names of judged modalities."""
    for table in answers.tables():
        found: dict[str, list[Gain]] = {}
        for gain in exploratory.of_judged(table, place):
            found.setdefault(NAMES[gain.modality], []).append(gain)
        yield table, found


def reading(place: str, gains: Sequence[Gain], profile: str) -> str:
    """What was written by hand on a modality's gains.

    "" once the interval of one lies elsewhere, and at any other scale.

    Args:
        place: `AUGMENTATION` or `ROBUSTNESS`.
    """
    study, _, _ = place.partition(" ")
    written = texts()["exploratory"].get(study, {}).get(gains[0].modality)
    if not written or profile != answers.WRITTEN_AT:
        return ""
    where: dict[str, list[str | None]] = {}
    for gain in gains:
        other = gain.setting or gain.control
        varied = other if other in SETTINGS else "ascending"
        where.setdefault(varied, []).append(gain.effect.side if gain.effect else None)
    return written["says"] if written["where"] == where else ""


def _paragraph(name: str, *sentences: str) -> Markdown:
    return Markdown(" ".join(filter(None, (f"**{name.capitalize()}.**", *sentences))))


def _share(augmentation: float) -> str:
    return f"{SHARES.get(augmentation, f'{augmentation:g} of the')} input augmentation"


def _told(gain: Gain) -> str:
    if gain.effect is None:
        return f"not known yet ({gain.recorded} of {gain.planned} runs)"
    told = wording.seeds(gain.values, rulebook.fewest_seeds(), " points")
    return f"{told}, n = {gain.effect.n}"


def _show(lines: Mapping[str, Points], what: str, profile: str) -> None:
    """The figure of some lines, if there is anything to draw."""
    if any(lines.values()):
        ax = by_value(lines)
        ax.set(xlabel=what, ylabel="gain over its own baseline, points")
        ax.set_title(f"Test, {profile}, exploratory")
        plt.show()


def by_value(lines: Mapping[str, Points]) -> Axes:
    """A line for each modality: seeds as dots, means joined, bars for 95 % intervals."""
    _, ax = figures.figure(4.4)
    places = sorted({x for points in lines.values() for x, _ in points})
    step = min((b - a for a, b in itertools.pairwise(places)), default=1.0)
    for number, (name, points) in enumerate(lines.items()):
        shift = (number - (len(lines) - 1) / 2) * 0.08 * step  # side by side
        shifted = [(x + shift, values) for x, values in points]
        figures.over_seeds(ax, shifted, figures.OF_MODALITIES[name], name)
    ax.axhline(0, color=figures.COLOURS["baseline"], linewidth=1.5, zorder=1)
    ax.set_xticks(places, [f"{x:g}" for x in places])
    figures.legend_below(ax)
    return ax


# What the verdicts hang on


def firmness() -> None:
    """Each verdict, and what it would be otherwise: by metric, seeds, data set, and half of δ."""
    rows = [_row(of) for table in answers.tables() for of in robustness.of(table)]
    if rows:
        display(figures.plain(pd.DataFrame(rows), wrap=True))
    else:
        display(Markdown("No verdict is in yet."))


def _row(of: Firmness) -> dict[str, str]:
    return {
        "claim": of.claim,
        "of": NAMES[of.modality],
        "verdict": of.verdict,
        "by the other metric": f"{effects.READ_BY[of.metric]}: {answers.by_other_metric(of)}",
        "without one seed": of.told_by_seed or "the same, whichever is left out",
        "on one data set": of.told_by_data or "it has but one",
        "with half of δ": of.by_half,
    }
