from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.config import groups
from hyperspec.config.compose import compose_words
from hyperspec.evaluation.statistics.paired import equivalence_test
from hyperspec.runs.planning.disk import DiskNeed, disk_need, disk_text
from hyperspec.runs.planning.few_specimens import advise_margin, advise_rotations, num_specimens
from hyperspec.runs.planning.time import Seen, earlier_runs, forecast_time, shape_of, time_text
from hyperspec.tracking.health import local_folder
from hyperspec.training.builders import read_config
from hyperspec.training.checkpoint import read_checkpoint

PARAMS = {"model.stem": "projection", "batch_size": "8", "data.size": "16", "lr": "1", "seed": "0"}
SHAPE = shape_of(PARAMS)


def seen(n: float, rate: float, epochs: float = 10, beside: float = 2.0) -> Seen:
    return Seen(SHAPE, n, epochs, rate * epochs, rate * epochs + beside)


def job(n: int, epochs: int = 10, **other: str) -> dict[str, str]:
    return {**PARAMS, "bands.n": str(n), "epochs": str(epochs), **other}


def test_the_shape_is_what_time_depends_on() -> None:
    assert shape_of({**PARAMS, "lr": "2", "seed": "3", "model.num_features": "128"}) == SHAPE
    assert shape_of({**PARAMS, "batch_size": "16"}) != SHAPE
    assert shape_of({**PARAMS, "model.stem": "attention"}) != SHAPE


def test_time_is_a_line_over_bands_and_grows_with_epochs() -> None:
    runs = [seen(10, 1.0), seen(50, 5.0), seen(50, 5.0)]
    found = forecast_time([job(10), job(30), job(30, epochs=20)], 3, runs)
    assert found.seconds == pytest.approx((10 + 2) + (30 + 2) + (60 + 2))
    assert found.source == "3 earlier runs of this shape"
    # Jobs that were not composed count like the others.
    assert forecast_time([job(10)], 5, runs).seconds == pytest.approx(5 * 12)


def test_runs_of_one_count_say_what_they_saw() -> None:
    found = forecast_time([job(400)], 1, [seen(10, 1.0), seen(10, 3.0), seen(10, 2.0)])
    assert found.seconds == pytest.approx(2 * 10 + 2)


def test_noise_does_not_make_more_bands_cheaper() -> None:
    found = forecast_time([job(400)], 1, [seen(10, 2.0), seen(20, 1.0)])
    assert found.seconds == pytest.approx(1.5 * 10 + 2)


def test_another_shape_is_unknown() -> None:
    found = forecast_time([job(10, batch_size="16")], 1, [seen(10, 1.0)])
    assert math.isnan(found.seconds)
    said = time_text(found, 1, 1)
    assert said == "time: unknown until the first job is done (no earlier run of this shape here)"


def test_rotations_are_advised_where_specimens_are_few(tmp_path: Path) -> None:
    groups.register()
    words = ["data/labels=none", f"data.root={tmp_path}"]
    config = groups.to_train(compose_words(words))
    for number in range(99):
        (tmp_path / f"{number}.bil").touch()
        (tmp_path / f"{number}.hdr").touch()
    assert advise_rotations(config, 6, 90.0) == (
        "advice: 99 specimens are few, and one split tests about 25 of them. data.split.rotate=4 "
        "tests each of them once, for 4 times the jobs (24 instead of 6, about 6 min)"
    )
    unknown = advise_rotations(config, 6, math.nan)
    assert unknown is not None
    assert unknown.endswith("(24 instead of 6)")
    rotating = groups.to_train(compose_words([*words, "data.split.rotate=4"]))
    assert advise_rotations(rotating, 6, 90.0) is None
    (tmp_path / "99.bil").touch()
    (tmp_path / "99.hdr").touch()
    assert num_specimens(config.data) == 100
    assert advise_rotations(config, 6, 90.0) is None


