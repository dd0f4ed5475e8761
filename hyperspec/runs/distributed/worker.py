"""A process that trains along with rank 0: ``python -m hyperspec.runs.distributed.worker``.

Started by :mod:`hyperspec.runs.distributed.processes`, which says what it does. It writes nothing
but, should it fail, the reason.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import sys
import threading
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from hyperspec.bands import Learned
from hyperspec.config import plugins
from hyperspec.config.schema import Train
from hyperspec.runs.distributed.processes import ORDER, Order, RankError, join, note_failure
from hyperspec.runs.experiment import execute
from hyperspec.runs.out_of_memory import is_out_of_memory
from hyperspec.tracking.null_run import NullRun
from hyperspec.training.callbacks.checkpointing import KeepCheckpoints, Slots
from hyperspec.training.context import RunContext, Session
from hyperspec.training.data import Material, open_source
from hyperspec.training.devices import choose_device, device_kind
from hyperspec.training.trainer import quieten


def main(folder: Path, rank: int) -> int:
    """Train along; return the exit status."""
    threading.Thread(target=_end_with_rank_0, args=(folder,), name="rank 0", daemon=True).start()
    logging.disable(logging.WARNING)  # rank 0 says the same
    try:
        # Written by the process that started this one, in a folder that only its user can enter.
        order: Order = pickle.loads((folder / ORDER).read_bytes())  # noqa: S301
        follow(order, rank)
    except BaseException as error:  # noqa: BLE001 - rank 0 tells it
        memory = is_out_of_memory(error)
        note_failure(folder, rank, error, traceback.format_exc(), memory)
        return 1
    return 0


def follow(order: Order, rank: int) -> None:
    """Open the same specimens, join the group, and run the same training.

    Raises:
        RankError: If the specimens are not those that rank 0 has.
    """
    quieten()
    config = order.config
    plugins.load(config.plugins)
    device = _device(config, rank)
    join(rank, order.processes, order.port, device)
    source = open_source(config.data)
    if source.hash != order.data_hash:
        raise RankError(
            f"'{config.data.root}' changed while the job began: its processes found different "
            "specimens. Start it again."
        )
    material = Material(source, order.split, order.statistics, order.selection)
    run = NullRun(order.name, order.run_id)
    execute(RunContext(config, material, device, run, order.output_dir, session(order)))
    dist.destroy_process_group()


def session(order: Order) -> Session:
    """Return a session that keeps step with that of rank 0, which alone writes and decides."""
    seconds = order.config.sweep.checkpoint_seconds

    def keep(folder: Path) -> KeepCheckpoints:
        return KeepCheckpoints(Slots(folder), seconds, order.run_id, lambda: None)

    search = None
    if isinstance(order.config.bands, Learned) and order.searches:
        search = Session(order.search_ckpt, [keep(order.slots / "search")])
    return Session(order.ckpt, [keep(order.slots)], search=search)


def _device(config: Train, rank: int) -> torch.device:
    if device_kind(config.hardware) != "cuda":
        return torch.device("cpu")
    torch.cuda.set_device(rank)
    return choose_device(config.hardware)


def _end_with_rank_0(folder: Path) -> None:
    """End when rank 0 does: its end of this process's standard input is closed then."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)  # rank 0 could not, if it was killed
    os._exit(1)


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), int(sys.argv[2]))
    if status:
        # At once: the interpreter's end would wait for collectives that the others never join, and
        # rank 0 notices that this process is gone only when it is.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
