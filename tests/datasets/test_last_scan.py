"""A scan is taken again only where nothing that it read has changed."""

import os
from dataclasses import replace

import numpy as np
import pytest

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets import config
from hyperspec.datasets.catalogue.labels import CsvLabels, NoLabels
from hyperspec.datasets.config import FolderData, scan_folder
from hyperspec.spectra.axis import SpectralAxis

AXIS = SpectralAxis.linear(400, 700, 6)


def write(path, seed):
    values = np.random.default_rng(seed).integers(0, 4000, (6, 5, 4)).astype(np.uint16)
    write_envi(path, values, AXIS)


@pytest.fixture
def scans(monkeypatch):
    """The scans that were made."""
    made, real = [], config.scan

    def scan(*given, **options):
        made.append(given)
        return real(*given, **options)

    monkeypatch.setattr(config, "scan", scan)
    return made


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "cubes"
    for seed in range(3):
        write(root / f"{seed}.bil", seed)
    (root / "labels.csv").write_text("file,species\n0.bil,a\n1.bil,b\n2.bil,a\n")
    return FolderData(root=str(root), labels=CsvLabels(), cache_dir=str(tmp_path / "cache"))


def keep_time(path, content):
    """Write other content of the same length under the old time of change."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "values": lambda root: keep_time(root / "1.bil", bytes(240)),
    "header": lambda root: (root / "1.hdr").write_text((root / "1.hdr").read_text() + "\n"),
    "mask": lambda root: np.save(root / "1_mask.npy", np.ones((5, 4), bool)),
    "labels": lambda root: (root / "labels.csv").write_text("file,species\n0.bil,c\n"),
    "new": lambda root: write(root / "sub" / "3.bil", 3),
    "gone": lambda root: [(root / name).unlink() for name in ("2.bil", "2.hdr")],
    "renamed": lambda root: (
        (root / "labels.csv").rename(root / "l.csv").rename(root / "labels.csv")
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_scanned_again(data, scans, tmp_path, change):
    first = scan_folder(data)
    assert scan_folder(replace(data)) is first
    assert len(scans) == 1
    CHANGES[change](tmp_path / "cubes")
    again = scan_folder(data)
    assert len(scans) == 2
    whole = config.scan(data.root, labels=data.labels)
    assert again.hash == whole.hash
    assert again.problems == whole.problems
    assert (again.hash == first.hash) == (change == "renamed")


def test_other_options_are_another_scan(data, scans, tmp_path):
    scan_folder(data)
    others = [
        {"labels": NoLabels()},
        {"labels": CsvLabels(column="file")},
        {"pattern": "*.bil"},
        {"trailing_bytes": "ignore"},
        {"cache_dir": str(tmp_path / "other")},
    ]
    for count, other in enumerate(others, 2):
        scan_folder(replace(data, **other))
        assert len(scans) == count
    data.labels.column = "file"
    scan_folder(data)
    data.labels.column = "species"
    scan_folder(data)
    assert len(scans) == len(others) + 3


def test_labels_beside_the_folder_count(data, scans, tmp_path):
    (tmp_path / "cubes/labels.csv").rename(tmp_path / "labels.csv")
    beside = replace(data, labels=CsvLabels(file="../labels.csv"))
    first = scan_folder(beside)
    assert scan_folder(beside) is first
    (tmp_path / "labels.csv").write_text("file,species\n0.bil,c\n1.bil,c\n2.bil,c\n")
    assert [r.label for r in scan_folder(beside).records] == ["c"] * 3
    assert len(scans) == 2


class OwnLabels(CsvLabels):
    """A plug-in's: nobody knows what it reads."""


def test_what_cannot_be_known_is_scanned_each_time(data, scans, tmp_path):
    (tmp_path / "labels.csv").write_text("file,species\n")
    foreign = replace(data, labels=OwnLabels())
    scan_folder(foreign)
    scan_folder(foreign)
    assert len(scans) == 2
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cubes/link").symlink_to(tmp_path / "elsewhere")
    scan_folder(data)
    write(tmp_path / "elsewhere/9.bil", 9)
    assert len(scan_folder(data).records) == 4


def test_errors_are_looked_at_again(data, scans, tmp_path):
    os.truncate(tmp_path / "cubes/1.bil", 7)
    assert [p.severity for p in scan_folder(data).problems][:1] == ["error"]
    scan_folder(data)
    assert len(scans) == 2
