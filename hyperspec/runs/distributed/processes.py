"""One job on several devices: this process trains on the first, and starts one for each other.

Lightning's launchers run the command line again, which would be a whole sweep, or fork a process
that has threads. Here the job's process is rank 0 of the group. It alone tracks, claims, keeps
checkpoints, and scores; the others (:mod:`hyperspec.runs.distributed.worker`) are given the checked
config, split, statistics and bands, train along, and end. None outlives the job: they end when rank
0 does, however it ends, and when one fails the job fails with its error.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psutil
import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch exports it untyped

from hyperspec.config.schema import Train
from hyperspec.datasets.splits import Split
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.training.context import RunContext
from hyperspec.training.datamodule import EpochBatches
from hyperspec.training.devices import count_devices
from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import HyperspecError
from hyperspec.utils.system_calls import OWN_GROUP

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"  # all processes of a job are on one machine
ORDER, FAILURE = "order.pkl", "failure_{rank}.json"
_HERE = "here/{rank}"  # the store's key by which a process says that it is there
# Rank 0 scores between stages while the others wait; a dead process is noticed in other ways.
PATIENCE = timedelta(days=1)
_START_SECONDS = 300.0  # for the others to import torch and to be there
_LEAVE_SECONDS = 60.0  # for the others to end after their last step
_EXPLAIN_SECONDS = 5.0  # for another process to say why it failed
_ABORT_SECONDS = 20.0  # before a group that hangs for a dead process is broken up
_OF_THE_GROUP = re.compile(r"gloo|nccl|connection|socket|peer|process group|store", re.IGNORECASE)


class RankError(HyperspecError):
    """Another process of the job failed."""


@dataclass(frozen=True)
class Order:
    """What another process is told, pickled in a folder of the job's own.

    ``data_hash`` is of the specimens that rank 0 has opened, ``slots`` the folder of the job's
    checkpoints, ``port`` where rank 0 is met, and ``processes`` the number of all.
    """

    config: Train
    split: Split
    statistics: SpectralStatistics
    selection: BandSelection
    data_hash: str
    ckpt: Path | None
    search_ckpt: Path | None
    searches: bool
    slots: Path
    output_dir: Path
    name: str
    run_id: str
    port: int
    processes: int


@contextlib.contextmanager
def together(context: RunContext, slots: Path) -> Iterator[RunContext]:
    """Hold a group of as many processes as the config has devices; nothing for a single one.

    Yields:
        The context to train with: null threads become a share of the cores.

    Raises:
        ConfigError: If the devices cannot share a batch, or there are fewer.
        RankError: If another process failed; the message holds its error.
    """
    config, device = context.config, context.device
    processes = count_devices(config.hardware)
    if processes == 1:
        yield context
        return
    train = context.data.split.train
    EpochBatches(train, config.batch_size, config.seed, 0, processes)  # may refuse
    if device.type == "cpu" and config.hardware.threads is None:
        threads = max(torch.get_num_threads() // processes, 1)
        hardware = replace(config.hardware, threads=threads)
        context = replace(context, config=replace(config, hardware=hardware))
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
        others: list[subprocess.Popen[bytes]] = []
        well = False
        try:
            _start(context, slots, processes, Path(folder), others)
            with _broken_up_if_one_dies(others, device):
                yield context
            well = True
            _see_off(others)
        except Exception as error:
            reason = _reason(others, Path(folder), error)
            if reason is None:
                raise
            raise reason from error
        finally:
            _end(others, well)


def join(rank: int, processes: int, port: int, device: torch.device) -> None:
    """Become one of the group's processes; rank 0 has made the store at that port."""
    store = TCPStore(LOOPBACK, port, processes, timeout=PATIENCE)
    store.set(_HERE.format(rank=rank), "")
    _join(store, rank, processes, device)


def serve(processes: int) -> TCPStore:
    """Return the store at which a group meets; no other machine reaches it."""
    listener = socket.create_server((LOOPBACK, 0))  # torch would listen on all interfaces
    port = listener.getsockname()[1]
    return TCPStore(
        LOOPBACK, port, processes, is_master=True, wait_for_workers=False, timeout=PATIENCE,
        master_listen_fd=listener.detach(),
    )  # fmt: skip


def _join(store: TCPStore, rank: int, processes: int, device: torch.device) -> None:
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Gloo would listen where the host's name leads to.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_interface())
    dist.init_process_group(backend, store=store, rank=rank, world_size=processes, timeout=PATIENCE)


def _loopback_interface() -> str:
    interfaces = psutil.net_if_addrs().items()
    return next(n for n, found in interfaces if any(a.address == LOOPBACK for a in found))


