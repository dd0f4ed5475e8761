"""hyperspec without what Windows and macOS lack: reading, packing, training, a sweep, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tracked import runs_of

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

ROOT = Path(__file__).resolve().parents[1]
POOR = ROOT / "tests" / "support" / "poor_system"


def on_poor_system(
    folder: Path, *words: str, code: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run ``hyperspec``, or some code, where the calls are missing; in a group of its own."""
    told = ["-c", code] if code else ["-m", "hyperspec", *words]
    path = os.pathsep.join([str(POOR), str(ROOT)])
    return subprocess.run(
        [sys.executable, *told],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        start_new_session=True,
    )


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="the stand-in asks /proc which files are open"
)
# What each process of the next test finds; it would say nothing if the calls were there after all.
LACKING = """
import os
from pathlib import Path
from hyperspec.utils import pread, process, system_calls
from hyperspec.utils.atomic import write_text

assert not hasattr(system_calls.os, "preadv") and hasattr(os, "preadv")
assert not hasattr(system_calls.signal, "pthread_kill") and not hasattr(os, "fork")
assert system_calls.NO_WAIT == 0 and system_calls.most_open_files() is None
assert process.process_tag().startswith("-/-/") and system_calls.peak_resident_bytes() > 2**20
path = Path("held")
path.write_bytes(b"0123456789")
with path.open("rb"):
    try:
        os.replace("held", "other")
        raise SystemExit("an open file was moved")
    except PermissionError as error:
        assert error.winerror == 32
    target = bytearray(4)
    pieces = [(3, memoryview(target)), (0, memoryview(b""))]
    pread.read_pieces(system_calls.open_to_read(path), pieces)
    assert target == b"3456", target
write_text(Path("closed"), "old")
write_text(Path("closed"), "new")
print(Path("closed").read_text())
"""


def test_the_stand_in_lacks_the_calls_and_the_plain_ways_take_their_place(tmp_path: Path) -> None:
    told = on_poor_system(tmp_path, code=LACKING)
    assert (told.stdout, told.returncode) == ("new\n", 0), told.stderr


@pytest.mark.slow
def test_pack_sweep_interrupt_and_resume_where_the_calls_are_missing(tmp_path: Path) -> None:
    settings = SynthSettings(num_specimens=4, size=16, num_bands=40)
    specimens = synthesise(tmp_path / "specimens", settings)
    packed = on_poor_system(tmp_path, "pack", str(specimens), "data.size=16")
    assert packed.returncode == 0, packed.stderr
    words = ["train", "experiment=demo", f"data.root={specimens}", "data.size=16", "epochs=2"]
    words += ["evaluation.controls=false", "evaluation.importance=false", "sweep.report=false"]
    words += ["sweep.checkpoint_seconds=0", "tracking.uri=mlflow.db", "hydra.sweep.dir=sweep"]
    # Batches are read by a process, which starts by spawn, of a worker of joblib's.
    words += ["data.residency=mmap", "hardware.num_workers=1", "hardware.threads=1"]
    words += ["-m", "bands.n=4", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    stopped = on_poor_system(tmp_path, *words, POOR_INTERRUPT=r"\.ckpt$")
    assert stopped.returncode == -signal.SIGINT, stopped.stdout + stopped.stderr
    again = on_poor_system(tmp_path, *words)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "goes on with the training from step" in again.stdout + again.stderr
    jobs = [
        run
        for run in runs_of(f"sqlite:///{tmp_path / 'mlflow.db'}", "hyperspec")
        if "mlflow.parentRunId" in run.data.tags
    ]
    # A slow machine has no time left to close the first, which the second start then does.
    statuses = [run.info.status for run in jobs]
    assert (len(statuses), statuses[-1]) == (2, "FINISHED")
    assert statuses[0] != "RUNNING"
    assert jobs[-1].data.metrics["train/loss"] > 0
