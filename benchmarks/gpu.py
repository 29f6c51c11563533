"""What to do with a GPU for a quarter of an hour: tests, speed, workers, then records.

    python benchmarks/gpu.py --minutes 14 --pack out
    python benchmarks/gpu.py --minutes 9 --pack out --steps sweep --workers 12
    for archive in out/*.tar.gz; do tar xzf $archive; done      # in the checkout it came from

It runs from a bare checkout with torch, lightning, torchvision, torch_geometric, transformers,
scikit-learn and pytest, without pip and without a network: data under $DEEPAUG_DATA, the peers'
unpacked wheels (benchmarks/requirements.txt) in --peers FOLDER. Each step ends within its time,
whatever it does. What is there by then is packed every minute and at the end, also where the time
is cut: new records, timings, and what was printed, unpacked to where the next call looks for them.
Timings of the code at hand are not taken again.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRINTED = ROOT / "build" / "gpu"
PEERS = ("vision", "text", "crops", "nodes", "graphs")  # benchmarks beside a peer
TESTS, TRIED = 90, 60  # seconds: of the tests, of each --try
LEFT = 20  # seconds kept for packing


class Cut(BaseException):
    """Somebody ends this run before its time."""


@dataclass
class Kit:
    """A quarter of an hour: its time, where it packs, what it has changed."""

    ends: float  # by time.monotonic
    pack: Path
    mib: float
    profile: str
    peers: Path | None
    began: float = field(default_factory=lambda: time.time() - 1)  # clocks of files lag a little

    @property
    def left(self) -> float:
        """Seconds until the end, but for those of packing."""
        return self.ends - time.monotonic() - LEFT

    def run(self, name: str, command: Sequence[str], seconds: float) -> int | None:
        """A command's exit status, None where it ran out of time; what it prints is kept."""
        PRINTED.mkdir(parents=True, exist_ok=True)
        ends = time.monotonic() + min(seconds, self.left)
        if ends <= time.monotonic():
            return None
        with open(PRINTED / f"{name}.txt", "wb") as printed:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment(),
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while (left := ends - time.monotonic()) > 0:
                    try:
                        return process.wait(min(60, left))
                    except subprocess.TimeoutExpired:
                        self.packed()
                return None
            finally:
                _end(process)

    def environment(self) -> dict[str, str]:
        """That of the commands, which run in the checkout, wherever this one does."""
        path = [str(ROOT), *([str(self.peers)] if self.peers else ())]
        path += filter(None, [os.environ.get("PYTHONPATH")])
        folders = {
            name: str(Path(os.environ[name]).resolve())
            for name in ("DEEPAUG_DATA", "DEEPAUG_RESULTS")
            if os.environ.get(name)
        }
        own = {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **folders, **own}

    def store(self) -> Path:
        results = Path(os.environ.get("DEEPAUG_RESULTS") or ROOT / "results").resolve()
        return results / Path(self.profile).stem

    def records(self) -> set[Path]:
        from deepaug.studies import records

        store = self.store()
        return set(records.files(store.parent, store.name))

    def packed(self) -> list[Path]:
        """Archives of all that is new, each of `mib` MiB at most, under names that stay."""
        self.pack.mkdir(parents=True, exist_ok=True)
        archives = []
        for number, files in enumerate(_groups(self._new(), self.mib * 2**20)):
            # Named by when this began: an earlier call's archives stay.
            archive = self.pack / f"gpu-{self.began:.0f}-{number}.tar.gz"
            partial = archive.with_suffix(".part")
            with tarfile.open(partial, "w:gz") as tar:
                for path in files:
                    inside = path.is_relative_to(ROOT)
                    name = path.relative_to(ROOT) if inside else Path("results", *path.parts[-2:])
                    tar.add(path, name)
            partial.replace(archive)
            archives.append(archive)
        return archives

    def _new(self) -> list[Path]:
        folders = {self.store(): "*.json", ROOT / "benchmarks" / "records": "*.json"}
        found = [path for folder, kind in folders.items() for path in folder.glob(kind)]
        found += PRINTED.glob("*.txt")
        return sorted(path for path in found if path.stat().st_mtime >= self.began)


def _end(process: subprocess.Popen) -> None:
    """Ask a command and its workers to end, then make them."""
    for sign, seconds in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
        if process.poll() is None:
            os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):  # workers that outlived it
        os.killpg(process.pid, signal.SIGKILL)


def _groups(paths: list[Path], most: float) -> Iterator[list[Path]]:
    """The files in groups of at most `most` bytes; one that is larger stands alone."""
    group: list[Path] = []
    size = 0
    for path in paths:
        if group and size + path.stat().st_size > most:
            yield group
            group, size = [], 0
        group.append(path)
        size += path.stat().st_size
    if group:
        yield group


# The steps, in the order of what is worth most


def tests(kit: Kit, options: argparse.Namespace) -> str:
    command = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-m", "gpu"]
    status = kit.run("tests", [*command, "tests/test_gpu.py"], TESTS)
    return "ran out of time" if status is None else f"ended with {status}"


