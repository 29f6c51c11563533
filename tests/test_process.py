"""Machines that lack a home, a name, streams or an encoding: nothing ends in a traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepaug import process
from deepaug.training import registry

ROOT = Path(__file__).parents[1]
# A user whom the system does not know, in every Python process that is begun.
UNKNOWN = """
import pwd
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
"""
HOMES = pytest.mark.parametrize("given", [None, "", "/", "{}/gone", "no/path"], ids=str)


@pytest.fixture
def call(tmp_path, monkeypatch):
    def call(given, *words, **more) -> str:
        """What a command prints that ends well, for an unknown user with such a $HOME."""
        (tmp_path / "sitecustomize.py").write_text(UNKNOWN)
        (tmp_path / "temporary").mkdir()
        where = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path / "temporary")}
        where |= {"PATH": os.environ["PATH"]} | (
            {} if given is None else {"HOME": given.format(tmp_path)}
        )
        where |= {name: value.format(tmp_path) for name, value in more.items()}
        done = subprocess.run(
            words, cwd=tmp_path, env=where, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "~").exists()
        return done.stdout

    return call


def test_data_in_the_package_are_found_without_a_home(call):
    assert call(None, sys.executable, "-m", "deepaug", "data", "Cora").startswith("Cora: 2708 ")


LIBRARIES = """
from deepaug import process
process.lend_home()
import getpass, matplotlib, os
from IPython.paths import get_ipython_dir
from jupyter_core.paths import jupyter_runtime_dir
from huggingface_hub.constants import HF_HOME
print(matplotlib.get_configdir(), get_ipython_dir(), jupyter_runtime_dir(), HF_HOME, sep="\\n")
assert getpass.getuser() == str(os.getuid())
"""


@HOMES
def test_libraries_find_a_place_of_this_users_own(call, given, tmp_path):
    pytest.importorskip("IPython", reason="the book's tools are not installed")
    own = tmp_path / "temporary" / f"deepaug-{os.getuid()}"
    places = call(given, sys.executable, "-c", LIBRARIES).splitlines()
    assert len(places) == 4 and all(Path(place).is_relative_to(own) for place in places)
    assert own.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home of this test's own, and a folder for temporary files."""
    for name in ("LOGNAME", "HOME", *process.WRITTEN):
        monkeypatch.setenv(name, "")  # put back afterwards
        monkeypatch.delenv(name)
    (tmp_path / "own").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "own"))
    monkeypatch.setattr(process.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path


def test_a_home_that_can_be_written_is_left_alone(place):
    process.lend_home()
    assert os.environ["HOME"] == str(place / "own") and "IPYTHONDIR" not in os.environ
    assert not list((place / "temporary").iterdir())


@pytest.mark.parametrize("name", process.XDG)
def test_where_xdgs_folder_cannot_be_written_libraries_write_elsewhere(place, monkeypatch, name):
    (place / "file").touch()
    monkeypatch.setenv(name, str(place / "new" / "one"))
    process.lend_home()
    assert "JUPYTER_RUNTIME_DIR" not in os.environ and not (place / "new").exists()
    monkeypatch.setenv(name, str(place / "file" / "below"))
    process.lend_home()
    assert os.environ["HOME"] == str(place / "own")
    for written in process.WRITTEN:
        assert Path(os.environ[written]).is_relative_to(place / "temporary")


def test_a_home_that_can_only_be_read_keeps_its_data(place, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.delenv("DEEPAUG_DATA", raising=False)
    process.lend_home()
    assert registry.data_root() == place / "own" / ".cache" / "deepaug"
    assert os.environ["IPYTHONDIR"].startswith(str(place / "temporary"))


def test_without_a_place_to_write_what_only_reads_still_works(place, monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setenv("HOME", str(place / "gone"))
    monkeypatch.setattr(process.tempfile, "gettempdir", none)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: none())
    process.lend_home()


@pytest.mark.parametrize("somebody", ["else", "behind a link"])
def test_a_folder_that_is_not_this_users_own_is_refused(place, monkeypatch, somebody):
    spare = place / "temporary" / f"deepaug-{os.getuid()}"
    (place / "temporary" / "trap").mkdir()
    spare.symlink_to("trap") if somebody != "else" else spare.mkdir()
    monkeypatch.setenv("HOME", str(place / "gone"))
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    monkeypatch.setattr(process, "_spare", lambda: spare)
    with pytest.raises(OSError, match="somebody else's; set HOME"):
        process.lend_home()


@pytest.mark.skipif(not shutil.which("make"), reason="runs make")
@pytest.mark.parametrize("given", [None, "/", "{}/gone"], ids=str)
def test_make_gives_snakemake_a_home_and_a_name(call, given, tmp_path):
    """Snakemake keeps a cache below the home, and asks for the user's name."""
    pytest.importorskip("snakemake", reason="the book's tools are not installed")
    for name in ("Makefile", "workflow"):
        os.symlink(ROOT / name, tmp_path / name)
    rule = 'try: ; @echo "$$HOME" "$$LOGNAME"; $(IN_VENV) snakemake --list'
    told = call(given, "make", f"--eval={rule}", "try").splitlines()
    name, user = told[0].split()
    assert name == str(tmp_path / "build" / "home") and user and "site" in told


@pytest.mark.skipif(not shutil.which("make"), reason="runs make")
@pytest.mark.parametrize("name", process.XDG)
@pytest.mark.parametrize(("folder", "stays"), [("{}/file/below", False), ("{}/new/one", True)])
def test_make_keeps_snakemake_from_folders_of_xdg_that_cannot_be_written(
    call, name, folder, stays, tmp_path
):
    pytest.importorskip("snakemake", reason="the book's tools are not installed")
    (tmp_path / "file").touch()
    (tmp_path / "own").mkdir()
    for part in ("Makefile", "workflow"):
        os.symlink(ROOT / part, tmp_path / part)
    rule = f'try: ; @echo "$$HOME" "$${name}"; $(IN_VENV) snakemake --list'
    told = call("{}/own", "make", f"--eval={rule}", "try", **{name: folder}).splitlines()
    wanted = [str(tmp_path / "own"), *([folder.format(tmp_path)] if stays else [])]
    assert told[0].split() == wanted and "site" in told


# Streams

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("words", "shown"), [(["data", "mnist-5k"], r"1\xd728\xd728"), (["list", "vision"], "baseline")]
)
def test_where_only_ascii_can_be_printed_the_rest_is_escaped(words, shown):
    """Profiles are UTF-8 all the same."""
    done = subprocess.run(
        [sys.executable, "-m", "deepaug", *words],
        env=os.environ | ASCII,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and shown in done.stdout, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="redirects by the shell, to /dev/full")
@pytest.mark.parametrize(
    ("to", "code", "lines"),
    [(">&-", 0, 0), (">&- 2>&-", 0, 0), (">/dev/full", 2, 1), ("| head -1", 0, 0)],
)
def test_output_that_nobody_takes(to, code, lines):
    command = f"set -o pipefail; {sys.executable} -m deepaug list vision {to}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code and len(done.stderr.splitlines()) == lines, done.stderr
