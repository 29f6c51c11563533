"""The command line: `deepaug run | list | show | data | notebook`, or `python -m deepaug`."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import deepaug
from deepaug import modalities, records, studies
from deepaug.trial import Trial
from deepaug.validation import one_of


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input ends in one line on stderr and exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"deepaug: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        print(
            f"deepaug: {error.name} is not installed; pip install 'deepaug[run]', or 'deepaug"
            f"[book]' for notebooks",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "deepaug: interrupted; what is recorded stays, run the same command to go on",
            file=sys.stderr,
        )
        sys.exit(130)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="deepaug", description="Deep Augmentation, put to the test.")
    parser.add_argument("--version", action="version", version=deepaug.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    store = _Parser(add_help=False)
    store.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        default=None,
        help="folder of records (default: $DEEPAUG_RESULTS or results/)",
    )
    grid = _Parser(add_help=False, parents=[store])
    grid.add_argument("study", metavar="STUDY")
    grid.add_argument(
        "--profile",
        default="quick",
        metavar="NAME|FILE",
        help="quick (default), cpu, gpu or a YAML file",
    )
    grid.add_argument(
        "--data", default=None, metavar="NAME|PATH", help="another data set than the profile's"
    )
    grid.add_argument(
        "--pairs", default=None, metavar="NAME|FILE", help="scored sentence pairs to evaluate text"
    )
    grid.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="these modalities or data sets alone, of a study that has several",
    )

    run = commands.add_parser("run", parents=[grid], help="compute the records that are missing")
    run.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="trials side by side (default 1)"
    )
    run.add_argument("--only", nargs="+", metavar="KEY", help="these trials alone")
    run.add_argument("--stage", nargs="+", metavar="STAGE", help="these stages alone")
    run.add_argument("--accelerator", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", parents=[grid], help="list a study's trials")
    listing.add_argument("--json", action="store_true", help="as a list of objects")
    listing.set_defaults(command=_list)

    show = commands.add_parser("show", parents=[store], help="print a record")
    show.add_argument("key", metavar="KEY")
    show.set_defaults(command=_show)

    data = commands.add_parser("data", help="fetch or check a data set")
    data.add_argument(
        "name", metavar="NAME", help="a data set, a folder of images, a text file or a TU set"
    )
    data.add_argument("--modality", choices=modalities.NAMES, help="where the name leaves it open")
    data.set_defaults(command=_data)

    notebook = commands.add_parser(
        "notebook",
        help="execute a notebook of the book by papermill",
        description="Execute notebooks/NAME.py with other parameters; the result is a .ipynb.",
    )
    notebook.add_argument("name", metavar="NAME")
    notebook.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("PARAMETER", "VALUE"),
        help="as YAML: -p strengths '[0.2, 0.5]'",
    )
    notebook.add_argument(
        "-o",
        "--output",
        type=Path,
        default=None,
        metavar="FILE",
        help="default: book/notebooks/NAME.ipynb",
    )
    notebook.set_defaults(command=_notebook)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    study = _study(options)
    entries = study.entries()
    for stage in options.stage or ():
        one_of(f"stage of {study.name} at {study.profile}", stage, study.stages)
    for key in options.only or ():
        one_of(f"key in {study.name} at {study.profile}", key, {e.trial.key for e in entries})
    from deepaug import sweep

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's kill ends as Ctrl-C
    recorded = 0
    # A stage that waits for the choice of an earlier one is settled once that one is recorded.
    for name in options.stage or study.stages:
        entries = study.stage_entries(name)
        if options.only:
            entries = [e for e in entries if e.trial.key in options.only]
        trials = {e.trial.key: e for e in entries}
        missing = sum(study.store.read(e.trial) is None for e in trials.values())
        if missing:
            conditions = _conditions(entries, options)
            print(f"{name}: {missing} of {len(trials)} trials to run; {conditions}", flush=True)
            new = sweep.run(entries, study.store, options.workers, options.accelerator)
            recorded += len(new)
        elif trials or not options.only:
            print(f"{name}: {study.progress(name)}")
    print(f"{recorded} new records in {study.store.folder}")


def _study(options: argparse.Namespace) -> studies.Study:
    return studies.load(
        options.study,
        options.profile,
        options.results,
        data=options.data,
        pairs=options.pairs,
        parts=options.parts,
    )


def _conditions(entries: list[studies.Entry], options: argparse.Namespace) -> str:
    """Which data, device, precision and threads are used."""
    from lightning.fabric import Fabric

    from deepaug.training import device_name

    device = device_name(Fabric(accelerator=options.accelerator, devices=1).device)
    trials = [entry.trial for entry in entries]

    def each(name: str) -> str:
        return "/".join(sorted({str(getattr(trial, name)) for trial in trials}))

    return (
        f"data {each('data')}, device {device}, precision "
        f"{each('precision')}, threads {each('threads')}, workers {options.workers}"
    )


def _list(options: argparse.Namespace) -> None:
    study = _study(options)
    rows = [
        {
            "key": e.trial.key,
            "stage": e.stage,
            "arm": e.name,
            "seed": e.trial.seed,
            "recorded": study.store.read(e.trial) is not None,
        }
        for e in study.entries()
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    width = max((len(row["arm"]) for row in rows), default=0)
    for row in rows:
        state = "recorded" if row["recorded"] else "missing"
        print(f"{row['key']}  {row['stage']:8} {row['arm']:{width}} seed {row['seed']:<4} {state}")
    for name in study.stages:
        print(f"{name}: {study.progress(name)}")


def _show(options: argparse.Namespace) -> None:
    root = options.results or records.default_root()
    found = {path.stem: path for path in sorted(root.glob("*/*.json"))}
    if not found:
        raise ValueError(f"no records in {root}; make some with 'deepaug run'")
    key = one_of(f"key in {root}", options.key, found)
    record = records.read_record(found[key])
    print(json.dumps(_readable(record), indent=1))


def _readable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the test metrics of a non-baseline trial: only verdict code reads those."""
    if record["metrics"] and records.judged(Trial.from_dict(record["trial"])):
        note = "read by the verdict code alone"
        record = {**record, "metrics": {**record["metrics"], "test": note}}
    return record


def _data(options: argparse.Namespace) -> None:
    modality = options.modality or modalities.of_data(options.name)
    print(modalities.load(modality).describe(options.name))


def _notebook(options: argparse.Namespace) -> None:
    from deepaug import notebooks

    output = notebooks.execute(options.name, dict(options.parameters), options.output)
    print(f"wrote {output}")
