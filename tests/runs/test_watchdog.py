"""Workers leave with their controller: real processes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sweep_study import Study

from hyperspec.runs import watchdog
from hyperspec.tracking.parent import ParentInfo, find_parent, write_parent
from hyperspec.utils.process import host_name, process_tag

# Seconds after which a wait is given up, on a machine that other work stalls too. How long a worker
# outlives its controller (10 s are asked for) is measured by `make faults`.
LIMIT = 120.0

WORKER = """
import signal, subprocess, sys, time
from pathlib import Path
from hyperspec.runs import watchdog
from hyperspec.tracking.parent import find_parent
watchdog.LEAVE_SECONDS, watchdog._CLOSE_SECONDS = {leave}, 60.0
signal.signal(signal.SIGINT, signal.SIG_IGN)
assert watchdog.watch(find_parent(Path({folder!r})))
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with watchdog.closing(lambda: Path("closed").write_text("from outside")):
    print(child.pid, flush=True)
    try:
        {work}
    except KeyboardInterrupt:
        Path("left").write_text("softly")
time.sleep(600)
"""
STUBBORN = "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def info(**changes: str) -> ParentInfo:
    own = ParentInfo("r", "sqlite:////m.db", "e", "s", "n", host_name(), process_tag(), "")
    return replace(own, **changes)


def test_the_note_names_the_controller(tmp_path: Path) -> None:
    write_parent(tmp_path, info())
    found = find_parent(tmp_path)
    assert found is not None
    assert replace(found, store="") == info()


def test_a_note_without_a_controller_is_read(tmp_path: Path) -> None:
    write_parent(tmp_path, info(host="", process=""))
    found = find_parent(tmp_path)
    assert found is not None
    assert not watchdog.watches(found)


def test_only_workers_of_this_machine_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    boot, namespace, _, _ = process_tag().split("/")
    other = f"{boot}/{namespace}/1/1"
    assert not watchdog.watches(info()), "the controller itself"
    assert watchdog.watches(info(process=other))
    assert not watchdog.watches(info(process=other, host="elsewhere"))
    assert not watchdog.watches(info(process=f"{boot}/0/1/1")), "another container"
    assert not watchdog.watches(info(process=f"other/{namespace}/1/1")), "another boot"
    # A job of a cluster outlives the shell that submitted it, also on the same machine.
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert not watchdog.watches(info(process=other))
    assert watchdog.watches(info(process=other, scheduler="17"))


@pytest.mark.parametrize("work", ["time.sleep(600)", STUBBORN])
def test_a_worker_ends_with_its_controller_and_all_below_it(tmp_path: Path, work: str) -> None:
    controller = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    # Who is asked has time enough; only for who does not listen it runs out.
    leave = 1.0 if work == STUBBORN else LIMIT
    write_parent(tmp_path, info(process=process_tag(controller.pid)))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER.format(folder=str(tmp_path), work=work, leave=leave)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    child = int(worker.stdout.readline())
    assert worker.poll() is None
    controller.kill()
    controller.wait()
    assert worker.wait(LIMIT) == 128 + signal.SIGTERM
    worker.stdout.close()
    deadline = time.monotonic() + LIMIT
    while lives(child):  # it has its signal, and dies when it gets a turn
        assert time.monotonic() < deadline
        time.sleep(0.05)
    soft = work != STUBBORN
    assert (tmp_path / "left").exists() == soft
    assert (tmp_path / "closed").exists() == (not soft)


def test_processes_are_ended_softly_then_hard() -> None:
    soft = "import signal, time\nprint('on', flush=True)\ntry: time.sleep(600)\n"
    soft += "except KeyboardInterrupt: raise SystemExit(7)"
    hard = "import signal, time; signal.signal(2, signal.SIG_IGN); print(1, flush=True)\n"
    hard += "time.sleep(600)"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for code in (soft, hard)
    ]
    for process in both:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
    watchdog.leave_all([psutil.Process(process.pid) for process in both], 1.0)
    for process in both:
        process.wait(LIMIT)


def in_training(study: Study, process: subprocess.Popen[str]) -> None:
    """Wait until a job has finished an epoch."""
    deadline = time.monotonic() + 600
    while not any("train/loss" in run.data.metrics for run in study.jobs()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM])  # `make faults` sends SIGINT too
def test_a_signal_saves_a_checkpoint_and_the_same_command_goes_on(
    study: Study, packed: Path, number: int
) -> None:
    words = ["-m", "bands.n=5", "epochs=2000", "tracking.flush_seconds=0"]
    words.append("sweep.checkpoint_seconds=3600")  # so that only the signal writes one
    process = study.start(*words)
    in_training(study, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number, output
    assert "the run ends after this epoch" in output
    assert {run.info.status for run in study.runs()} == {"KILLED"}
    (checkpoint,) = packed.glob("interrupted/*/?.ckpt")
    (job,) = study.jobs()
    assert os.path.getmtime(checkpoint) * 1000 > job.info.start_time
    again = study.start(*words)
    deadline = time.monotonic() + 600
    while not any("hyperspec.continued_from" in run.data.tags for run in study.jobs()):
        assert again.poll() is None, again.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    continued = study.jobs()[-1].data.tags["hyperspec.continued_from"]
    assert continued == job.info.run_id


def test_what_a_worker_starts_when_it_is_asked_to_leave_is_ended_too() -> None:
    code = """
import signal, subprocess, sys, time
def start(*_):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
signal.signal(signal.SIGINT, start)
print("ready", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        worker = psutil.Process(one.pid)
        seen: list[psutil.Process] = []

        def has_started() -> bool:
            seen.extend(worker.children())
            return bool(seen)

        watchdog.leave_all([worker], LIMIT, over=has_started)
    deadline = time.monotonic() + LIMIT
    while any(lives(process.pid) for process in [worker, *seen]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
