"""A Slurm cluster of one node on this machine: munged, slurmctld and slurmd with ports, keys and state of their own."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONFIGURATION = """
ClusterName=crayon
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={worker}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_min_interval=100000
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=200000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes={host} PriorityTier=10 MaxTime=INFINITE State=UP
"""
"""No accounting, as on small clusters; `cred_expire` is how long a job that was preempted waits for its next start."""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Cluster:
    """A running cluster, and its commands.

    Attributes:
        environment: what a process needs to use it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *command: str) -> str:
        """The output of one of Slurm's commands."""
        done = subprocess.run(command, env=os.environ | self.environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, dict[str, str]]:
        """Map the number of each job that Slurm still knows to Slurm's description of it."""
        told = self.run("scontrol", "--oneliner", "show", "job").splitlines()
        found = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in told]
        return {job["JobId"]: job for job in found if "JobId" in job}

    def logs(self) -> str:
        """The ends of the daemons' logs, for a test that fails."""
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in self.folder.glob("*.log")
        )


@contextmanager
def start(folder: Path) -> Iterator[Cluster]:
    """Start the daemons in `folder`; end them, and what they started, on leaving the block."""
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    names = {"folder": folder, "host": host, "user": getpass.getuser()}
    ports = {"controller": _free_port(), "worker": _free_port()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**names, **ports))
    for gpu in ("gpu0", "gpu1"):
        (folder / gpu).symlink_to("/dev/null")
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    # The executor's job step takes SLURM_CONF out of the environment, as if it were of the step before.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid"}
    files |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
    cluster, started = Cluster(folder), []
    try:
        for command in (
            [_which("munged"), "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())],
            [_which("slurmctld"), "-D", "-c", "-f", str(folder / "slurm.conf")],
            [_which("slurmd"), "-D", "-c", "-f", str(folder / "slurm.conf")],
        ):
            name = Path(command[0]).name
            with (folder / f"{name}.out.log").open("wb") as output:
                environment = os.environ | cluster.environment
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT))
            if name == "munged":
                wait_for(lambda: (folder / "munge.socket").exists(), 20, cluster)
        wait_for(lambda: _ready(cluster), 60, cluster)
        yield cluster
    finally:
        _quietly(cluster.run, "scancel", "--user", getpass.getuser())  # what a test that failed left
        _quietly(wait_for, lambda: not cluster.run("squeue", "--noheader"), 20, cluster)
        for daemon in reversed(started):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def wait_for(holds, seconds: float, cluster: Cluster) -> None:
    """Wait until `holds()` is true; fail with the daemons' logs if it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s in vain\n{cluster.logs()}"
        time.sleep(0.2)


def _ready(cluster: Cluster) -> bool:
    told = _quietly(cluster.run, "sinfo", "--noheader", "--format", "%t")
    return told is not None and "idle" in told.split()


def _quietly(function, *arguments):
    try:
        return function(*arguments)
    except AssertionError:
        return None


def missing() -> list[str]:
    """The tools that are not installed."""
    return [tool for tool in TOOLS if _which(tool) is None]


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")  # Debian's place for daemons
