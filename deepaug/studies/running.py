"""What `deepaug run` does and tells."""

import signal
import sys
from collections.abc import Callable

from tqdm import tqdm

from deepaug.studies import sweep
from deepaug.studies.backlog import Backlog, Item, Told
from deepaug.studies.study import Entry, Study, progress
from deepaug.studies.sweep import Limit
from deepaug.training.trial import Trial

Agenda = list[tuple[Study, str]]


def one(
    study: Study,
    stages: list[str],
    only: list[str] | None,
    workers: int,
    accelerator: str,
    started: float,
    minutes: float | None,
) -> None:
    """Run what is missing of a study's stages, and what their records choose.

    Args:
        only: keys of the trials that are to run; by default all.
        started: when the process began, by `time.monotonic()`.
        minutes: after which it has ended; by default when nothing is left.
    """

    limit = _limit(started, minutes)

    def tell(told: Told) -> None:
        if told.missing:
            conditions = _conditions(told.item.entries, workers, accelerator, limit)
            _say(f"{told.item.stage}: {told.missing} of {told.trials} trials to run; {conditions}")
        elif told.trials or not only:
            _say(f"{told.item.stage}: {progress(study, told.item.stage)}")

    agenda = [(study, stage) for stage in stages]
    work = Backlog(_items(agenda), lambda entry: not only or entry.trial.key in only, tell)
    _run(work, workers, accelerator, limit, None)


def everything(
    agenda: Agenda,
    wanted: Callable[[Entry], bool],
    workers: int,
    accelerator: str,
    started: float,
    minutes: float | None,
) -> None:
    """Run what is missing of an agenda in its order, and what its records choose.

    Trials whose data cannot be prepared are passed over, each reason told once; it then ends in
    exit code 2. Arguments as in `one`; `wanted` says which entries are to run.
    """
    limit, begun = _limit(started, minutes), False

    def tell(told: Told) -> None:
        if begun and told.missing:
            _say(f"{told.item.name}: {told.missing} of {told.trials} trials to run")

    work = Backlog(_items(agenda), wanted, tell)
    begun = True
    if work.pending:
        entries = [entry for entry, _ in map(work.found.get, work.pending)]
        count, seconds = work.left()
        told = f"{len(work.pending)} of {len(work.found)} trials to run"
        if waiting := sum(not item.settled for item in work.items):
            told += f", {count - len(work.pending)} more in {waiting} stages that wait for a choice"
        conditions = _conditions(entries, workers, accelerator, limit)
        _say(f"{told}; about {_hours(seconds, workers)}; {conditions}")
    reasons: set[str] = set()
    passed = 0

    def lacking(trial: Trial, why: str) -> None:
        nonlocal passed
        count, stages = work.pass_over(trial, why)
        passed += count
        if why not in reasons:
            reasons.add(why)
            more = f" and {len(stages) - 3} stages more" if len(stages) > 3 else ""
            _say(f"deepaug: {', '.join(stages[:3])}{more} passed over: {why}", sys.stderr)

    _run(work, workers, accelerator, limit, lacking)
    if passed:
        _say(
            f"deepaug: {passed} trials were passed over for want of what is told above", sys.stderr
        )
        sys.exit(2)


def _items(agenda: Agenda) -> list[Item]:
    return [Item(study, stage, study.store) for study, stage in agenda]


def _run(
    work: Backlog,
    workers: int,
    accelerator: str,
    limit: Limit,
    lacking: Callable[[Trial, str], None] | None,
) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's kill ends as Ctrl-C
    store = work.items[0].store
    devices: set[str] = set()

    def begun(device: str) -> None:
        if device not in devices:
            _say(f"workers train on {device}")
        devices.add(device)

    new = sweep.run_backlog(work, store, workers, accelerator, limit, lacking, begun)
    for trial in work.ended:
        if not store.checkpoint(trial.key).exists():
            entry, item = work.found[trial.key]
            _say(
                f"deepaug: {item.name}: {entry.name} seed {trial.seed} was ended, and nothing of "
                f"it is kept: no epoch of it, or not its evaluation, was done in time; give more "
                f"--minutes",
                sys.stderr,
            )
    count, seconds = work.left() if limit != Limit() else (0, 0.0)
    if not count:
        _say(f"{len(new)} new records in {store.folder}")
        return
    if not work.begun:
        _say("deepaug: there was no time to begin a trial; give more --minutes", sys.stderr)
    _say(
        f"{len(new)} new records; {count} trials left, about {_hours(seconds, workers)}; "
        f"run the same command to go on"
    )


def _limit(started: float, minutes: float | None) -> Limit:
    return Limit() if minutes is None else Limit.of(started, minutes)


def _hours(seconds: float, workers: int) -> str:
    return f"{seconds / 3600 / workers:.1f} hours"


def _say(text: str, file=None) -> None:
    """Print a line, past the progress bar."""
    with tqdm.external_write_mode():
        print(text, file=file or sys.stdout, flush=True)


def _conditions(entries: list[Entry], workers: int, accelerator: str, limit: Limit) -> str:
    """Which data, device, precision and threads are used; workers tell their devices themselves."""
    device = ""
    if sweep.in_process(workers, limit):
        from deepaug.training import devices  # brings torch

        device = f"device {devices.name(devices.resolve(accelerator))}, "
    trials = [entry.trial for entry in entries]

    def each(name: str) -> str:
        return "/".join(sorted({str(getattr(trial, name)) for trial in trials}))

    told = f"data {each('data')}, {device}precision {each('precision')}, threads {each('threads')}"
    return f"{told}, workers {workers}"
