"""Faults of disks, checkpoints, words and data."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fault_harness import Place, Row, Workshop, judge, trained, wait_until

_ROOM = 3 << 20  # bytes of the small disk


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """A disk of 3 MB where root may mount one, else a limit of file sizes; yield which."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0:
        try:
            yield "tmpfs"
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        yield "RLIMIT_FSIZE"


def full_disk(shop: Workshop) -> Row:
    """The disk fills up between two checkpoints; then there is room again."""
    import torch

    from hyperspec.training.callbacks.checkpointing import Slots
    from hyperspec.training.checkpoint_io import AtomicCheckpointIO

    place = shop.fresh("disk")
    with small_disk(place.folder / "disk") as kind:
        slots, writer = Slots(place.folder / "disk" / "slots"), AtomicCheckpointIO()

        def write(step: int) -> None:
            weights = torch.full((250_000,), float(step))
            found = {"global_step": step, "hyperspec": {}, "state_dict": {"w": weights}}
            writer.save_checkpoint(found, slots.next())

        def fill_and_write() -> int:
            if kind == "tmpfs":
                with contextlib.suppress(OSError), (slots.folder / "filler").open("wb") as file:
                    while True:
                        file.write(bytes(65536))
                        file.flush()
            else:
                import signal

                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
            for step in (3, 4):
                try:
                    write(step)
                except OSError:
                    continue
                except RuntimeError as error:  # torch's own word for it
                    if "No space" not in str(error) and "write" not in str(error):
                        raise
                    continue
                return 1
            return 0

        write(1)
        write(2)
        refused = place.fork(fill_and_write).wait() == 0
        latest = Slots(slots.folder).latest()
        intact = latest is not None and torch.load(latest)["global_step"] == 2
        partial = list(slots.folder.glob(".*.part"))
        (slots.folder / "filler").unlink(missing_ok=True)
        again = Slots(slots.folder)
        again.latest()
        slots = again
        write(5)
        newest = Slots(slots.folder).latest()
        written = newest is not None and torch.load(newest)["global_step"] == 5
    return judge(
        "disk full at a checkpoint",
        "previous one intact and used",
        {
            "both writes refused": refused,
            "the previous one is used": intact,
            "no half file left": not partial,
            "with room again the next is written": written,
        },
        kind,
    )


def damaged_checkpoint(shop: Workshop) -> Row:
    """A sweep is killed; its newest checkpoint is truncated, then flipped; it is resumed."""
    seen: dict[str, bool] = {}
    for damage in ("truncated", "flipped"):
        place = shop.fresh(damage)
        words = ["-m", "bands.n=11", "epochs=150", "sweep.checkpoint_seconds=0"]
        child = place.start(*words)
        wait_until(lambda: len(_slots(shop)) == 2, 300)
        child.kill()
        child.wait()
        newest = max(_slots(shop), key=lambda path: path.stat().st_mtime_ns)
        content = bytearray(newest.read_bytes())
        if damage == "truncated":
            del content[len(content) // 2 :]
        else:
            content[len(content) // 2] ^= 1
        newest.write_bytes(content)
        again = place.start(*words)
        status = again.wait(900)
        text = " ".join(again.text().split())
        jobs = place.jobs()
        seen[f"{damage}: told by its checksum"] = "differs from its checksum" in text
        seen[f"{damage}: goes on from the other"] = (
            status == 0 and "hyperspec.continued_from" in jobs[-1].tags and len(trained(jobs)) == 1
        )
    return judge(
        "truncated or flipped checkpoint",
        "previous one intact and used, detected by hash",
        seen,
    )


def _slots(shop: Workshop) -> list[Path]:
    return list((shop.folder / "cache").glob("interrupted/*/?.ckpt"))


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def malicious_pickle(shop: Workshop) -> Row:
    """A pickle that runs a command is given as a checkpoint."""
    place = shop.fresh("pickle")
    marker, path = place.folder / "executed", place.folder / "evil.ckpt"
    path.write_bytes(pickle.dumps({"hyperspec": _Evil(marker)}))
    child = place.start(f"ckpt={path}", "bands.n=5")
    status = child.wait()
    return judge(
        "malicious pickle as checkpoint",
        "refused, not executed",
        {
            "refused": status != 0,
            "not executed": not marker.exists(),
            "says so": "Nothing in it was executed" in " ".join(child.text().split()),
        },
    )


WRONG = {
    "bands.nn=5": ("bands.nn", "bands.n"),
    "bands=unifrom": ("unifrom", "uniform"),
    "modle=tiny": ("modle", "model"),
    "experiment=dmo": ("dmo", "demo"),
    "bands.n=10,20,-3": ("bands.n", "-3"),
}


def wrong_words(shop: Workshop) -> Row:
    """A misspelt key, option, group and file, and a value out of range deep in a space."""
    place = shop.fresh("words")
    seen: dict[str, bool] = {}
    cpu: list[float] = []
    for word, named in WRONG.items():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [*place.words(), "-m", "lr=1e-3,2e-3"]
        words = [w for w in words if not (word.startswith("experiment") and "experiment" in w)]
        command = [sys.executable, "-m", "hyperspec.cli.train", *words, word]
        done = subprocess.run(
            command, cwd=place.folder, capture_output=True, text=True, timeout=300, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        text = done.stdout + done.stderr
        told = done.returncode == 2 and all(part in text for part in named)
        seen[f"{word} refused, {named[1]} named"] = told
    seen["under 2 s each"] = max(cpu) < 2.0
    seen["no run begun"] = not _begun(place)
    note = f"at most {max(cpu):.1f} s of processor time"
    return judge(
        "bad option deep in the space; misspelt key, group, file",
        "refused before the first job, in under 2 s, nearest name given",
        seen,
        note,
    )


def _begun(place: Place) -> list[str]:
    import sqlite3

    try:
        return [run.name for run in place.runs()]
    except sqlite3.OperationalError:  # no run of any scenario yet
        return []


def bad_data(shop: Workshop) -> Row:
    """A cube is missing, cut in half, or has a band of NaN."""
    seen: dict[str, bool] = {}
    source = shop.folder / "specimens"
    for damage in ("missing", "corrupt", "NaN"):
        place = shop.fresh(damage)
        root = place.folder / "specimens"
        shutil.copytree(source, root)
        cubes = sorted(path for path in root.rglob("*.bil"))
        victim = cubes[len(cubes) // 2]
        if damage == "missing":
            victim.unlink()
        elif damage == "corrupt":
            os.truncate(victim, victim.stat().st_size // 2)
        else:
            _spoil(victim)
        child = place.start("-m", "bands.n=5,6", f"data.root={root}")
        status = child.wait(600)
        text = " ".join(child.text().split())
        begun = [run for run in place.runs() if run.tags["hyperspec.kind"] == "job"]
        seen[f"{damage}: refused"] = status == 2
        seen[f"{damage}: file named"] = victim.stem in text
        seen[f"{damage}: no job begun"] = not begun
    return judge("data file missing or corrupt, NaN bands", "found before the first job", seen)


def _spoil(path: Path) -> None:
    """Turn a cube into floats with one band of NaN."""
    from hyperspec.cubes.envi.raw import write_envi
    from hyperspec.cubes.open import open_cube

    with open_cube(path) as cube:
        array, axis = np.asarray(cube.read()).copy(), cube.axis
        header = cube.header_path
    array[7] = np.nan
    for old in (path, header):
        if old is not None:
            old.unlink()
    write_envi(path, array.astype(np.float32), axis, header_suffix=".hdr")
