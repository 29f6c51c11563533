"""A SLURM cluster of one node, this machine, for the length of a test."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import debian

# Job steps look here alone; what is there already is a real cluster's.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel")


class NotPermitted(Exception):
    """Why there can be no cluster here."""


def _install() -> None:
    """Debian's packages, where a package manager is there and this user may use it."""
    if all(map(shutil.which, PROGRAMS)):
        return
    if not debian.permitted():
        raise NotPermitted("slurm-wlm and munge are not installed, and only root on Debian may")
    if fault := debian.install("slurm-wlm", "munge"):
        raise NotPermitted(fault)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _configuration(folder: Path) -> str:
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 1000
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which sbatch and its kin speak to the cluster. Raises NotPermitted."""
    _install()
    if os.geteuid() != 0:
        raise NotPermitted("slurmd needs root")
    if CONFIGURATION.exists():
        raise NotPermitted(f"{CONFIGURATION} is another cluster's")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    configuration = folder / "slurm.conf"
    configuration.write_text(_configuration(folder))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = dict(os.environ)
    files = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munge.log"}
    files |= {"pid-file": "munge.pid", "seed-file": "munge.seed"}
    daemons = [
        ["munged", "--foreground", "--force", *(f"--{n}={folder / f}" for n, f in files.items())],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]
    running = []
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.symlink_to(configuration)
    try:
        for command in daemons:
            running.append(
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            time.sleep(1)
        _wait_until_idle(environment, folder)
        yield environment
    finally:
        subprocess.run(
            ["scancel", "--user=root"],
            env=environment,
            capture_output=True,
            check=False,
            timeout=30,
        )
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(timeout=30)
        CONFIGURATION.unlink()


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    for _ in range(60):
        state = subprocess.run(
            ["sinfo", "--noheader", "--format=%t"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if state.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    told = "".join(p.read_text()[-300:] for p in sorted(folder.glob("slurm*.log")))
    raise NotPermitted(f"the node does not become idle: {state.stdout}{state.stderr}{told}")
