"""The explorer's data: recorded runs and their paired gains, a row each; nothing is drawn here.

Runs are paired as everywhere, by `effects.gains`; the page's script filters rows and draws them.
"""

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepaug.files import whole
from deepaug.pages.page import LARGER
from deepaug.studies import arms, catalogue, records, rulebook
from deepaug.studies.profile import STAGES
from deepaug.studies.study import Entry, Study
from deepaug.training.trial import TRANSFORMS
from deepaug.verdicts import effects, opened
from deepaug.verdicts.effects import METRICS, Recorded
from deepaug.verdicts.evidence import CONDITIONS
from deepaug.verdicts.statistics import mean_effect
from deepaug.verdicts.table import finite

COPIES = {"_free": ", free copy", "_frozen": ", frozen copy"}  # of networks that are split
COLUMNS = (
    "profile",
    "modality",
    "data",
    "study",
    "stage",
    "objective",
    "split",
    "metric",
    "primary",  # whether that is the metric which verdicts on this task are about
    "role",
    "control",  # which one; "" of all else
    "arm",
    "transform",
    "strength",
    "way",
    "layer",
    "depth",  # the layer's number from the input on; -1 without a layer
    "cut",
    "setting",  # what the baseline of these runs changes of the tuned one
    "seed",
    "status",  # "ok", "diverged" or "collapsed"
    "value",  # in per cent or points; None of a diverged run
    "gain",  # over the baseline of the same seed, in points; 0 of the baseline, None without a pair
    "low",  # the interval of the arm's mean gain over all of its seeds, None where these are few
    "high",
    "key",
)


def rows(profiles: Iterable[str] = LARGER, root: Path | None = None) -> list[dict[str, Any]]:
    """A row for each run recorded at some profiles; see `rows_of`.

    Args:
        profiles: by name; those without a record are passed over.
        root: the folder of all records; by default `$DEEPAUG_RESULTS` or results/.
    """
    root = root or records.default_root()
    recorded = [profile for profile in profiles if records.files(root, profile)]
    return [row for profile in recorded for row in rows_of(profile, root)]


def rows_of(profile: str, root: Path | None = None) -> Iterator[dict[str, Any]]:
    """A row for each recorded run, split and metric, at its place in a study, by `COLUMNS`.

    Runs are in the order of studies and stages. A run that several studies share stands in each.
    Test metrics are those of records all of whose claims are judged, and whose baseline's are; see
    `opened.keys`.

    Args:
        profile, root: as `catalogue.load` takes them.

    Raises ValueError where the profile has no stage that judges.

        gains = [row["gain"] for row in rows_of("cpu") if row["layer"] == "layer2"]
    """
    studies = catalogue.every(profile, root)
    unsealed = opened.keys_of(profile, studies)
    for study in studies.values():
        for stage in study.stages:
            yield from _stage_rows(study, stage, unsealed)


def _stage_rows(study: Study, stage: str, unsealed: Container[str]) -> Iterator[dict[str, Any]]:
    for part in effects.by_base(study.recorded(stage)).values():
        # What is not split, random initialisation say, belongs to every cut, or to none if so far
        # no split network is recorded.
        cuts = [e.trial.cut for e, _ in part if e.role == "baseline" or e.trial.cut != "none"]
        for cut in dict.fromkeys(cuts or ["none"]):
            of_cut = [r for r in part if r[0].trial.cut in (cut, "none")]
            place = {"profile": study.profile, "study": study.name, "stage": stage, "cut": cut}
            for row in _unit_rows(of_cut, unsealed):
                yield {name: (place | row)[name] for name in COLUMNS}


def _unit_rows(part: Recorded, unsealed: Container[str]) -> Iterator[dict[str, Any]]:
    """Rows of records of one stage, base and cut: everything that pairs with one baseline."""
    for split, kept in (("validation", part), ("test", _open(part, unsealed))):
        table = effects.frame(kept, split, unsealed)
        for metric in _metrics(kept, table):
            measured = table.reindex(columns=[*table.columns.union([metric], sort=False)])
            gained = _gains(kept, measured, metric)
            for (entry, record), run in zip(kept, measured.itertuples(), strict=True):
                value = finite(getattr(run, metric))
                if value is not None or run.status == "diverged":
                    measures = {"split": split, "metric": metric, "value": value}
                    primary = metric == effects.primary(kept)
                    yield measures | {"primary": primary} | _of(entry, record) | gained[entry]


def _open(part: Recorded, unsealed: Container[str]) -> Recorded:
    """The records whose test metrics anyone may read, as well as those of their baseline."""
    kept = [(entry, record) for entry, record in part if entry.trial.key in unsealed]
    plain = {(e.objective, e.trial.seed) for e, _ in kept if e.role == "baseline"}
    return [(e, record) for e, record in kept if (e.objective, e.trial.seed) in plain]


def _metrics(kept: Recorded, table: pd.DataFrame) -> list[str]:
    """The metrics that runs were evaluated by; the primary one where all of them diverged."""
    known = [name for name in table.columns if _label(name)]
    return known or [effects.primary(kept)] if kept else []


