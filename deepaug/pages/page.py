"""The runs behind a page: those that it makes while it is built, and recorded ones it reads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepaug.studies import catalogue, sweep
from deepaug.studies.study import Study
from deepaug.training import registry
from deepaug.validation import one_of
from deepaug.verdicts.effects import Recorded

LARGER = ("cpu", "gpu-small", "gpu")
LIVE = "live"  # in the place of a stage: the run that is computed while the page is built
# What a view is, of a modality, or where text is cropped.
VIEWS = {
    "vision": "views of {} pixels a side",
    "text": "sentences of up to {} tokens",
    "crops": "crops of {} tokens",
    "nodes": "views of all nodes",
    "graphs": "whole graphs",
}


@dataclass(frozen=True)
class Page:
    """A study as one page of the book shows it."""

    study: Study
    live: Recorded
    larger: list[Study]  # read, never run

    def recorded(self, stage: str) -> Iterator[tuple[Study, Recorded]]:
        """Larger studies with records of a stage, and these; of `LIVE` the page's own."""
        if stage == LIVE:
            return iter([(self.study, self.live)])
        return recorded_of(self.larger, stage)


def recorded_of(studies: list[Study], stage: str) -> Iterator[tuple[Study, Recorded]]:
    """Studies with records of a stage, and these."""
    for study in studies:
        if stage in study.stages and (found := study.recorded(stage)):
            yield study, found


def load(name: str, parameters: Mapping[str, Any]) -> Page:
    """Run the small stage of a study where its records are missing, and find the larger ones.

    Of a larger profile the page runs the pilot at most; long stages are for `deepaug run`.

    Args:
        parameters: as `catalogue.load` takes them, by name.
    """
    study = catalogue.load(name, **parameters)
    stage = study.live_stage
    one_of(f"stage of {name} at {study.profile}", stage, study.stages, "a page runs quick or pilot")
    sweep.run(study.stage_entries(stage), study.store, sweep.local_workers(study.base))
    others = [other for other in larger(name) if other.profile != study.profile]
    if parts := parameters.get("parts"):
        others = [part for whole in others for part in _with_parts(whole, parts)]
    return Page(study, study.recorded(stage), others)


def larger(name: str) -> list[Study]:
    """A study at the larger profiles that have it."""
    return [catalogue.load(name, p) for p in LARGER if name in catalogue.names(p)]


def _with_parts(study: Study, parts: list[str]) -> list[Study]:
    """The study with those parts that it has, if any."""
    known = catalogue.parts(study)
    wanted = [part for part in parts if part in known]
    return [catalogue.load(study.name, study.profile, parts=wanted)] if wanted else []


def conditions(recorded: Recorded) -> str:
    """One sentence: data, network, seeds, device, precision and time of these records."""
    if not recorded:
        return "No records."
    records = {record["key"]: record for _, record in recorded}.values()
    trials = [entry.trial for entry, _ in recorded]
    minutes = max(1, round(sum(record["seconds"] for record in records) / 60))

    def every(name: str) -> str:
        values = sorted({getattr(trial, name) for trial in trials})
        # 0 samples are all there are; 0 epochs are those of the untrained network.
        texts = [f"{v:,}" if isinstance(v, int) else v for v in values if v != 0 or name == "seed"]
        return ", ".join(texts) or "all"

    devices = ", ".join(sorted({record["device"] for record in records}))
    precision = every("precision")
    if emulated := sum("emulated" in record for record in records):
        precision += f"; bfloat16 emulated in {emulated} of the runs"
    hub = registry.from_hub(trials[0].modality, trials[0].encoder)  # has a width of its own
    width = "" if hub else f" of width {every('width')}"
    views = "crops" if trials[0].views.startswith("crops") else trials[0].modality
    size = VIEWS[views].format(every("view_size"))
    return (
        f"{len(records)} runs on {every('data')} ({every('samples')} samples), {every('encoder')}"
        f"{width}, {size}, {every('epochs')} epochs; seeds {every('seed')}; {devices}, "
        f"{precision}, CPU threads each: {every('threads')}; "
        f"runs took {minutes} minute{'s' if minutes > 1 else ''} in all."
    )
