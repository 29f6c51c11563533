"""What `deepaug run` does and says."""

import signal
import sys
from collections.abc import Callable, Iterable

from tqdm import tqdm

from deepaug.studies import sweep
from deepaug.studies.backlog import Backlog, Item
from deepaug.studies.study import Entry, Study, obstacles, progress
from deepaug.studies.sweep import Limit, Resources
from deepaug.training import devices
from deepaug.training.trial import Trial
from deepaug.validation import DataError, by_prefix, one_line, one_of

Agenda = list[tuple[Study, str]]


def one(
    study: Study, stages: list[str] | None, only: list[str] | None, resources: Resources
) -> None:
    """Run what is missing of a study, and what its records choose.

    Args:
        stages: these alone, by name.
        only: keys of the trials that are to run; by default all.

    Raises ValueError for a stage or a key that the study has not.
    """
    where = f"{study.name} at {study.profile}"
    for stage in stages or ():
        one_of(f"stage of {where}", stage, study.stages)
    only = _keys(only, study.entries(), where=f"in {where}")

    def report(item: Item, trials: int | None, missing: int) -> None:
        if missing:
            conditions = _conditions(item.entries, resources)
            _say(f"{item.stage}: {missing} of {trials} trials to run; {conditions}")
        elif trials or not only:
            _say(f"{item.stage}: {progress(study, item.stage)}")

    items = [Item(study, stage, study.store) for stage in stages or study.stages]
    work = Backlog(items, lambda entry: not only or entry.trial.key in only, report)
    _run(work, resources, None)
    if never := _never_settled(work):
        raise ValueError(never[0])


def everything(
    agenda: Agenda,
    stages: list[str] | None,
    parts: list[str] | None,
    only: list[str] | None,
    resources: Resources,
) -> None:
    """Run what is missing of an agenda in its order, and what its records choose.

    Trials whose data cannot be prepared are passed over, each reason given once; it then ends in
    exit code 2.

    Args:
        stages, parts, only: these stages, modalities or bases, and keys alone.

    Raises ValueError for one of these that the agenda has not.
    """
    where = f"at {agenda[0][0].profile}"
    for name in stages or ():
        one_of(f"stage {where}", name, dict.fromkeys(stage for _, stage in agenda))
    agenda = [(study, stage) for study, stage in agenda if not stages or stage in stages]
    bases = [base for study, _ in agenda for base in study.bases]
    known = [name for base in bases for name in (base.label, base.trial.modality) if name]
    for part in parts or ():
        one_of(f"part {where}", part, dict.fromkeys(known))
    only = _keys(only, (e for study, stage in agenda for e in study.stage_entries(stage)), where)

    def wanted(entry: Entry) -> bool:
        of_part = not parts or entry.base in parts or entry.trial.modality in parts
        return of_part and (not only or entry.trial.key in only)

    def report(item: Item, trials: int | None, missing: int) -> None:
        if missing:
            _say(f"{item.name}: {missing} of {trials} trials to run")

    work = Backlog([Item(study, stage, study.store) for study, stage in agenda], wanted)
    work.report = report  # of what is settled from here on: the summary tells the rest
    if work.pending:
        _say(_summary(work, resources))
    pass_over = _PassOver(work)
    _run(work, resources, pass_over)
    if pass_over.count:
        _complain(f"{pass_over.count} trials were passed over for what is named above")
    never = _never_settled(work)
    for why in never:
        _complain(f"passed over what waits for a choice: {why}")
    if pass_over.count or never:
        sys.exit(2)


class _PassOver:
    """Called with a trial that cannot be prepared: leaves it out, and tells each reason once.

    Attributes:
        count: of the trials left out.
    """

    def __init__(self, work: Backlog):
        self.work, self.count, self.reasons = work, 0, set[str]()

    def __call__(self, trial: Trial, error: Exception) -> None:
        # A set that cannot be read, for want of a package say, is so for all its trials; what does
        # not suit one trial may suit another.
        of_data = not isinstance(error, ValueError) or type(error) is DataError
        count, names = self.work.pass_over(trial, of_data)
        self.count += count
        if (why := one_line(error)) not in self.reasons:
            self.reasons.add(why)
            more = f" and {len(names) - 3} stages more" if len(names) > 3 else ""
            _complain(f"{', '.join(names[:3])}{more} passed over: {why}")


