from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_sweeps import FakeSweep

from hyperspec.datasets.config import SplitSpec
from hyperspec.runs.identity import Finished, canonical, find_finished, identity, why_trained_again
from hyperspec.runs.locks import claim
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import ConfigError


@dataclass
class _Uniform:
    n: int = 50


@dataclass
class _Random:
    n: int = 50


@dataclass
class _Config:
    bands: object = field(default_factory=_Uniform)
    lr: float = 1e-3
    workers: int = field(default=2, metadata={"identity": False})
    ckpt: str | None = field(default=None, metadata={"content": True})


def _hash(
    config: object,
    data: str = "d",
    split: str = "s",
    views: int = 1,
    plugins: dict[str, str] | None = None,
    source: str = "",
) -> str:
    results = {"views": views, "losses": 1}
    return identity(config, data, split, results, plugins=plugins, source=source).hash


def test_what_decides_a_result_changes_the_identity_and_the_rest_does_not() -> None:
    base = _hash(_Config())
    assert _hash(_Config()) == base
    assert _hash(_Config(workers=8)) == base
    others = [
        _hash(_Config(lr=2e-3)),
        _hash(_Config(bands=_Uniform(20))),
        _hash(_Config(bands=_Random())),
        _hash(_Config(), data="other"),
        _hash(_Config(), split="other"),
        _hash(_Config(), source="other"),
        _hash(_Config(), views=2),
        _hash(_Config(), plugins={"mine": "0"}),
        _hash(_Config(), plugins={"mine": "1"}),
    ]
    assert len({base, *others}) == 10
    assert _hash(_Config(), plugins={}) == base
    assert len(base) == 16


def test_rotations_are_jobs_of_their_own_and_no_rotation_is_the_job_that_it_was() -> None:
    plain = canonical(SplitSpec())
    assert plain == {"": "SplitSpec", "fractions": [0.5, 0.25, 0.25], "seed": 0, "hold_out": []}
    made = [_hash(SplitSpec(rotate=4, rotation=turn)) for turn in range(4)]
    assert len({*made, _hash(SplitSpec()), _hash(SplitSpec(rotate=5, rotation=0))}) == 6


def test_a_file_counts_by_content_and_a_word_by_itself(tmp_path: Path) -> None:
    first, second = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    assert _hash(_Config(ckpt=str(first))) == _hash(_Config(ckpt=str(second)))
    second.write_bytes(b"others!")
    assert _hash(_Config(ckpt=str(first))) != _hash(_Config(ckpt=str(second)))
    assert _hash(_Config(ckpt="DEFAULT")) != _hash(_Config(ckpt=None))


def test_what_counts_by_content_is_kept_for_the_report(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    kept = []
    for content in (b"weights", b"others!"):
        path.write_bytes(content)
        found = identity(
            _Config(ckpt=str(path)), "d", "s", {}, plugins={"mine": "f" * 64}, source=""
        )
        kept.append(found.tags["hyperspec.identity.contents"])
    assert kept[0] != kept[1]
    assert [text.split("=")[0] for text in kept] == ["ckpt", "ckpt"]
    assert kept[0].split()[1] == f"plugins.mine={'f' * 16}"
    nothing = identity(_Config(ckpt="DEFAULT"), "d", "s", {}, source="")
    assert "hyperspec.identity.contents" not in nothing.tags


def test_the_identity_is_the_same_in_another_process() -> None:
    program = (
        "from hyperspec.runs.identity import identity; "
        "results = {'losses': 1, 'views': 1}; "
        "print(identity({'bands': {'n': 50}, 'lr': 0.1}, 'd', 's', results, source='').hash)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _hash({"lr": 0.1, "bands": {"n": 50}})


def test_canonical_values_are_plain() -> None:
    config = dataclasses.asdict(_Config()) | {"paths": (Path("/x"), math.inf)}
    assert canonical(config) == {
        "bands": {"n": 50},
        "lr": 1e-3,
        "workers": 2,
        "ckpt": None,
        "paths": ["/x", "inf"],
    }
    with pytest.raises(ConfigError, match=r"^\.?model\.net holds a set, which has no stable text"):
        canonical({"model": {"net": {1}}})


def test_a_raised_version_is_the_reason_to_train_again(fake_sweep: FakeSweep) -> None:
    connection = fake_sweep.connection
    before = identity({"lr": 0.1}, "d", "s", {"losses": 1, "views": 1}, source="")
    raised = identity({"lr": 0.1}, "d", "s", {"losses": 1, "views": 2}, source="")
    edited = identity({"lr": 0.1}, "d", "s", {"losses": 1, "views": 1}, source="beef")
    other = identity({"lr": 0.2}, "d", "s", {"losses": 1, "views": 1}, source="")
    assert why_trained_again(connection, raised) is None
    run = start_run(connection, "job", tags=before.tags)
    run.log_metrics({"objective": 0.5})
    run.finish()
    since = f"finished before as run {run.run_id}, but"
    assert why_trained_again(connection, raised) == f"{since} 'views' went from 1 to 2 since then"
    reason = f"{since} the package's source was changed since then"
    assert why_trained_again(connection, edited) == reason
    assert why_trained_again(connection, other) is None
    assert why_trained_again(connection, before) is None
    fake_sweep.parent.finish()


def test_the_newest_finished_run_of_an_identity_is_found(fake_sweep: FakeSweep) -> None:
    connection = fake_sweep.connection
    assert find_finished(connection, "0123") is None
    for objective, status in ((0.5, "FINISHED"), (0.6, "FINISHED"), (0.9, "FAILED")):
        run = start_run(connection, "job", tags={"hyperspec.identity": "0123"})
        run.log_metrics({"objective": objective})
        run.finish(status)
        if status == "FINISHED":
            newest = Finished(run.run_id, objective, {"objective": objective})
        time.sleep(0.005)  # MLflow orders by milliseconds
    nan = start_run(connection, "job", tags={"hyperspec.identity": "0123"})
    nan.log_metrics({"objective": math.inf})
    nan.finish()
    assert find_finished(connection, "0123") == newest
    assert find_finished(connection, "4567") is None
    fake_sweep.parent.finish()


def test_a_claimed_identity_waits_and_a_dead_holder_does_not_hold(fake_sweep: FakeSweep) -> None:
    program = (
        "import sys, time; from hyperspec.runs.locks import claim; "
        "from hyperspec.tracking.client import connect; c = connect(sys.argv[1], sys.argv[2])\n"
        "with claim(c, 'feed'): print('held', flush=True); time.sleep(60)"
    )
    connection = fake_sweep.connection
    words = [sys.executable, "-c", program, connection.uri, connection.experiment]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    with claim(connection, "beef"):
        assert waiter.poll() is None
    holder.kill()
    holder.wait(300)
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == "held\n"
    waiter.kill()
    waiter.wait(300)
    for process in (holder, waiter):
        process.stdout.close()
    fake_sweep.parent.finish()
