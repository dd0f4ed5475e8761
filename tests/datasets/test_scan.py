import json
import os

import numpy as np
import pytest

from hyperspec.cubes.checksums import ChecksumCache, file_digest
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.labels import CsvLabels, PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError

AXIS = SpectralAxis.linear(400, 700, 6)


def write(path, seed=0, axis=AXIS, shape=(5, 4), **options):
    values = np.random.default_rng(seed).integers(0, 4000, (len(axis), *shape)).astype(np.uint16)
    write_envi(path, values, axis, **options)
    return values


def messages(catalogue, file):
    return [p.message for p in catalogue.problems if p.file == file]


def test_records_carry_labels_shape_size_and_checksum(tmp_path):
    write(tmp_path / "A b_1D_010203.bil", 1)
    write(tmp_path / "sub/A b_1V_010203.bil", 2, shape=(7, 3), header_suffix=".bil.hdr")
    catalogue = scan(tmp_path, labels=PatternLabels())
    first, second = catalogue.records
    assert (first.file, second.file) == ("A b_1D_010203.bil", "sub/A b_1V_010203.bil")
    assert (first.label, first.specimen, first.view, first.date) == ("A b", "A b/1", "D", "010203")
    assert (first.shape, second.shape) == ((6, 5, 4), (6, 7, 3))
    assert second.num_bytes == 6 * 7 * 3 * 2
    assert first.axis_hash == AXIS.hash == catalogue.axis.hash
    assert first.checksum != second.checksum
    assert catalogue.problems == ()
    table = catalogue.table()
    assert list(table["specimen"]) == ["A b/1", "A b/1"]
    assert list(table.columns)[:5] == ["file", "label", "specimen", "view", "date"]
    assert list(table["num_lines"]) == [5, 7]


@pytest.mark.parametrize("header", ["gone.bil.hdr", "gone.hdr"])
def test_a_header_without_its_data_is_told_with_a_pattern_too(tmp_path, header):
    write(tmp_path / "good.bil", 0)
    (tmp_path / header).write_text("ENVI\n")
    (tmp_path / "other.raw.hdr").write_text("ENVI\n")
    catalogue = scan(tmp_path, pattern="*.bil")
    assert [(p.file, p.severity) for p in catalogue.problems] == [(header, "error")]
    assert messages(catalogue, header) == ["is a header without its data file."]


def test_problems_are_rows_and_the_other_cubes_stay(tmp_path):
    for i in range(3):
        write(tmp_path / f"good{i}.bil", i)
    write(tmp_path / "other.bil", 9, SpectralAxis.linear(400, 710, 6))
    write(tmp_path / "short.bil", 10)
    os.truncate(tmp_path / "short.bil", 100)
    write(tmp_path / "orphan.bil", 11)
    (tmp_path / "orphan.bil").unlink()
    (tmp_path / "nohdr.bil").write_bytes(bytes(240))
    (tmp_path / "twin.bil").write_bytes((tmp_path / "good0.bil").read_bytes())
    (tmp_path / "twin.hdr").write_bytes((tmp_path / "good0.hdr").read_bytes())
    (tmp_path / "labels.csv").write_text("file,species\ngood0.bil,x\ngone.bil,x\n")
    catalogue = scan(tmp_path, labels=CsvLabels())
    assert [r.file for r in catalogue.records] == [
        "good0.bil", "good1.bil", "good2.bil", "twin.bil",
    ]  # fmt: skip
    assert [r.label for r in catalogue.records] == ["x", None, None, None]
    errors = {p.file for p in catalogue.problems if p.severity == "error"}
    assert errors == {"other.bil", "short.bil", "orphan.hdr", "nohdr.bil"}
    assert "has another spectral axis than 4 of 5 cubes" in messages(catalogue, "other.bil")[0]
    assert "710.000 instead of 700.000 nm" in messages(catalogue, "other.bil")[0]
    assert "240" in messages(catalogue, "short.bil")[0]
    assert "has no header" in messages(catalogue, "nohdr.bil")[0]
    assert messages(catalogue, "orphan.hdr") == ["is a header without its data file."]
    assert "has the same content as good0.bil" in messages(catalogue, "twin.bil")[-1]
    assert messages(catalogue, "gone.bil") == ["has a row in labels.csv (line 3) but no cube."]
    with pytest.raises(CatalogueError, match=r"4 of the files in .* cannot be used: nohdr.bil: "):
        catalogue.raise_errors()


def test_axes_within_a_hundredth_of_a_nanometre_are_one(tmp_path):
    write(tmp_path / "a.bil", 1)
    write(tmp_path / "b.bil", 2, SpectralAxis(AXIS.wavelengths_nm + 0.005))
    catalogue = scan(tmp_path)
    assert [r.file for r in catalogue.records] == ["a.bil", "b.bil"]
    assert catalogue.axis == AXIS


def test_axis_from_the_config_serves_headers_without_wavelengths(tmp_path):
    write(tmp_path / "a.bil", 1)
    header = tmp_path / "a.hdr"
    text = header.read_text()
    header.write_text(text[: text.index("wavelength units")])
    with pytest.raises(CatalogueError, match=r"No cube in .* can be read. a.bil: .*no wavelengths"):
        scan(tmp_path)
    assert scan(tmp_path, axis=AXIS).axis == AXIS


