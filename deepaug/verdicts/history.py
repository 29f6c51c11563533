"""Rules before runs: git tells whether what judges a record is what it was when the record came.

Compared is parsed content, so that a comment, another layout or another place of the file change
nothing.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deepaug.studies import catalogue
from deepaug.validation import reason

# Blocks of the rules that judge nothing: figures to hold ours against, what is shown beside the
# verdicts, and what the runs may cost and come after. All others are common to all claims, which
# stand in a block each and are compared one by one.
JUDGE_NOTHING = ("published", "references", "outside", "budget", "order")
ABSENT = object()


class NoHistory(ValueError):
    """There is no history to ask: a release archive, or a machine without git."""


class HistoryError(ValueError):
    """A history that does not tell, for want of its older part say."""


@dataclass(frozen=True)
class Change:
    """What has changed in a block of the rules since a record that it judges was added."""

    record: str
    commit: str  # that added the record; "HEAD" for one that is not committed
    block: str  # a claim, or a common block
    what: str

    def __str__(self) -> str:
        return f"{self.record}, added in {self.commit[:12]}: {self.block}: {self.what}"


def judged(rules: Mapping[str, Any], profile: str, root: Path) -> dict[Path, tuple[str, ...]]:
    """The file of each record that the rules judge, and the names of the claims that do.

    No claim is named where a stage judges beside all of them: the common blocks alone hold there.

    Args:
        rules: as `rulebook.rules` has them.
        profile, root: as `catalogue.load` takes them.
    """
    claims: dict[tuple[str, str], list[str]] = {}  # by study and stage
    for stage, settings in rules["stages"].items():
        if settings["judges"]:
            claims.update({(own, stage): [] for own in rules["bases"]})
    for name, claim in rules["claims"].items():
        for place in claim.get("records", ()):
            study, stage = place.split()
            for own in rules["bases"] if study == "own" else (study,):
                claims.setdefault((own, stage), []).append(name)
    found: dict[Path, tuple[str, ...]] = {}
    for name, study in catalogue.every(profile, root).items():
        for stage in study.stages:
            for entry, _ in study.recorded(stage) if (name, stage) in claims else ():
                path = study.store.path(entry.trial.key)
                judging = (*found.get(path, ()), *claims[name, stage])
                found[path] = tuple(dict.fromkeys(judging))
    return found


def changes(
    checkout: Path, rules: Mapping[str, Any], records: Mapping[Path, Iterable[str]]
) -> Iterator[Change]:
    """How the rules differ from those at the commits that added the records they judge.

    A record that was added several times, by another folder's name for instance, was known from the
    first time on. One that is not committed is held against the rules of HEAD.

    Args:
        checkout: the top folder of the git checkout.
        rules: today's.
        records: files, and the claims that judge them, as from `judged`.

    Raises:
        NoHistory: it is no checkout of git's.
        HistoryError: its history does not tell: a shallow clone, or rules that cannot be read.
    """
    history = _History(checkout)
    added = history.additions()
    for path, claims in records.items():
        record = "/".join(path.parts[-2:])
        commit = added.get(record, "HEAD")
        then = history.rules(commit)
        common = (then.keys() | rules.keys()) - {"claims", *JUDGE_NOTHING}
        blocks = [(block, then, rules) for block in sorted(common)]
        blocks += [(name, then.get("claims", {}), rules["claims"]) for name in claims]
        for block, before, now in blocks:
            if what := difference(before.get(block, ABSENT), now.get(block, ABSENT)):
                yield Change(record, commit, block, what)


def reach(checkout: Path) -> None:
    """Raise NoHistory or HistoryError, as `changes` does, unless git tells when records came."""
    _History(checkout)


def difference(before: Any, now: Any, place: str = "") -> str:
    """The first place at which two parsed contents differ, and how; "" where they are equal."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            inner = before.get(key, ABSENT), now.get(key, ABSENT)
            if what := difference(*inner, f"{place}.{key}" if place else str(key)):
                return what
        return ""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, inner in enumerate(zip(before, now, strict=True)):
            if what := difference(*inner, f"{place}[{i}]"):
                return what
        return ""
    if before == now:
        return ""
    return f"{place} was {_short(before)} and is {_short(now)}".lstrip()


def _short(value: Any) -> str:
    text = "absent" if value is ABSENT else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


class _History:
    """What git is asked about a checkout, each thing once."""

    def __init__(self, checkout: Path):
        self.checkout = checkout
        self._of_commit: dict[str, str] = {}  # commit -> blob of its rules
        self._of_blob: dict[str, Any] = {}
        if not (checkout / ".git").exists():
            raise NoHistory(f"{checkout} is not a git checkout, which would say when records came")
        if self._git("rev-parse", "--is-shallow-repository") == "true":
            raise HistoryError(
                f"{checkout} is a shallow clone, whose history does not tell when records were "
                f"added; get the rest: git fetch --unshallow (on GitHub Actions fetch-depth: 0)"
            )

    def _git(self, *words: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(self.checkout), *words], capture_output=True, check=True
            )
        except FileNotFoundError:
            raise NoHistory("git is not installed; it would say when records came") from None
        except subprocess.CalledProcessError as error:
            said = (error.stderr.decode(errors="replace").strip().splitlines() or ["?"])[0]
            raise HistoryError(f"git {words[0]} failed in {self.checkout}: {said}") from None
        return done.stdout.decode(errors="replace").strip()

    def additions(self) -> dict[str, str]:
        """The commit that first added each <folder>/<name>.json, wherever that folder lay.

        A move counts as an addition, of which the oldest counts; so does what a merge alone added.
        """
        log = ("log", "-m", "--topo-order", "--no-renames", "--diff-filter=A", "--name-only")
        found, commit = {}, ""
        for line in self._git(*log, "--format=:%H", "--", "*.json").splitlines():
            if re.fullmatch(r":[0-9a-f]{40,64}", line):
                commit = line[1:]
            elif line:
                found["/".join(PurePosixPath(line).parts[-2:])] = commit  # the newest comes first
        return found

    def rules(self, commit: str) -> Mapping[str, Any]:
        """The rules as a commit has them, wherever the file lies there."""
        if commit not in self._of_commit:
            self._of_commit[commit] = self._blob(commit)
        blob = self._of_commit[commit]
        if blob not in self._of_blob:
            self._of_blob[blob] = self._parsed(blob, commit)
        return self._of_blob[blob]

    def _blob(self, commit: str) -> str:
        blobs = {}
        for line in self._git("ls-tree", "-r", "-z", commit).split("\0"):
            description, _, path = line.partition("\t")
            if PurePosixPath(path).name == "claims.yaml":
                blobs[path] = description.split()[-1]
        if len(blobs) != 1:
            what = f"{len(blobs)} files claims.yaml: {', '.join(blobs)}" if blobs else "no rules"
            raise HistoryError(f"commit {commit[:12]}, which added records, has {what}")
        return next(iter(blobs.values()))

    def _parsed(self, blob: str, commit: str) -> Mapping[str, Any]:
        import yaml

        try:
            content = yaml.safe_load(self._git("cat-file", "blob", blob))
        except yaml.YAMLError as error:
            raise HistoryError(
                f"the rules of commit {commit[:12]} are not YAML: {reason(error)}"
            ) from None
        if not isinstance(content, dict) or not isinstance(content.get("claims", {}), dict):
            raise HistoryError(f"the rules of commit {commit[:12]} are not a mapping with claims")
        return content