def test_a_margin_that_no_specimens_can_hold_is_said(tmp_path: Path) -> None:
    """Where every specimen is named rightly by both, the exact bound decides: 149 for 2 points."""
    groups.register()

    def advice(count: int, *more: str) -> str | None:
        for number in range(count):
            (tmp_path / f"{number}.bil").touch()
            (tmp_path / f"{number}.hdr").touch()
        rows = [f"{number}.bil,{number % 2},{number}" for number in range(count)]
        (tmp_path / "labels.csv").write_text("\n".join(["file,species,specimen", *rows]))
        words = [f"data.root={tmp_path}", "data.split.rotate=4", *more]
        return advise_margin(groups.to_train(compose_words(words)))

    said = advice(148)
    assert said is not None
    assert "148 tested specimens" in said
    assert "takes 149 specimens, or a margin above 0.020" in said
    assert advice(149) is None
    right = np.ones((3, 149))
    rows = [str(number) for number in range(149)]
    for count, verdict in ((149, "as good as"), (148, "undecided")):
        some = right[:, :count]
        assert equivalence_test(some, some, rows[:count], margin=0.02).verdict == verdict
    assert advice(149, "data.split.rotate=null") is not None  # a quarter is tested
    assert advice(149, "data.split.rotate=null", "sweep.margin=0.1") is None
    assert advice(149, "data/labels=none", "sweep.margin=0.001") is None


def test_the_text_counts_workers() -> None:
    found = forecast_time([job(10)], 20, [seen(10, 6.0)])
    said = time_text(found, 20, 4)
    assert said.startswith("time: about 5 min (20 x 62 s, 4 at a time; from 1 earlier run of")


def test_tables_that_another_sweep_makes_are_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    before = path.read_bytes()
    assert earlier_runs(f"sqlite:///{path}", "x") == []
    assert path.read_bytes() == before


def test_too_little_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10**9))
    folder = tmp_path / "not" / "there" / "yet"
    need = DiskNeed(4, 100_000_000, 200_000_000)
    said = disk_text(need, 3, folder)
    expected = "disk: about 1.3 GB (100 MB of packed cubes, 3 x 2 checkpoints of 200 MB) of 1.0 GB"
    assert said.splitlines()[0] == f"{expected} free"
    assert said.splitlines()[1].startswith("warning: the disk has too little room")
    assert "cubes are packed" in disk_text(DiskNeed(4, 0, 1000), 1, folder)


def test_a_sweep_says_time_and_disk_first(
    study: Study, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*study.words, f"data.cache_dir={tmp_path / 'packed'}"]  # of no other test's shards
    dry = [*words, "-m", "bands.n=5,6", "sweep.dry_run=true"]
    assert main(dry) == 0
    before = capfd.readouterr().out
    assert "sweep: 2 jobs" in before
    assert "time: unknown until the first job is done" in before
    assert study.jobs() == []
    assert main([*words, "-m", "bands.n=5"]) == 0
    capfd.readouterr()
    assert main(dry) == 0
    said = capfd.readouterr().out
    assert "from 1 earlier run of this shape" in said
    assert "disk: about" in said
    assert "advice: 32 specimens are few, and one split tests about 13 of them." in said
    assert (
        "data.split.rotate=4 tests each of them once, for 4 times the jobs (8 instead of 2" in said
    )
    assert main([*dry, "data.split.rotate=4"]) == 0
    rotated = capfd.readouterr().out
    assert "sweep: 8 jobs" in rotated
    assert "are few" not in rotated
    (run,) = study.jobs()
    (earlier,) = earlier_runs(study.uri, study.folder.name)
    assert earlier.train_seconds == run.data.metrics["cost/train_seconds"]
    assert (earlier.n, earlier.epochs) == (5, 2)
    _check_need(local_folder(run.info.artifact_uri), tmp_path)


def _check_need(artifacts: Path, tmp_path: Path) -> None:
    """The predicted sizes are those on the disk."""
    path = artifacts / "checkpoints" / "last.ckpt"
    config = read_config(read_checkpoint(path), path)
    need = disk_need(config)
    assert need.planes == 0
    assert need.num_cubes == 64  # 8 species, 4 specimens, 2 views
    assert need.checkpoint == pytest.approx(path.stat().st_size, rel=0.25)
    packed = Path(config.data.cache_dir)
    config.data.cache_dir = str(tmp_path / "empty")
    size = sum(file.stat().st_size for file in (packed / "shards").rglob("*") if file.is_file())
    assert size <= disk_need(config).planes <= 2.5 * size