def _start(
    context: RunContext,
    slots: Path,
    processes: int,
    folder: Path,
    others: list[subprocess.Popen[bytes]],
) -> None:
    """Start the other processes, put them into ``others``, and meet them."""
    store = serve(processes)
    material, session, run = context.data, context.session, context.run
    order = Order(
        context.config,
        material.split,
        material.statistics,
        material.selection,
        material.source.hash,
        session.ckpt,
        None if session.search is None else session.search.ckpt,
        session.search is not None,
        slots,
        context.folder,
        run.name,
        run.run_id,
        store.port,
        processes,
    )
    (folder / ORDER).write_bytes(pickle.dumps(order))
    words = [sys.executable, "-W", "ignore", "-m", "hyperspec.runs.distributed.worker", str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for rank in range(1, processes):
        # Its standard input ends when this process does, whatever ends it. A session of its own:
        # Ctrl-C is for rank 0, which ends the others.
        other = subprocess.Popen(
            [*words, str(rank)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            creationflags=OWN_GROUP,
            env=environment,
        )
        others.append(other)
    _await(store, others)
    _join(store, 0, processes, context.device)
    log.info("%s: trains on %d devices", run.name, processes)


def _await(store: TCPStore, others: list[subprocess.Popen[bytes]]) -> None:
    """Wait until each other process is there, or one of them is gone."""
    wanted = [_HERE.format(rank=rank) for rank in range(1, len(others) + 1)]
    deadline = time.monotonic() + _START_SECONDS
    while not store.check(wanted):
        if any(other.poll() is not None for other in others):
            raise RankError("A process of the job ended before the training began.")
        if time.monotonic() > deadline:
            raise RankError(
                f"The other processes of the job were not there after {_START_SECONDS:.0f} s. Try "
                "again on a machine that is less busy, or with hardware.devices=1."
            )
        time.sleep(0.02)


@contextlib.contextmanager
def _broken_up_if_one_dies(
    others: list[subprocess.Popen[bytes]], device: torch.device
) -> Iterator[None]:
    """Break up a group on GPUs in which a process has died: NCCL would wait for it.

    On the CPU gloo notices by itself.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            if any(other.poll() for other in others):  # ended, and not well
                if not over.wait(_ABORT_SECONDS):
                    dist.distributed_c10d._abort_process_group()
                return

    watcher = threading.Thread(target=look, name="ranks", daemon=True)
    if device.type == "cuda":
        watcher.start()
    try:
        yield
    finally:
        over.set()


def _see_off(others: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the other processes after a training that went well."""
    for rank, other in enumerate(others, start=1):
        try:
            status = other.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("process %d of the job did not end after the training; it is ended", rank)
            continue
        if status:
            log.warning("process %d failed after the training (status %d)", rank, status)


def _reason(
    others: list[subprocess.Popen[bytes]], folder: Path, error: Exception
) -> Exception | None:
    """Return what another process failed of, where the error here is only what followed from it."""
    if not _of_the_group(error):
        return None
    deadline = time.monotonic() + _EXPLAIN_SECONDS
    while others and not any(other.poll() for other in others) and time.monotonic() < deadline:
        time.sleep(0.05)
    told: list[Exception] = []
    for rank, path in ((r, folder / FAILURE.format(rank=r)) for r in range(1, len(others) + 1)):
        if path.exists():
            failure = json.loads(path.read_text())
            text = f"Process {rank} of the job failed: {failure['text']}"
            if failure["memory"]:
                told.append(torch.OutOfMemoryError(text))
            elif not failure["of_the_group"]:
                told.append(RankError(text))
                told[-1].add_note(failure["trace"])
    if told:
        return told[0]
    dead = [(r, o.returncode) for r, o in enumerate(others, start=1) if o.poll()]
    if not dead:
        return None
    rank, status = dead[0]
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return RankError(
        f"Process {rank} of the job was ended {how} without a word. Signal 9 is what the system "
        "sends when memory runs out: lower hardware.micro_batch or hardware.devices."
    )


def _of_the_group(error: BaseException) -> bool:
    """Say whether an error is what a process sees when another one is gone."""
    if isinstance(error, RankError | dist.DistError):
        return True
    return isinstance(error, RuntimeError) and bool(_OF_THE_GROUP.search(str(error)))


def note_failure(folder: Path, rank: int, error: BaseException, trace: str, memory: bool) -> None:
    """Leave for rank 0 what this process failed of."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, HyperspecError):
        text = f"{type(error).__name__}: {text}"
    told = {"text": text, "trace": trace, "memory": memory, "of_the_group": _of_the_group(error)}
    write_text(folder / FAILURE.format(rank=rank), json.dumps(told))


def _end(others: list[subprocess.Popen[bytes]], well: bool) -> None:
    """Leave the group, and end what is left of the other processes.

    Where the training did not end well, collectives may be pending that nobody joins any more: NCCL
    would wait for them when the group is destroyed, so they are aborted first.
    """
    for other in others:
        if other.poll() is None:
            other.kill()
        other.wait()
        if other.stdin is not None:
            other.stdin.close()
    if dist.is_initialized():
        if not well and dist.get_backend() == "nccl":
            dist.distributed_c10d._abort_process_group()
        if dist.is_initialized():  # aborting the whole group may have left nothing
            dist.destroy_process_group()
