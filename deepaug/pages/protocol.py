"""The tables of the protocol page, from the rules and the profiles: nothing is said twice."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from deepaug.pages import figures
from deepaug.pages.figures import NAMES
from deepaug.pages.page import LARGER
from deepaug.pages.texts import texts
from deepaug.studies import catalogue, listing, rulebook
from deepaug.studies.study import Study
from deepaug.training.trial import WAYS, Trial
from deepaug.verdicts.statistics import FEWEST_TARGETS

PROFILES = ("quick", *LARGER)
CORES = 2  # of the machine that the budget is for
# What a trial's `view_size`, `samples` and `batch_size` count.
SIZES = {"vision": "pixels a side", "text": "tokens of a crop"}
SAMPLES = {"vision": "images trained on", "text": "documents trained on"}
BATCHES = {"nodes": "nodes in the loss of a step"}
Rows = list[dict[str, Any]]


def table(rows: Rows) -> None:
    """Show rows as a table whose cells wrap."""
    display(figures.plain(pd.DataFrame(rows), wrap=True))


# What is compared


def bases() -> Rows:
    """What is trained on what, and the metric that verdicts are about."""
    rules = rulebook.rules()
    return [
        {
            "modality": modality,
            "trained on": base["base"],
            "primary metric": rules["primary_metric"][modality]["of"],
            "beside it": rules["primary_metric"][modality]["beside"],
        }
        for modality, base in rules["bases"].items()
    ]


def outside() -> Rows:
    """What is recorded and enters no verdict."""
    return [{"study": name, "why": why} for name, why in rulebook.rules()["outside"].items()]


def ways() -> Rows:
    """The ways of applying a transform."""
    ruled = rulebook.rules()["ways"]
    return [{"way": way, "the transform acts on": ruled[way]} for way in WAYS]


# How it is judged


def stages() -> Rows:
    """The stages of the verdict rules, their seeds, what they read and what for."""
    return [
        {
            "stage": name,
            "seeds": len(stage["seeds"]),
            "their numbers": _seeds(stage["seeds"]),
            "reads": stage.get("reads", "validation"),
            "what for": _purpose(stage),
        }
        for name, stage in rulebook.rules()["stages"].items()
    ]


def _seeds(seeds: Sequence[int]) -> str:
    """As "0–4", or "2"."""
    return f"{seeds[0]}–{seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"


def _purpose(stage: Mapping[str, Any]) -> str:
    if stage["judges"] and "purpose" not in stage:
        return "the verdicts; run once"
    parts = [stage[key] for key in ("purpose", "of", "at") if key in stage]
    if "transforms" in stage:
        strengths = ", ".join(f"{p:g}" for p in stage["strengths"])
        parts.append(f"{', '.join(stage['transforms'])} at p {strengths}")
        parts.append(f"ways: {', '.join(stage['ways'])}")
    if "chooses" in stage:
        parts.append(f"chooses {stage['chooses']}")
    return "; ".join(parts) + ("; run once" if stage.get("runs") else "")


def claims() -> Rows:
    """The effect, or effects, that each claim is judged by."""
    rows = []
    for name, claim in rulebook.rules()["claims"].items():
        effects = claim.get("effects") or {"": claim.get("effect") or claim["measure"]}
        for which, effect in effects.items():
            at = f", at {claim['at']}" if "at" in claim else ""
            row = {"claim": f"{name} {which}".strip(), "effect": effect + at}
            rows.append({**row, "also": _also(claim)})
    return rows


def _also(claim: Mapping[str, Any]) -> str:
    """What a verdict on a claim asks for beside its interval; "" if nothing."""
    if "inverse" in claim:
        return f"called inverse if {claim['inverse']}"
    if "also" not in claim:
        return ""
    also = claim["also"]
    return (
        f"supported: {also['supported']}, at most {also['at_most']:g}; opposed: {also['opposed']}. "
        f"With {FEWEST_TARGETS} targets, the fewest, there are {math.factorial(FEWEST_TARGETS)} "
        f"orders, and the perfect one alone passes"
    )


def verdicts(of: str) -> Rows:
    """The vocabulary of a "test" or of a "cell", the first that applies."""
    return [
        {"verdict": word, f"of a {of}": when}
        for word, when in rulebook.rules()["vocabulary"][of].items()
    ]


def say(topic: str) -> None:
    """Show what the rules say of a topic: "family", "deltas", "diverged" or "scale".

    The sentences stand in notebooks/pages.yaml; what they say comes from the rules.
    """
    rules = rulebook.rules()
    delta, least = rules["vocabulary"]["delta"], rules["scale"]["features_at_least"]
    derived = {
        "confidence": f"{100 * rules['interval']['confidence']:g} %",
        "tests": ", ".join(rules["family"]["tests"]),
        "number": len(rules["family"]["tests"]),
        "deltas": ", ".join(f"{NAMES[of]} {delta[of]:g}" for of in rules["bases"]),
        "most_diverged": f"{100 * rules['diverged']['at_most']:g} %",
        "features": ", ".join(f"{NAMES[of]} {count}" for of, count in least.items()),
    }
    display(Markdown(texts()["protocol"][topic].format(**rules, **derived)))


def controls(kind: str = "controls") -> Rows:
    """The controls, or the "references", and what each is."""
    return [{kind[:-1]: name, "is": what} for name, what in rulebook.rules()[kind].items()]


# Settings


def settings(modality: str) -> Rows:
    """The settings of a modality's own study, a column for each profile."""
    columns = {profile: _settings(catalogue.load(modality, profile)) for profile in PROFILES}
    return [
        {"setting": name, **{profile: column[name] for profile, column in columns.items()}}
        for name in columns["cpu"]
    ]