def speed(kit: Kit, options: argparse.Namespace) -> str:
    """Every benchmark beside its peer that was not yet timed with the code at hand.

    One that ran out of time comes last in the next call, so that none holds up all others.
    """
    ends, told = time.monotonic() + options.speed, []
    for name in sorted(PEERS, key=lambda name: (PRINTED / f"speed-{name}.txt").exists()):
        if _timed(name):
            told.append(f"{name} was timed before")
            continue
        command = [f"benchmarks/{name}.py", "--rounds", str(options.rounds)]
        status = kit.run(f"speed-{name}", command, ends - time.monotonic())
        told.append(f"{name} {'ran out of time' if status is None else f'ended with {status}'}")
    return ", ".join(told)


def _timed(name: str) -> bool:
    from deepaug.training import devices, origin

    path = ROOT / "benchmarks" / "records" / f"{name}.{devices.resolve().type}.json"
    if not path.exists():
        return False
    return json.loads(path.read_text())["source_digest"] == origin.source_digest()


def workers(kit: Kit, options: argparse.Namespace) -> str:
    """How much several numbers of workers get done; what they record counts as any other.

    Each number goes on where the last one stopped. Trials are of unlike length, so that it is the
    samples trained on, beside the trials, by which numbers compare.
    """
    import measure

    turns = {}
    for number in options.tried:
        if kit.left < TRIED + 30:
            break
        before, start = kit.records(), time.monotonic()
        if kit.run(f"workers-{number}", _sweep(kit, number, TRIED / 60), TRIED + 30) == 0:
            seconds, new = time.monotonic() - start, kit.records() - before
            rates = {
                "trials_a_minute": 60 * len(new) / seconds,
                "samples_per_second": sum(map(_samples, new)) / seconds,
            }
            turns[f"{number} workers"] = [rates]
    if not turns:
        return "no time, or no sweep that ended well; see build/gpu/workers-*.txt"
    measure.write("workers", [], {"settings": {"profile": kit.profile}, "turns": turns})
    return "; ".join(
        f"{name}: {rates['trials_a_minute']:.1f} trials a minute, "
        f"{rates['samples_per_second']:.0f} samples a second"
        for name, (rates,) in turns.items()
    )


def _samples(record: Path) -> int:
    from deepaug.studies import durations, records
    from deepaug.training.trial import Trial

    return durations.work(Trial.from_dict(records.read_record(record)["trial"]))


def sweep(kit: Kit, options: argparse.Namespace) -> str:
    before, start = kit.records(), time.monotonic()
    status = kit.run("sweep", _sweep(kit, options.workers, max(kit.left / 60, 0.1)), kit.left)
    told = f"{len(kit.records() - before)} records in {(time.monotonic() - start) / 60:.1f} minutes"
    return told if status in (0, None) else f"{told}, ended with {status}; see build/gpu/sweep.txt"


def _sweep(kit: Kit, number: int, minutes: float) -> list[str]:
    command = ["-m", "deepaug", "run", "all", "--profile", kit.profile]
    return [*command, "--workers", str(number), "--minutes", f"{minutes:.2f}"]


STEPS = {"tests": tests, "speed": speed, "workers": workers, "sweep": sweep}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True, help="until all has ended")
    parser.add_argument("--pack", type=Path, required=True, metavar="FOLDER", help="for archives")
    parser.add_argument("--mib", type=float, default=12.0, help="of an archive, at most")
    parser.add_argument("--profile", default="gpu-small", metavar="NAME|FILE")
    parser.add_argument("--steps", default=",".join(STEPS), help="some of them, in any order")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="of the sweep")
    parser.add_argument("--try", dest="tried", type=int, nargs="*", default=[1, 4, 12])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each benchmark")
    parser.add_argument("--speed", type=float, default=180, metavar="S", help="of all benchmarks")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="unpacked wheels")
    options = parser.parse_args(arguments)
    steps = options.steps.split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"unknown step {unknown[0]!r}; allowed: {', '.join(STEPS)}")
    for name in ("minutes", "mib", "workers", "rounds", "speed"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} must be above 0, not {getattr(options, name):g}")
    if options.peers and not options.peers.is_dir():
        parser.error(f"--peers {options.peers} is no folder")
    if Path(options.profile).suffix in (".yaml", ".yml"):
        options.profile = str(Path(options.profile).resolve())
    try:
        from deepaug.studies import profile

        profile.load(options.profile)
        options.pack.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))

    def cut(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left is to end and to pack
        raise Cut

    signal.signal(signal.SIGTERM, cut)
    peers = options.peers and options.peers.resolve()
    ends = time.monotonic() + 60 * options.minutes
    kit = Kit(ends, options.pack.resolve(), options.mib, options.profile, peers)
    try:
        for step in steps:
            if kit.left <= 0:
                print(f"{step}: no time left")
                continue
            try:
                told = STEPS[step](kit, options)
            except Exception as error:  # the steps after it are worth as much
                told = f"failed: {type(error).__name__}: {error}"
            print(f"{step}: {told}", flush=True)
    except (Cut, KeyboardInterrupt):
        print("cut short", flush=True)
    finally:
        for archive in kit.packed():
            print(f"packed {archive}", flush=True)
    return 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    sys.exit(main())
