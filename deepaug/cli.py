"""The command line: `deepaug --help` lists its commands; `python -m deepaug` is the same.

Each command imports what it needs when it is called, so that `--help` answers at once.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import deepaug
from deepaug import given, process
from deepaug.studies import ALL
from deepaug.training import registry
from deepaug.validation import one_line

if TYPE_CHECKING:
    from deepaug.studies.study import Study

ACCELERATORS = ("auto", "cpu", "cuda", "mps")


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input ends in one line on stderr and exit code 2."""
    # Python's own start counts in --minutes.
    started = time.monotonic() - (process.age() if arguments is None else 0.0)
    process.mend_streams()
    options = _parser().parse_args(arguments)
    options.started = started
    try:
        process.lend_home()
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="deepaug", description="Deep Augmentation, put to the test.")
    parser.add_argument("--version", action="version", version=deepaug.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(act: Callable, help: str, *parents: _Parser) -> argparse.ArgumentParser:
        added = commands.add_parser(act.__name__.strip("_"), parents=parents, help=help)
        added.set_defaults(command=act)
        return added

    store = _Parser(add_help=False)
    store.add_argument(
        "--results",
        type=lambda text: Path(given.named(text)),
        metavar="DIR",
        help="folder of records (default: $DEEPAUG_RESULTS or results/)",
    )
    grid = _Parser(add_help=False, parents=[store])
    _add_grid(grid)
    record = _Parser(add_help=False, parents=[store])
    record.add_argument("key", metavar="KEY|FILE", help="a key, its first 4 characters or more")

    _add_run(command(_run, "compute the records that are missing", grid))
    _add_list(command(_list, "list the studies, one's trials, or what all of them cost", grid))
    command(_show, "print a record, and the command that makes it again", record)
    reproduce = command(_reproduce, "train a record's trial again, and compare", record)
    reproduce.add_argument("--accelerator", choices=ACCELERATORS, default="auto")
    _add_export(command(_export, "records as one table, or packed", store))
    explorer = command(_explorer, "the data and libraries of the book's explorer", store)
    explorer.add_argument("folder", type=Path, metavar="DIR", help="made where there is none")
    _add_claims(command(_claims, "verdicts that records give, or what is wrong with these", store))
    _add_data(command(_data, "fetch or check a data set"))
    _add_notebook(command(_notebook, "execute a notebook of the book by papermill"))
    return parser


def _add_grid(grid: argparse.ArgumentParser) -> None:
    grid.add_argument(
        "--profile",
        default="quick",
        metavar="NAME|FILE",
        help="quick (default), cpu, gpu-small, gpu or a YAML file",
    )
    grid.add_argument(
        "--data", type=given.named, metavar="NAME|PATH", help="another data set than the profile's"
    )
    grid.add_argument(
        "--pairs",
        type=given.named,
        metavar="NAME|FILE",
        help="scored sentence pairs to evaluate text",
    )
    grid.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="these modalities or data sets alone, of a study that has several",
    )


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("study", metavar="STUDY", help=f"a study's name, or {ALL}")
    number: dict[str, Any] = {"type": given.workers, "default": 1, "metavar": "N"}
    run.add_argument("--workers", **number, help="trials side by side (default 1)")
    run.add_argument("--only", nargs="+", metavar="KEY", help="these trials alone")
    run.add_argument("--stage", nargs="+", metavar="STAGE", help="these stages alone")
    run.add_argument(
        "--minutes",
        type=given.minutes,
        metavar="M",
        help="end before M minutes are over; what is in flight by then goes on at the next call",
    )
    run.add_argument("--accelerator", choices=ACCELERATORS, default="auto")


def _add_list(listing: argparse.ArgumentParser) -> None:
    listing.add_argument(
        "study", nargs="?", metavar="STUDY", help=f"a study's name, or {ALL}; default: their names"
    )
    listing.add_argument("--json", action="store_true", help="as a list of objects")
    listing.add_argument(
        "--batch",
        type=given.positive,
        metavar="SECONDS",
        help="with --json: put missing trials into batches of that much work or more",
    )


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "target",
        type=Path,
        metavar="FILE|DIR",
        help="a .csv or .parquet table; a .zip or a folder, with the records and their schema too",
    )
    export.add_argument("--profile", metavar="NAME|FILE", help="its records alone")


def _add_data(data: argparse.ArgumentParser) -> None:
    data.add_argument(
        "name",
        type=given.named,
        metavar="NAME",
        help="a data set, a folder of images, a text file or a TU set",
    )
    data.add_argument("--modality", choices=registry.NAMES, help="where the name leaves it open")


