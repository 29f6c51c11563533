"""Tables of networks that were split and retrained, and what they say of co-adaptation (C4, C5)."""

import numpy as np
import pandas as pd

from deepaug.studies import arms
from deepaug.studies.study import Entry
from deepaug.verdicts import claims
from deepaug.verdicts.claims import Drop, relative_drop
from deepaug.verdicts.effects import Recorded
from deepaug.verdicts.evidence import Arm, paired, split_networks
from deepaug.verdicts.statistics import CONFIDENCE, Effect

TRAINING = ["base", "training", "cut"]  # what tells one split training from another


def frame(recorded: Recorded, split: str = "validation") -> pd.DataFrame:
    """A row for each split training: the primary metric of the network and of its two copies.

    Args:
        recorded: of a stage with cuts, its untrained networks among them. Test metrics are for
            verdict code alone.

    Returns:
        Columns "base", "training" ("contrastive", "supervised", or the arm), "cut", "seed", "free",
        "frozen", "whole", "untrained". Scores count as in a verdict, by `evidence.paired`: networks
        and copies that diverged stand at random initialisation, and a seed is left out whose
        untrained network is not recorded under the same conditions.
    """
    records = dict(recorded)
    trainings: dict[tuple[str, str, str], list[Entry]] = {}
    untrained: dict[str, list[Entry]] = {}
    for entry, _ in recorded:
        if entry.arm == "untrained":
            untrained.setdefault(entry.base, []).append(entry)
        elif entry.trial.cut != "none":
            place = entry.base, _training(entry, recorded), entry.trial.cut
            trainings.setdefault(place, []).append(entry)
    rows = []
    for place, entries in trainings.items():

        def arm(copy: str, entries: list[Entry] = entries) -> Arm | None:
            return Arm.of(entries, records.get, copy, split)

        networks = split_networks(arm, arm("", untrained.get(place[0], [])))
        if None in networks:
            continue
        scores = paired(networks, networks[-1])
        for runs, values in zip(scores.runs, scores.means.T, strict=True):
            named = Drop(*values.tolist())._asdict()
            rows.append(dict(zip(TRAINING, place, strict=True)) | {"seed": runs[0][1]} | named)
    return pd.DataFrame(rows)


def _training(entry: Entry, recorded: Recorded) -> str:
    """What a training is called; an arm by its name where there are several."""
    if entry.role == "baseline":
        return entry.objective
    names = {arms.name(other.trial) for other, _ in recorded if other.role == "arm"}
    return "with the transform" if len(names) == 1 else f"with {arms.name(entry.trial)}"


def drops(table: pd.DataFrame) -> pd.DataFrame:
    """Relative drop of each training at each cut: (free − frozen) / (whole − untrained).

    Args:
        table: as `frame` makes it.

    Returns:
        A row for each base, training and cut, with "effect", an `Effect` over its seeds.
    """
    rows = [
        dict(zip(TRAINING, place, strict=True)) | {"effect": drop(runs)}
        for place, runs in table.groupby(TRAINING, sort=False)
    ]
    return pd.DataFrame(rows)


def drop(runs: pd.DataFrame) -> Effect:
    """The relative drop of one training at one cut, over its seeds."""
    parts = (runs[name].to_numpy() for name in ("free", "frozen", "whole", "untrained"))
    return relative_drop(Drop(*parts), CONFIDENCE)


def similarities(recorded: Recorded) -> dict[str, tuple[list[str], np.ndarray]]:
    """Training -> its layers, and their CKA as the mean over seeds (and cuts); of one base."""
    found: dict[str, list[np.ndarray]] = {}
    layers: list[str] = []
    for entry, record in recorded:
        if "similarity" in record:
            layers = record["similarity"]["layers"]
            training = _training(entry, recorded)
            found.setdefault(training, []).append(np.array(record["similarity"]["cka"]))
    return {training: (layers, np.mean(of, axis=0)) for training, of in found.items()}


def likeness(recorded: Recorded) -> pd.DataFrame:
    """C5's score of each layer after the input: its mean CKA with all others, by seed; of one base.

    Of contrastive trainings without a transform alone. A row for each seed and layer.
    """
    rows = []
    for entry, record in recorded:
        if entry.role == "baseline" and entry.objective == "contrastive" and "similarity" in record:
            layers = record["similarity"]["layers"]
            scores = claims.likeness(record["similarity"]["cka"])
            rows += [
                {"seed": entry.trial.seed, "layer": layer, "score": score}
                for layer, score in zip(layers, scores, strict=True)
            ]
    return pd.DataFrame(rows)
