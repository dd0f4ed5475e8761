"""What a run works on: no held-out cube reaches the statistics, no stale data a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hyperspec.bands import STRATEGIES, Uniform, Variance
from hyperspec.bands.base import CountedStrategy
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.config import FolderData, SplitSpec
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.data import Material, gather
from hyperspec.utils.errors import ConfigError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=24))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "specimens"))


def data(folder: Path, **changed: object) -> FolderData:
    settings = {"size": 8, "cache_dir": str(folder.parent / "cache"), "labels": CsvLabels()}
    return FolderData(root=str(folder), **{**settings, **changed})  # type: ignore[arg-type]


def overwrite(folder: Path, file: str) -> None:
    """Replace a cube's content by its bands in reverse order, brightened."""
    path = folder / file
    with open_cube(path) as cube:
        raw = cube.read_raw()
    brighter = np.minimum(raw[::-1].astype(np.int64) * 2 + 50, 60000).astype(np.uint16)
    # BIL: lines, then bands, then samples
    path.write_bytes(brighter.transpose(1, 0, 2).tobytes())


COUNTED = [s for s in STRATEGIES.values() if issubclass(s, CountedStrategy)]


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize(
    "split", [SplitSpec(), *(SplitSpec(rotate=4, rotation=turn) for turn in range(4))]
)
def test_held_out_cubes_change_no_training_statistic_and_no_selection(
    folder: Path, part: str, split: SplitSpec
) -> None:
    given = data(folder, split=split)
    before = gather(given, Uniform(n=5))
    chosen = {s.name: s(n=5).select(before.source.axis, before.statistics) for s in COUNTED}
    rows = before.split.parts()[part]
    for row in rows:
        overwrite(folder, before.files[row])
    after = gather(given, Uniform(n=5))
    assert after.split.hash == before.split.hash
    assert after.source.hash != before.source.hash, "the change itself was noticed"
    assert after.statistics.hash == before.statistics.hash
    for strategy in COUNTED:
        again = strategy(n=5).select(after.source.axis, after.statistics)
        assert again == chosen[strategy.name], strategy.name


def test_labels_held_out_change_no_training_statistic_and_no_selection(folder: Path) -> None:
    names = ["Synthopteryx octava", "Synthopteryx prima"]
    held = SplitSpec(hold_out=names)
    before = gather(data(folder, split=held), Uniform(n=5))
    chosen = {s.name: s(n=5).select(before.source.axis, before.statistics) for s in COUNTED}
    assert {before.labels[row] for row in before.split.held_out} == set(names)
    assert not set(before.classes) & set(names)
    assert not set(before.statistics.classes) & set(names)
    for row in before.split.held_out:
        overwrite(folder, before.files[row])
    after = gather(data(folder, split=held), Uniform(n=5))
    assert after.split.hash == before.split.hash
    assert after.source.hash != before.source.hash, "the change itself was noticed"
    assert after.statistics.hash == before.statistics.hash
    for strategy in COUNTED:
        again = strategy(n=5).select(after.source.axis, after.statistics)
        assert again == chosen[strategy.name], strategy.name
    assert gather(data(folder), Uniform(n=5)).statistics.hash != after.statistics.hash


def test_rotations_read_one_store_and_have_statistics_of_their_own(folder: Path) -> None:
    made = [
        gather(data(folder, split=SplitSpec(rotate=4, rotation=turn)), Uniform(n=5))
        for turn in range(4)
    ]
    shards = {path: path.stat().st_mtime_ns for path in (folder.parent / "cache").rglob("*.npy")}
    again = gather(data(folder), Uniform(n=5))
    assert {one.source.hash for one in [*made, again]} == {again.source.hash}
    assert len({one.statistics.hash for one in made}) == 4
    tested = [file for one in made for file in (one.files[row] for row in one.split.test)]
    assert sorted(tested) == sorted(again.files)
    now = {path: path.stat().st_mtime_ns for path in (folder.parent / "cache").rglob("*.npy")}
    assert now == shards, "nothing was packed anew"
    with pytest.raises(ConfigError, match=r"data\.split\.rotate=4 makes 4 parts"):
        gather(data(folder, split=SplitSpec(rotate=4)), Uniform(n=5))


def test_a_training_cube_does_change_them(folder: Path) -> None:
    before = gather(data(folder), Variance(n=5))
    overwrite(folder, before.files[before.split.train[0]])
    after = gather(data(folder), Variance(n=5))
    assert after.statistics.hash != before.statistics.hash


def test_both_views_of_a_specimen_fall_on_one_side(folder: Path) -> None:
    made = gather(data(folder), Uniform(n=5))
    parts = [{made.specimens[row] for row in rows} for rows in made.split.parts().values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 32
    assert {len([s for s in made.specimens if s == key]) for key in parts[2]} == {2}


def test_store_and_direct_reading_agree(folder: Path) -> None:
    stored = gather(data(folder), Uniform(n=5))
    direct = gather(data(folder, store="none"), Uniform(n=5))
    rows = [0, 3, 7]
    np.testing.assert_array_equal(
        stored.source.planes(rows, stored.selection), direct.source.planes(rows, direct.selection)
    )
    assert stored.statistics.hash == direct.statistics.hash


def test_unknown_store_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.store is 'zip'; choose auto or none"):
        gather(data(folder, store="zip"), Uniform(n=5))


def test_an_export_is_trained_on_as_its_store_was(folder: Path) -> None:
    from hyperspec.datasets.export import export_store

    made = gather(data(folder), Uniform(n=5))
    exported = folder.parent / "exported"
    export_store(made.source, exported, "envi")  # type: ignore[arg-type]
    again = gather(data(exported, pattern="*.bsq", mask="image", crop_margin=None), Uniform(n=5))
    assert (again.labels, again.specimens) == (made.labels, made.specimens)
    for part, rows in made.split.parts().items():
        np.testing.assert_array_equal(again.split.parts()[part], rows)
    rows = list(range(len(made.source)))
    np.testing.assert_array_equal(
        again.source.planes(rows, again.selection), made.source.planes(rows, made.selection)
    )
    np.testing.assert_array_equal(again.source.masks(rows), made.source.masks(rows))


def test_a_run_is_warned_of_confounders_until_its_split_keeps_them_apart(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "labels.csv"
    header, *lines = path.read_text().splitlines()
    columns = header.split(",")
    pigment, number = columns.index("pigment"), columns.index("specimen")
    cells = [line.split(",") for line in lines]
    # Each pigment group has its own sessions, three of them, so that each part gets one.
    rows = [[*row, f"{row[pigment][0]}{int(row[number]) % 3}"] for row in cells]
    path.write_text("\n".join(",".join(row) for row in [[*columns, "session"], *rows]) + "\n")

    def made(**changed: object) -> Material:
        return gather(data(folder, labels=CsvLabels(column="pigment"), **changed), Uniform(n=5))

    plain = made()
    assert "confounds label and session" in caplog.text
    assert "data.split.group=session" in caplog.text
    assert set(plain.confounders) == {"date", "session"}
    assert plain.split.groups is None
    caplog.clear()
    apart = made(split=SplitSpec(group="session"))
    assert "confounds" not in caplog.text
    assert apart.split.groups == tuple(apart.confounders["session"])
    sessions = [{apart.split.groups[row] for row in part} for part in apart.split.parts().values()]
    assert sum(map(len, sessions)) == len(set.union(*sessions)) == 6
    none = made(confounders=[])
    assert none.confounders == {}
    assert none.split.hash == plain.split.hash
    with pytest.raises(ConfigError, match=r"data\.confounders names 'lamp'"):
        made(confounders=["lamp"])