def _add_claims(claims: argparse.ArgumentParser) -> None:
    claims.add_argument(
        "--profile", default="cpu", metavar="NAME|FILE", help="whose records judge (default cpu)"
    )
    what = claims.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="as one object, with records' keys")
    what.add_argument(
        "--check", action="store_true", help="name all that is wrong with records and their rules"
    )
    claims.add_argument(
        "--partial", action="store_true", help="with --check: records may still be missing"
    )


def _add_notebook(notebook: argparse.ArgumentParser) -> None:
    notebook.description = "Execute notebooks/NAME.py with other parameters, into a .ipynb."
    notebook.add_argument("name", metavar="NAME")
    several = partial(notebook.add_argument, nargs=2, action="append", default=[])
    names = ("PARAMETER", "VALUE")
    several("-p", dest="parameters", metavar=names, help="as YAML: -p strengths '[0.2, 0.5]'")
    several(
        "-g",
        dest="grid",
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
        metavar="FILE|DIR",
        help="default: book/notebooks/NAME.ipynb; of a grid the folder, by default build/NAME",
    )


def _run(options: argparse.Namespace) -> None:
    from deepaug.studies import running
    from deepaug.studies.sweep import Limit, Resources

    limit = Limit.of(options.started, options.minutes) if options.minutes else Limit()
    resources = Resources(options.workers, options.accelerator, limit)
    if options.study == ALL:
        agenda = _agenda(options)
        running.everything(agenda, options.stage, options.parts, options.only, resources)
    else:
        running.one(_study(options), options.stage, options.only, resources)


def _list(options: argparse.Namespace) -> None:
    from deepaug.studies import listing

    if options.batch and not options.json:
        raise ValueError("--batch needs --json")
    if options.study is None:
        _refuse(options, "batch", "data", "pairs", "parts")
        rows, show = listing.studies(options.profile, options.results), listing.show_studies
    elif options.study == ALL:
        rows = listing.budget(_agenda(options, "batch", "parts"))
        show = partial(listing.show_budget, profile=options.profile)
    else:
        study = _study(options)
        rows = listing.trials(study, options.batch)
        show = partial(listing.show_trials, study=study)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows)


def _agenda(options: argparse.Namespace, *refused: str) -> "list[tuple[Study, str]]":
    """What `all` stands for; options that make no sense with it are refused."""
    from deepaug.studies import catalogue, listing

    _refuse(options, *refused, "data", "pairs")
    agenda = catalogue.agenda(options.profile, options.results)
    listing.note_other_protocols(agenda[0][0].store)
    return agenda


def _refuse(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name):
            raise ValueError(f"--{name} needs one study by name, not {options.study or 'none'}")


def _study(options: argparse.Namespace) -> "Study":
    from deepaug.studies import catalogue, listing

    changes = {name: getattr(options, name) for name in ("data", "pairs", "parts")}
    study = catalogue.load(options.study, options.profile, options.results, **changes)
    listing.note_other_protocols(study.store)
    return study


def _show(options: argparse.Namespace) -> None:
    from deepaug.studies import showing
    from deepaug.verdicts import opened

    path = showing.find(options.key, options.results)
    print(showing.as_text(showing.readable(path, opened.beside(path))))


def _reproduce(options: argparse.Namespace) -> None:
    from deepaug.studies import showing
    from deepaug.verdicts import opened

    path = showing.find(options.key, options.results)
    line, same = showing.reproduced(path, options.accelerator, opened.beside(path))
    print(line)
    if not same:
        sys.exit(1)


def _export(options: argparse.Namespace) -> None:
    from deepaug.studies import publish
    from deepaug.studies.profile import packaged
    from deepaug.verdicts import opened

    profiles = [options.profile] if options.profile else packaged()
    unsealed = opened.of_profiles(profiles, options.results)
    count = publish.export(options.results, options.target, options.profile, unsealed)
    print(f"wrote {count} records to {options.target}")


def _explorer(options: argparse.Namespace) -> None:
    from deepaug.pages import explorer

    count = explorer.write(options.folder, options.results)
    print(f"wrote {count} rows to {options.folder}")


def _claims(options: argparse.Namespace) -> None:
    from deepaug.verdicts import checking, telling

    if options.partial and not options.check:
        raise ValueError("--partial needs --check")
    if untold := checking.unknown():
        print(f"deepaug: {untold}", file=sys.stderr)
    if not options.check:
        telling.show(options.profile, options.results, options.json)
    elif checking.show(options.profile, options.results, options.partial):
        sys.exit(2)


def _data(options: argparse.Namespace) -> None:
    modality = options.modality or registry.of_data(options.name)
    registry.check_data(modality, options.name)
    print(registry.load(modality).describe(options.name))


def _notebook(options: argparse.Namespace) -> None:
    from deepaug.pages import executing

    words = options.parameters, options.grid, options.grid_file
    print(f"wrote {executing.execute(options.name, *words, options.output)}")
