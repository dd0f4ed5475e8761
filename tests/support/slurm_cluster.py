"""A real SLURM of one node on loopback, with a munge of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
# Debian keeps daemons out of a user's PATH.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])

_CONF = """
ClusterName=hyperspec
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job starts when its first start's credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=2
MinJobAge=3600
KillWait=2
# More places than processors: tests' jobs mostly wait.
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs=6 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""
# SLURM's accounting needs slurmdbd and MySQL. submitit asks sacct alone how a job ended; here the
# controller is asked, which knows jobs for MinJobAge seconds.
_SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
squeue --states=all -rh -o '%i|%T|%N'
"""


def missing_programs() -> list[str]:
    """Return what of SLURM and munge is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextlib.contextmanager
def slurm_cluster() -> Iterator[dict[str, str]]:
    """Run the daemons; yield the environment in which ``sbatch`` and the like find them."""
    # munged refuses a socket below a folder that others cannot enter, as pytest's own are.
    folder = Path(tempfile.mkdtemp(prefix="hyperspec-slurm-"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = _write(folder)
        log = stack.enter_context((folder / "daemons.log").open("wb"))
        key = folder / "munge.key"
        subprocess.run(["mungekey", "-c", "-k", str(key)], check=True, env=environment)
        own = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
        munged = ["munged", "-F", "-f", f"--socket={folder}/munge.socket", *own]
        munged.append(f"--key-file={key}")
        controller, node = ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", "localhost"]
        for words, ready in (
            (munged, lambda: (folder / "munge.socket").exists()),
            (controller, lambda: _says(environment, "scontrol", "ping").rstrip().endswith("is UP")),
            (node, lambda: "idle" in _says(environment, "sinfo", "-h", "-o", "%T")),
        ):
            process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
            stack.callback(_end, process)
            deadline = time.monotonic() + 120
            while not ready():
                assert process.poll() is None, f"{words[0]}: {_logs(folder)}"
                assert time.monotonic() < deadline, f"{words[0]}: {_logs(folder)}"
                time.sleep(0.1)
        yield environment


def _write(folder: Path) -> dict[str, str]:
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    controller, node = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(user=getpass.getuser(), folder=folder, controller=controller, node=node)
    )
    (folder / "bin" / "sacct").write_text(_SACCT)
    (folder / "bin" / "sacct").chmod(0o755)
    own = {name: text for name, text in os.environ.items() if not name.startswith("SLURM_")}
    return {**own, "SLURM_CONF": str(conf), "PATH": f"{folder / 'bin'}{os.pathsep}{PATH}"}


def _free_ports(count: int) -> list[int]:
    """Return free ports of loopback; the system's own choice lies above 16000."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _says(environment: dict[str, str], *words: str) -> str:
    found = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return found.stdout


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