def test_frames_are_found_by_name_and_are_no_specimens(tmp_path):
    for name in ("a.raw", "white_reference_crop.raw", "DARKREF_01.raw"):
        write(tmp_path / name, len(name))
    catalogue = scan(tmp_path)
    assert [r.file for r in catalogue.records] == ["a.raw"]
    frames = catalogue.records[0].frames
    assert frames.white == tmp_path / "white_reference_crop.raw"
    assert frames.dark == tmp_path / "DARKREF_01.raw"
    write(tmp_path / "white2.raw", 77)
    (record,) = scan(tmp_path).records
    assert record.frames.white is None
    assert "white frame: white2.raw, white_reference_crop.raw. Name one" in record.frames.problem
    named = scan(tmp_path, white="white2.raw")
    assert named.records[0].frames.white == tmp_path / "white2.raw"
    assert [r.file for r in named.records] == ["a.raw"]
    assert named.hash != catalogue.hash
    with pytest.raises(CatalogueError, match=r"data.dark is 'no.raw', but .* does not exist"):
        scan(tmp_path, dark="no.raw", white="white2.raw")


def test_pictures_masks_and_hidden_files_are_no_cubes(tmp_path):
    write(tmp_path / "a.raw", 1)
    for name in ("a.png", "a_mask.png", ".a.raw.123.part", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    catalogue = scan(tmp_path)
    assert [r.file for r in catalogue.records] == ["a.raw"]
    (problem,) = catalogue.problems  # which matters where data.mask uses it
    assert problem.severity == "warning"
    assert "a_mask.png cannot be read" in problem.message


def test_pattern_takes_what_it_says(tmp_path):
    write(tmp_path / "a.raw", 1)
    write(tmp_path / "b.bil", 2)
    assert [r.file for r in scan(tmp_path, pattern="*.bil").records] == ["b.bil"]
    with pytest.raises(CatalogueError, match=r"holds no cube that fits data.pattern=\*.bsq"):
        scan(tmp_path, pattern="*.bsq")
    with pytest.raises(CatalogueError, match=r"\(data.root\) is .*nowhere, which is no folder"):
        scan(tmp_path / "nowhere")


def test_hash_follows_content_header_labels_and_mask(tmp_path):
    write(tmp_path / "A b_1D_010203.bil", 1)
    before = scan(tmp_path)
    assert scan(tmp_path).hash == before.hash
    assert scan(tmp_path, labels=PatternLabels()).hash != before.hash
    np.save(tmp_path / "A b_1D_010203_mask.npy", np.ones((5, 4), bool))
    masked = scan(tmp_path)
    assert masked.hash != before.hash
    write(tmp_path / "A b_1D_010203.bil", 2)
    assert scan(tmp_path).hash not in (before.hash, masked.hash)


def test_checksums_are_remembered_until_the_file_changes(tmp_path):
    cache_dir = tmp_path / "cache"
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    cache = ChecksumCache(cache_dir)
    assert cache.digest(path) == file_digest(path)
    cache.save()
    stored = json.loads((cache_dir / "checksums.json").read_text())["content"]
    stored[str(path)][3] = "remembered"  # and written as until 0.1.0, without a checksum of its own
    (cache_dir / "checksums.json").write_text(json.dumps(stored))
    assert ChecksumCache(cache_dir).digest(path) == "remembered"
    # Another file of the same size and modification time, as `cp -p` makes.
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    new = tmp_path / "b.bin"
    new.write_bytes(b"two")
    os.utime(new, ns=times)
    new.replace(path)
    assert path.stat().st_mtime_ns == times[1]
    assert ChecksumCache(cache_dir).digest(path) == file_digest(path)
    (cache_dir / "checksums.json").write_text("{broken")
    assert ChecksumCache(cache_dir).digest(path) == file_digest(path)


def test_without_contents_size_and_times_of_change_tell_files_apart(tmp_path, monkeypatch):
    monkeypatch.delattr("hyperspec.cubes.checksums.file_digest")
    file, other = tmp_path / "a.bil", tmp_path / "b.bil"
    write(file, 1)
    write(other, 1)
    first, second = scan(tmp_path, contents=False).records
    assert first.checksum != second.checksum
    assert scan(tmp_path, contents=False).records[0].checksum == first.checksum
    write(file, 2)
    changed, same = scan(tmp_path, contents=False).records
    assert changed.checksum != first.checksum
    assert same.checksum == second.checksum


def test_scan_writes_only_into_the_cache(tmp_path):
    root = tmp_path / "data"
    write(root / "a.bil", 1)
    before = sorted(p.name for p in root.rglob("*"))
    scan(root, cache_dir=tmp_path / "cache")
    assert sorted(p.name for p in root.rglob("*")) == before
    assert list(json.loads((tmp_path / "cache/checksums.json").read_text())["content"]) == [
        str(root / "a.bil"), str(root / "a.hdr"),
    ]  # fmt: skip


def test_a_headers_own_wavelengths_win_over_the_given_axis(tmp_path):
    values = np.full((3, 2, 2), 5, np.uint16)
    own = SpectralAxis.linear(400, 500, 3)
    write_envi(tmp_path / "a.bil", values, own)
    write_envi(tmp_path / "b.bil", values + 1, own)
    assert scan(tmp_path, axis=SpectralAxis.linear(600, 700, 3)).axis == own


def test_the_given_axis_serves_headers_without_wavelengths(tmp_path):
    given = SpectralAxis.linear(600, 700, 3)
    write_envi(tmp_path / "a.bil", np.full((3, 2, 2), 5, np.uint16), None)
    assert scan(tmp_path, axis=given).axis == given