def _never_settled(work: Backlog) -> list[str]:
    """Why stages that still wait for a choice will wait for ever, each reason once."""
    waiting = ((item.study, item.stage) for item in work.items if not item.settled)
    reasons = (reason for study, stage in waiting if study for reason in obstacles(study, stage))
    return list(dict.fromkeys(reasons))


def _keys(only: list[str] | None, entries: Iterable[Entry], where: str) -> list[str] | None:
    """Keys of entries, each named by how it begins, in full."""
    keys = {entry.trial.key for entry in entries} if only else ()
    return only and [by_prefix(f"key {where}", key, keys) for key in only]


def _run(
    work: Backlog, resources: Resources, pass_over: Callable[[Trial, Exception], None] | None
) -> None:
    """Run a backlog, and say what has come of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's kill ends as Ctrl-C
    store = work.items[0].store
    seen: set[str] = set()
    if work.pending and resources.in_process:
        _tell_of_bfloat16(work, devices.resolve(resources.accelerator).type)

    def begun(kind: str, name: str) -> None:
        if name not in seen:
            _say(f"workers train on {name}")
            _tell_of_bfloat16(work, kind)
        seen.add(name)

    new = sweep.run_backlog(work, store, resources, pass_over, begun)
    for trial in work.ended:
        if not store.checkpoint(trial.key).exists():
            entry, item = work.found[trial.key]
            _complain(
                f"{item.name}: {entry.name} seed {trial.seed} was ended, and nothing of it is "
                f"kept: no epoch of it, or not its evaluation, was done in time; give more "
                f"--minutes"
            )
    count, seconds = work.left() if resources.limit != Limit() else (0, 0.0)
    if not count:
        _say(f"{len(new)} new records in {store.folder}")
        return
    if not work.begun:
        _complain("there was no time to begin a trial; give more --minutes")
    _say(
        f"{len(new)} new records; {count} trials left, about {_hours(seconds, resources)}; "
        f"run the same command to go on"
    )


def _tell_of_bfloat16(work: Backlog, kind: str) -> None:
    """Say so where trials are about to run in a precision that this processor has to emulate."""
    if any(devices.emulates(trial.precision, kind) for trial in work.pending.values()):
        _complain(
            "this processor has no instructions for bfloat16: such trials are computed in float32 "
            "and rounded as those would; they take 1 to 1.4 times as long as trials in float32"
        )


def _summary(work: Backlog, resources: Resources) -> str:
    """How much is to run, how long that may take, and under what conditions."""
    entries = [work.found[key][0] for key in work.pending]
    count, seconds = work.left()
    text = f"{len(work.pending)} of {len(work.found)} trials to run"
    if waiting := sum(not item.settled for item in work.items):
        text += f", {count - len(work.pending)} more in {waiting} stages that wait for a choice"
    return f"{text}; about {_hours(seconds, resources)}; {_conditions(entries, resources)}"


def _conditions(entries: list[Entry], resources: Resources) -> str:
    """Which data, device, precision and threads are used; workers name their devices themselves."""
    device = ""
    if resources.in_process:
        device = f"device {devices.name(devices.resolve(resources.accelerator))}, "

    def each(name: str) -> str:
        return "/".join(sorted({str(getattr(entry.trial, name)) for entry in entries}))

    used = f"data {each('data')}, {device}precision {each('precision')}, threads {each('threads')}"
    return f"{used}, workers {resources.workers}"


def _hours(seconds: float, resources: Resources) -> str:
    return f"{seconds / 3600 / resources.workers:.1f} hours"


def _say(text: str, file=None) -> None:
    """Print a line, past the progress bar."""
    with tqdm.external_write_mode():
        print(text, file=file or sys.stdout, flush=True)


def _complain(text: str) -> None:
    _say(f"deepaug: {text}", sys.stderr)
