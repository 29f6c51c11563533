"""The command line: `deepaug --help` lists its commands; `python -m deepaug` is the same."""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import deepaug
from deepaug import plain
from deepaug.studies import catalogue, records
from deepaug.studies.study import Entry, Study
from deepaug.training import registry
from deepaug.validation import one_line, one_of

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
ALL = "all"  # in a study's place: all studies of the profile


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input ends in one line on stderr and exit code 2."""
    started = time.monotonic() - (_age() if arguments is None else 0.0)
    options = _parser().parse_args(arguments)
    options.started = started
    try:
        options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"deepaug: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "deepaug: interrupted; what is recorded stays, run the same command to go on",
            file=sys.stderr,
        )
        sys.exit(130)


def _age() -> float:
    """Seconds since this process began: Python's own start counts in --minutes."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, AttributeError):  # not Linux
        return time.process_time()


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
        type=_folder,
        metavar="DIR",
        default=None,
        help="folder of records (default: $DEEPAUG_RESULTS or results/)",
    )
    grid = _Parser(add_help=False, parents=[store])
    grid.add_argument(
        "--profile",
        default="quick",
        metavar="NAME|FILE",
        help="quick (default), cpu, gpu or a YAML file",
    )
    grid.add_argument(
        "--data", type=_named, metavar="NAME|PATH", help="another data set than the profile's"
    )
    grid.add_argument(
        "--pairs", type=_named, metavar="NAME|FILE", help="scored sentence pairs to evaluate text"
    )
    grid.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="these modalities or data sets alone, of a study that has several",
    )

    run = commands.add_parser("run", parents=[grid], help="compute the records that are missing")
    run.add_argument("study", metavar="STUDY", help=f"a study's name, or {ALL}")
    run.add_argument(
        "--workers", type=_workers, default=1, metavar="N", help="trials side by side (default 1)"
    )
    run.add_argument("--only", nargs="+", metavar="KEY", help="these trials alone")
    run.add_argument("--stage", nargs="+", metavar="STAGE", help="these stages alone")
    run.add_argument(
        "--minutes",
        type=_minutes,
        metavar="M",
        help="end before M minutes are over; what is in flight by then goes on at the next call",
    )
    run.add_argument("--accelerator", choices=ACCELERATORS, default="auto")
    run.set_defaults(command=_run)

    listing = commands.add_parser(
        "list", parents=[grid], help="list the studies, one's trials, or what all of them cost"
    )
    listing.add_argument(
        "study", nargs="?", metavar="STUDY", help=f"a study's name, or {ALL}; default: their names"
    )
    listing.add_argument("--json", action="store_true", help="as a list of objects")
    listing.add_argument(
        "--batch",
        type=_positive,
        metavar="SECONDS",
        help="with --json: put missing trials into batches of that much work or more",
    )
    listing.set_defaults(command=_list)

    show = commands.add_parser(
        "show", parents=[store], help="print a record, and the command that makes it again"
    )
    show.add_argument("key", metavar="KEY|FILE")
    show.set_defaults(command=_show)

    reproduce = commands.add_parser(
        "reproduce", parents=[store], help="train a record's trial again, and compare"
    )
    reproduce.add_argument("key", metavar="KEY|FILE")
    reproduce.add_argument("--accelerator", choices=ACCELERATORS, default="auto")
    reproduce.set_defaults(command=_reproduce)

    export = commands.add_parser("export", parents=[store], help="all records as one table")
    export.add_argument(
        "target",
        type=Path,
        metavar="FILE|DIR",
        help="a .csv or .parquet file; or a folder, for the table, the records and their schema",
    )
    export.set_defaults(command=_export)

    data = commands.add_parser("data", help="fetch or check a data set")
    data.add_argument(
        "name",
        type=_named,
        metavar="NAME",
        help="a data set, a folder of images, a text file or a TU set",
    )
    data.add_argument("--modality", choices=registry.NAMES, help="where the name leaves it open")
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
        "-g",
        dest="grid",
        nargs=2,
        action="append",
        default=[],
        metavar=("PARAMETER", "VALUES"),
        help="a notebook for each value: -g strengths '[[0.2], [0.5]]'; several: each combination",
    )
    notebook.add_argument(
        "--grid",
        dest="grid_file",
        type=Path,
        metavar="FILE",
        help="a YAML file of such lists, parameter by parameter",
    )
    notebook.add_argument(
        "-o",
        "--output",
        type=Path,
        default=None,
        metavar="FILE|DIR",
        help="default: book/notebooks/NAME.ipynb; of a grid the folder, by default build/NAME",
    )
    notebook.set_defaults(command=_notebook)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return minutes