def _label(metric: str) -> str:
    """What a metric is called, "" of none."""
    for suffix, of_copy in COPIES.items():
        if metric.endswith(suffix) and (plain := METRICS.get(metric.removesuffix(suffix))):
            return plain + of_copy
    return METRICS.get(metric, "")


def _gains(kept: Recorded, table: pd.DataFrame, metric: str) -> dict[Entry, dict[str, Any]]:
    """Gain and interval of each run, as `effects.gains` pairs it with the baseline."""
    baseline = next((e.arm for e, _ in kept if e.role == "baseline"), "")
    gained = effects.gains(_countable(table, metric), metric, baseline)
    fewest = rulebook.fewest_seeds()
    of_arm = {
        place: gains.dropna()
        for place, gains in gained.groupby(["objective", "arm"], sort=False)["gain"]
    }
    intervals = {p: mean_effect(gains) for p, gains in of_arm.items() if len(gains) >= fewest}
    own = {(run.objective, run.arm, run.seed): run.gain for run in gained.itertuples()}
    found = {}
    for entry, _ in kept:
        gain = own.get((entry.objective, entry.arm, entry.trial.seed))
        if entry.role == "baseline":
            gain = 0.0
        effect = intervals.get((entry.objective, entry.arm))
        low, high = (effect.low, effect.high) if effect else (None, None)
        found[entry] = {"gain": finite(gain), "low": finite(low), "high": finite(high)}
    return found


def _countable(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The runs that can be paired: a diverged one counts as its untrained self, and needs it."""
    unit = ["base", "objective", "seed", *CONDITIONS]
    untrained = table[(table["arm"] == "untrained") & table[metric].notna()]
    known = set(untrained[unit].itertuples(index=False, name=None))
    units = table[unit].itertuples(index=False, name=None)
    has = pd.Series([place in known for place in units], table.index, bool)
    return table[(table["status"] != "diverged") | has]


def _of(entry: Entry, record: dict[str, Any]) -> dict[str, Any]:
    """What a run is, whatever it is measured by."""
    trial, targets = entry.trial, arms.targets(entry.trial)
    return {
        **{name: getattr(trial, name) for name in ("modality", "data", "transform", "strength")},
        **{name: getattr(trial, name) for name in ("layer", "seed")},
        "objective": entry.objective,
        "role": entry.role,
        "control": entry.arm if entry.role == "control" else entry.control,
        "arm": entry.arm,
        "way": trial.way if trial.layer != "none" else "none",
        "depth": targets.index(trial.layer) if trial.layer in targets else -1,
        "status": "collapsed" if records.collapsed(record) else record["status"],
        "setting": entry.setting,
        "key": trial.key,
    }


# The files of the page


def write(folder: Path, root: Path | None = None) -> int:
    """Write the explorer's data, and the libraries that draw them, to `folder`; how many rows.

    The libraries come from wheels of this environment, so that nothing is fetched when the page is
    built or read.

    Args:
        folder: made where there is none. It then holds data.json, plot.js (Vega-Lite), table.js
            and table.css (DataTables).
        root: as `rows` takes it.

    Raises ValueError if `folder` is a file, or `root` no folder; nothing is written then.
    """
    root = root or records.default_root()
    if not root.is_dir():
        raise ValueError(f"{root} is no folder of records; name one with --results")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the files of the explorer")
    found = rows(root=root)
    files = {"data.json": json.dumps(payload(found), **COMPACT), **_libraries()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return len(found)


COMPACT: dict[str, Any] = {"separators": (",", ":"), "allow_nan": False}


def payload(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the page reads: rows as lists by `COLUMNS`, and what the names in them mean."""
    rules = rulebook.rules()
    judging = {name for name, stage in rules["stages"].items() if stage["judges"]}
    return {
        "columns": COLUMNS,
        "rows": [[_short(row[name]) for name in COLUMNS] for row in found],
        "stages": {name: name in judging for name in STAGES},  # whether it judges
        "listed": _listed({(row["profile"], row["study"]) for row in found}),
        "metrics": {row["metric"]: _label(row["metric"]) for row in found},
        "ways": rules["ways"] | {"same-mask": "both views, by the same draw"},
        "families": {name: named.family or "noise" for name, named in TRANSFORMS.items()},
    }


def _short(value: Any) -> Any:
    """Digits beyond the fourth are below what a single test sample changes."""
    return round(value, 4) if isinstance(value, float) else value


def _listed(studies: Iterable[tuple[str, str]]) -> list[str]:
    """Stages, as "profile study stage", whose trials no records choose: `run` always knows them."""
    return sorted(
        f"{profile} {name} {stage_name}"
        for profile, name in studies
        for stage_name, stage in catalogue.load(name, profile).stages.items()
        if not stage.chosen_from
    )


def _libraries() -> dict[str, str]:
    """File -> content of the libraries of the browser's side."""
    import itables
    import vl_convert

    tables = Path(itables.__file__).parent / "html"
    return {
        "plot.js": vl_convert.javascript_bundle(None),
        "table.js": (tables / "dt_bundle.js").read_text(encoding="utf-8"),
        "table.css": (tables / "dt_bundle.css").read_text(encoding="utf-8"),
    }
