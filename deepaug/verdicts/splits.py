"""Tables of networks that were split and retrained, and what they say of co-adaptation (C4, C5)."""

import numpy as np
import pandas as pd

from deepaug.training import registry
from deepaug.verdicts import claims
from deepaug.verdicts.claims import Drop, counted, relative_drop
from deepaug.verdicts.effects import Recorded
from deepaug.verdicts.statistics import CONFIDENCE, Effect

TRAINING = ["base", "training", "cut"]  # what tells one split training from another


def frame(recorded: Recorded, split: str = "validation") -> pd.DataFrame:
    """A row for each split training: the primary metric of the network and of its two copies.

    Args:
        recorded: of a stage with cuts, its untrained networks among them. Test metrics are for
            verdict code alone.

    Returns:
        Columns "base", "training" ("contrastive", "supervised", or the arm), "cut", "seed",
        "whole", "free", "frozen", "untrained". A copy that diverged counts at random
        initialisation; a network that did is left out, as there is nothing to copy.
    """
    scores = [
        (entry, record["metrics"][split], registry.primary(entry.trial))
        for entry, record in recorded
        if record["status"] == "ok"
    ]
    untrained = {
        (entry.base, entry.trial.seed): metrics[name]
        for entry, metrics, name in scores
        if entry.arm == "untrained"
    }
    rows = []
    for entry, metrics, name in scores:
        trial = entry.trial
        if trial.cut == "none" or (entry.base, trial.seed) not in untrained:
            continue
        initial = untrained[entry.base, trial.seed]
        copies = {kind: metrics.get(f"{name}_{kind}") for kind in ("free", "frozen")}
        rows.append(
            {
                "base": entry.base,
                "training": entry.objective if entry.role == "baseline" else "with the transform",
                "cut": trial.cut,
                "seed": trial.seed,
                "whole": metrics[name],
                **{k: float(counted(v or 0.0, v is None, initial)) for k, v in copies.items()},
                "untrained": initial,
            }
        )
    return pd.DataFrame(rows)


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
            training = entry.objective if entry.role == "baseline" else "with the transform"
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