def _workers(text: str) -> int:
    """A number of processes that this machine can hold: each takes half a GiB to begin with."""
    cores = os.cpu_count() or 1
    if (workers := _positive(text)) > 4 * cores:
        raise argparse.ArgumentTypeError(f"{text} is more than 4 for each of the {cores} cores")
    return workers


def _named(text: str) -> str:
    """A name or path; an empty one, of an unset variable of the shell, would mean this folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a name or a path, or leave it out")
    return text


def _folder(text: str) -> Path:
    return Path(_named(text))


def _run(options: argparse.Namespace) -> None:
    if options.study == ALL:
        _run_all(options)
        return
    study = _study(options)
    _tell_other_protocols(study)
    for stage in options.stage or ():
        one_of(f"stage of {study.name} at {study.profile}", stage, study.stages)
    if options.only:
        keys = {entry.trial.key for entry in study.entries()}
        for key in options.only:
            one_of(f"key in {study.name} at {study.profile}", key, keys)
    from deepaug.studies import running

    running.one(
        study,
        options.stage or list(study.stages),
        options.only,
        options.workers,
        options.accelerator,
        options.started,
        options.minutes,
    )


def _run_all(options: argparse.Namespace) -> None:
    agenda = _agenda(options)
    _tell_other_protocols(agenda[0][0])
    for name in options.stage or ():
        one_of(f"stage at {options.profile}", name, [stage for _, stage in agenda])
    agenda = [(study, stage) for study, stage in agenda if stage in (options.stage or (stage,))]
    bases = [base for study, _ in agenda for base in study.bases]
    for part in options.parts or ():
        known = [name for base in bases for name in (base.label, base.trial.modality) if name]
        one_of(f"part at {options.profile}", part, dict.fromkeys(known))
    if options.only:
        keys = {e.trial.key for study, stage in agenda for e in study.stage_entries(stage)}
        for key in options.only:
            one_of(f"key at {options.profile}", key, keys)

    def wanted(entry: Entry) -> bool:
        of_part = not options.parts or {entry.base, entry.trial.modality} & set(options.parts)
        return bool(of_part) and (not options.only or entry.trial.key in options.only)

    from deepaug.studies import running

    running.everything(
        agenda, wanted, options.workers, options.accelerator, options.started, options.minutes
    )


def _agenda(options: argparse.Namespace) -> list[tuple[Study, str]]:
    """What `all` stands for."""
    for name in ("data", "pairs"):
        if getattr(options, name):
            raise ValueError(f"--{name} goes with one study, not with all, which have their own")
    return catalogue.agenda(options.profile, options.results)


def _study(options: argparse.Namespace) -> Study:
    return catalogue.load(
        options.study,
        options.profile,
        options.results,
        data=options.data,
        pairs=options.pairs,
        parts=options.parts,
    )


def _tell_other_protocols(study: Study) -> None:
    for protocol, count in study.store.other_protocols().items():
        print(
            f"deepaug: {study.store.folder} also holds {count} records of the earlier protocol "
            f"{protocol}, which do not count",
            file=sys.stderr,
        )


def _list(options: argparse.Namespace) -> None:
    from deepaug.studies import batches, listing

    if options.batch and not options.json:
        raise ValueError("--batch goes with --json")
    if options.study is None:
        names = catalogue.names(options.profile)
        print("\n".join(names))
        print(f"'deepaug list STUDY' lists one's trials, 'deepaug list {ALL}' what all cost")
    elif options.study == ALL:
        for name in ("batch", "parts"):
            if getattr(options, name):
                raise ValueError(f"--{name} goes with one study, not with {ALL}")
        agenda = _agenda(options)
        _tell_other_protocols(agenda[0][0])
        rows = batches.budget(agenda)
        if options.json:
            print(json.dumps(rows, indent=1))
        else:
            listing.print_budget(rows, options.profile)
    else:
        study = _study(options)
        _tell_other_protocols(study)
        rows = listing.trials(study, options.batch)
        if options.json:
            print(json.dumps(rows, indent=1))
        else:
            listing.print_trials(study, rows)


def _show(options: argparse.Namespace) -> None:
    from deepaug.studies import provenance

    path = _record_file(options)
    record = records.read_record(path)
    again = {"again": provenance.command(record, path)}
    print(json.dumps(_readable(record) | again, indent=1))


def _record_file(options: argparse.Namespace) -> Path:
    """The file of a record, by its key or its path."""
    if options.key.endswith(".json"):
        if not Path(options.key).is_file():
            raise ValueError(f"no record {options.key}")
        return Path(options.key)
    root = options.results or records.default_root()
    found = {path.stem: path for path in records.files(root)}
    if not found:
        raise ValueError(f"no records in {root}; make some with 'deepaug run'")
    return found[one_of(f"key in {root}", options.key, found)]


def _reproduce(options: argparse.Namespace) -> None:
    from deepaug.studies import provenance

    record = records.read_record(_record_file(options))
    differing = provenance.reproduce(record, options.accelerator)
    results = {"status", "metrics", "curve"}.intersection(differing)
    verdict = "differs in " + ", ".join(sorted(results)) if results else "the same result"
    origin = [name for name in differing if name not in results]
    reason = f"; made with another {', '.join(origin)}" if origin else ""
    print(f"{record['key']}: {verdict}{reason}")
    if results:
        sys.exit(1)


def _export(options: argparse.Namespace) -> None:
    from deepaug.studies import publish

    root = options.results or records.default_root()
    if options.target.suffix:
        table = publish.table(root)
        publish.write_table(table, options.target)
        count = len(table)
    else:
        count = publish.bundle(root, options.target)
    print(f"wrote {count} records to {options.target}")


def _readable(record: dict[str, Any]) -> dict[str, Any]:
    """A record with a note in the place of test metrics that verdict code alone reads."""
    shown = records.without_sealed(record)
    if shown["metrics"].keys() != record["metrics"].keys():
        shown["metrics"]["test"] = "read by the verdict code alone"
    return shown


def _data(options: argparse.Namespace) -> None:
    modality = options.modality or registry.of_data(options.name)
    print(registry.load(modality).describe(options.name))


def _notebook(options: argparse.Namespace) -> None:
    from deepaug.pages import grids, notebooks

    in_file = grids.read(options.grid_file) if options.grid_file else {}
    given = [name for name, _ in options.parameters + options.grid] + list(in_file)
    if twice := [name for name in given if given.count(name) > 1]:
        raise ValueError(f"parameter {twice[0]} is given twice; give it once, by -p, -g or --grid")
    parameters, grid = (
        {name: plain.load(f"{what} {name}: {text!r}", text) for name, text in texts}
        for what, texts in (("parameter", options.parameters), ("grid of", options.grid))
    )
    grid |= in_file
    if grid:
        folder = options.output or Path("build") / options.name
        output = grids.execute(options.name, parameters, grid, folder)
    else:
        output = notebooks.execute(options.name, parameters, options.output)
    print(f"wrote {output}")