def _settings(study: Study) -> dict[str, str]:
    trial = study.base
    kind = trial.modality
    found = {"data": ", ".join(base.trial.data for base in study.bases)}
    if kind in SAMPLES:
        found[SAMPLES[kind]] = f"{trial.samples:,}" if trial.samples else "all"
    if kind == "text":
        found["evaluated on"] = "topics" if trial.pairs == "none" else trial.pairs
    found["views"] = f"{trial.views}, strength {trial.view_strength:g}"
    if kind in SIZES:
        found[SIZES[kind]] = f"{trial.view_size}"
    return found | {
        "encoder": f"{trial.encoder}, width {trial.width}",
        "features": f"{features(trial)}",
        "epochs": f"{trial.epochs}",
        BATCHES.get(kind, "batch"): f"{trial.batch_size}",
        "optimiser, schedule": f"{trial.optimizer}, {trial.schedule}",
        "learning rate": f"{trial.learning_rate:g}",
        "weight decay": f"{trial.weight_decay:g}",
        "temperature": f"{trial.temperature:g}",
        "precision": trial.precision,
    }


def features(trial: Trial) -> int:
    """The width of an encoder's last stage."""
    return {"vision": 8, "text": 1, "nodes": 1}[trial.modality] * trial.width


# Budget


def budget(profile: str = "cpu") -> Rows:
    """What each stage of a profile costs, as `listing.budget` reckons it, with its base."""
    rows = listing.budget(catalogue.agenda(profile))
    return [{"of": _origin(row), **row} for row in rows]


def _origin(row: Mapping[str, Any]) -> str:
    """The base, or the study outside the verdicts, that a row of the budget is of."""
    rules = rulebook.rules()
    own = {**rules["bases"], **rules["outside"]}
    return row["study"] if row["study"] in own else row["part"].split()[0]


def show_budget(rows: Rows) -> None:
    """The budget stage by stage, in hours on two cores."""
    table(
        [
            {
                "study": row["study"],
                "of": row["part"],
                "stage": row["stage"],
                **{name: row[name] for name in ("arms", "seeds", "trials", "recorded")},
                "hours": f"{row['core_hours'] / CORES:.2f}",
                "left": f"{row['core_hours_left'] / CORES:.2f}",
                "assumes": row["waits_for"] and f"the choice of {row['waits_for']}",
            }
            for row in rows
        ]
    )


def spent(rows: Rows) -> Rows:
    """Hours on two cores by modality, beside those the rules allow; co-adaptation apart.

    What is exploratory has no budget: it runs last.

    Returns:
        A row for each: "modality", "hours", "left", "allowed".
    """
    rules = rulebook.rules()["budget"]
    found = []
    for modality, allowed in rules["hours"].items():
        own = [row for row in rows if row["of"] == modality and row["stage"] != "exploratory"]
        adapted = [row for row in own if row["study"] == "co-adaptation"]
        others = [row for row in own if row["study"] != "co-adaptation"]
        found.append(_sum(modality, others, allowed))
        if adapted:
            name = f"{modality}, co-adaptation"
            found.append(_sum(name, adapted, rules["co_adaptation_hours"]))
    return found


def _sum(name: str, rows: Rows, allowed: float) -> dict[str, Any]:
    hours, left = (sum(row[f] for row in rows) / CORES for f in ("core_hours", "core_hours_left"))
    return {"modality": name, "hours": hours, "left": left, "allowed": allowed}


def show_spent(rows: Rows) -> None:
    """Whether the budget is kept, by modality and by trial, in sentences."""
    for row in spent(rows):
        sentence = (
            f"**{row['modality']}**: {row['hours']:.1f} hours on {CORES} cores, "
            f"{_within(row['hours'], row['allowed'])} the {row['allowed']:g} allowed; "
            f"{row['left']:.1f} are left to run."
        )
        if row["hours"] > row["allowed"]:
            sentence += " All of it is run all the same: the number of runs is fixed beforehand."
        display(Markdown(sentence))
    apart = ("longer", "co-adaptation")
    seconds = {
        f"{row['study']} {row['part']} {row['stage']}": row["core_hours"] * 3600 / row["trials"]
        for row in rows
        if row["trials"] and row["stage"] not in apart and row["study"] not in apart
    }
    if seconds:
        dearest, most = max(seconds, key=seconds.__getitem__), max(seconds.values())
        allowed = rulebook.rules()["budget"]["trial_core_seconds"]
        sentence = (
            f"`longer` and co-adaptation apart, the dearest trials are those of {dearest}: "
            f"{most:.0f} core-seconds on average, {_within(most, allowed)} the {allowed} allowed."
        )
        display(Markdown(sentence))


def _within(value: float, allowed: float) -> str:
    return "within" if value <= allowed else "**over**"


def hours(rows: Rows) -> None:
    """A bar for each modality, stage by stage, and a line at what the rules allow."""
    allowed = rulebook.rules()["budget"]["hours"]
    planned = [r for r in rows if r["of"] in allowed and r["study"] != "co-adaptation"]
    by_stage = pd.DataFrame(planned).pivot_table("core_hours", "of", "stage", "sum", sort=False)
    _, ax = figures.figure(3.6)
    shown = by_stage.reindex(list(allowed)) / CORES
    shown.plot.barh(stacked=True, ax=ax, colormap="viridis", width=0.3)
    for row, most in enumerate(allowed.values()):
        ax.plot([most, most], [row - 0.25, row + 0.25], color=figures.COLOURS["pca"], lw=3)
    ax.get_legend().remove()
    figures.label_rows(ax, [*allowed])
    ax.set(xlabel=f"hours on {CORES} cores; line: allowed", ylabel="")
    figures.legend_below(ax)
    plt.show()
