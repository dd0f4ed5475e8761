"""A folder with every fault there is: each is a row, and none stops the check."""

import json
import re
import shutil
import warnings

import numpy as np
import pytest
from rich.console import Console

from hyperspec.cli.main import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.labels import CsvLabels, FolderLabels
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.inspection import check as looking
from hyperspec.inspection.check import CheckSettings, check_folder
from hyperspec.inspection.check_report import print_report, to_json
from hyperspec.inspection.findings import drift
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError

AXIS = SpectralAxis.linear(400, 700, 7)


def cube(seed=0, level=1000, bands=7, lines=12):
    rng = np.random.default_rng(seed)
    return rng.integers(level // 2, level, (bands, lines, 10)).astype("u2")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    for seed in range(4):
        write_envi(folder / f"a{seed}.bil", cube(seed), AXIS)
    return folder


def messages(report, file):
    return [(p.severity, p.message) for p in report.problems if p.file == file]


def test_a_clean_folder_is_clean(root):
    report = check_folder(root)
    assert (report.severity, report.exit_status, report.problems) == ("ok", 0, ())
    assert [look.file for look in report.looks] == ["a0.bil", "a1.bil", "a2.bil", "a3.bil"]
    assert all(look.measure.mb_per_second > 0 for look in report.looks)
    assert not list(root.parent.glob(".*"))  # nothing is left beside the data


FAULTS = {
    "broken.bil": ("error", r"has 10 bytes, shorter than the 1680"),
    "alone.hdr": ("error", "is a header without its data file."),
    "bad.bil": ("error", "interleave = bup"),
    "other.bil": ("error", r"another spectral axis than 13 of 14 cubes"),
    "blank.bil": ("error", "is blank: every value is 7."),
    "empty.bil": ("error", "holds no value at all"),
    "copy.bil": ("warning", "has the same content as a0.bil; one of the two"),
    "saturated.bil": ("warning", r"10.00% of its values are saturated \(at 4095\)"),
    "holes.bil": ("warning", r"16.7% of its values are nodata"),
    "dim.bil": ("warning", r"is dark: its bright part is .*Was the lamp on"),
    "band.bil": ("warning", r"holds one value everywhere in bands 2-3; if the sensor"),
    "lines.bil": ("warning", r"everywhere in lines 5-6, 9: did the scan"),
    "unit.bil": ("warning", r"no `wavelength units`; the values, 400 to 700, are read as nm"),
}


def write_faults(root):
    (root / "broken.bil").write_bytes(bytes(10))
    shutil.copy(root / "a0.hdr", root / "broken.hdr")
    shutil.copy(root / "a0.hdr", root / "alone.hdr")
    shutil.copy(root / "a0.bil", root / "copy.bil")
    shutil.copy(root / "a0.hdr", root / "copy.hdr")
    shutil.copy(root / "a0.bil", root / "bad.bil")
    (root / "bad.hdr").write_text((root / "a0.hdr").read_text().replace("= bil", "= bup"))
    write_envi(root / "other.bil", cube(9, bands=5), SpectralAxis.linear(400, 700, 5))
    write_envi(root / "blank.bil", np.full((7, 12, 10), 7, "u2"), AXIS)
    nothing = np.full((7, 12, 10), np.nan, "f4")
    write_envi(root / "empty.bil", nothing, AXIS)
    values = cube(10)
    values[:, :, 4] = 4095
    write_envi(root / "saturated.bil", values, AXIS)
    values = cube(11)
    values[:, :2] = 0
    write_envi(root / "holes.bil", values, AXIS, extra={"data ignore value": "0"})
    write_envi(root / "dim.bil", cube(12, level=20), AXIS)
    values = cube(13)
    values[2], values[3] = 11, 12
    write_envi(root / "band.bil", values, AXIS)
    values = cube(14)
    values[:, [5, 6, 9]] = 0
    write_envi(root / "lines.bil", values, AXIS)
    write_envi(root / "unit.bil", cube(15), AXIS)
    header = root / "unit.hdr"
    header.write_text(header.read_text().replace("wavelength units = nm\n", ""))


@pytest.mark.parametrize("num_threads", [1, 4])
def test_every_fault_is_a_row_and_none_stops_the_check(root, num_threads):
    write_faults(root)
    report = check_folder(root, CheckSettings(num_threads=num_threads))
    for file, (severity, text) in FAULTS.items():
        found = messages(report, file)
        assert [kind for kind, _ in found] == [severity], (file, found)
        assert re.search(text, found[0][1]), found
    assert report.exit_status == 2
    assert {p.file for p in report.problems} == set(FAULTS)
    assert [p.severity for p in report.problems] == ["error"] * 6 + ["warning"] * 7
    assert {r.file for r in report.catalogue.records} >= {"a0.bil", "unit.bil", "dim.bil"}


def test_a_folder_without_a_readable_cube_still_gets_its_rows(tmp_path):
    for name in ("x", "y"):
        (tmp_path / f"{name}.bil").write_bytes(bytes(10))
    report = check_folder(tmp_path)
    assert [(p.file, p.severity) for p in report.problems] == [
        ("x.bil", "error"),
        ("y.bil", "error"),
    ]
    assert "neither of x.bil.hdr or x.hdr lies beside it" in report.problems[0].message
    assert report.catalogue is None


def test_an_unforeseen_failure_is_a_row_too(root, monkeypatch):
    def fail(cube, saturation):
        if cube.path.name == "a2.bil":
            raise RuntimeError("disk fell off")
        return real(cube, saturation)

    real = looking.measure
    monkeypatch.setattr(looking, "measure", fail)
    report = check_folder(root)
    ((severity, text),) = messages(report, "a2.bil")
    assert severity == "error"
    assert "unforeseen way (RuntimeError: disk fell off)" in text


def test_warnings_go_to_their_file_and_nowhere_else(root, capsys):
    write_faults(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_folder(root, CheckSettings(num_threads=4))
        with pytest.raises(UserWarning, match="mine"):  # the filters are as they were
            warnings.warn("mine", stacklevel=1)
    assert capsys.readouterr().err == ""


def test_drift_against_the_expected_sensor(root):
    shifted = SpectralAxis(AXIS.wavelengths_nm + 0.4)
    report = check_folder(root, CheckSettings(expected=shifted))
    assert messages(report, "a1.bil") == [
        (
            "warning",
            "has band centres up to 0.40 nm away from the expected sensor's (band 0: 400.00 "
            "instead of 400.40 nm), -0.40 nm on average.",
        )
    ]
    assert check_folder(root, CheckSettings(expected=shifted, tolerance_nm=0.5)).exit_status == 0
    far = SpectralAxis(AXIS.wavelengths_nm + 26)
    ((severity, text),) = messages(check_folder(root, CheckSettings(expected=far)), "a1.bil")
    assert severity == "error"
    assert "more than half a band: bands are mistaken for others" in text
    fewer = SpectralAxis.linear(400, 700, 6)
    ((_, text),) = messages(check_folder(root, CheckSettings(expected=fewer)), "a1.bil")
    assert text == (
        "has 7 bands from 400.0 to 700.0 nm; the expected sensor has 6 from 400.0 to 700.0 nm."
    )
    stretched = SpectralAxis(AXIS.wavelengths_nm * 1.001)
    away = drift(stretched, AXIS)
    assert away == pytest.approx((-0.55, 0.7, 6))


def test_cubes_without_wavelengths_take_the_given_axis_and_are_not_compared(root):
    write_envi(root / "bare.bil", cube(20), None)
    ((severity, text),) = messages(check_folder(root), "bare.bil")
    assert severity == "error"
    assert "has no wavelengths; give the axis" in text
    report = check_folder(root, CheckSettings(axis=AXIS))
    assert report.exit_status == 0
    assert next(look for look in report.looks if look.file == "bare.bil").axis_given


def test_labels_without_cubes_and_cubes_without_labels(root):
    (root / "labels.csv").write_text("file,species\na0.bil,x\na1.bil,y\na2.bil,x\ngone.bil,y\n")
    report = check_folder(root, CheckSettings(labels=CsvLabels()))
    assert [(p.file, p.severity) for p in report.problems] == [
        ("a3.bil", "warning"),
        ("gone.bil", "warning"),
    ]
    assert "has a row in labels.csv (line 5) but no cube" in report.problems[1].message
    with pytest.raises(CatalogueError, match="column 'genus'"):
        check_folder(root, CheckSettings(labels=CsvLabels(column="genus")))
    with pytest.raises(CatalogueError, match="all 4 cubes lie directly in"):
        check_folder(root, CheckSettings(labels=FolderLabels()))
    write_envi(root / "x/b.bil", cube(9), AXIS)
    report = check_folder(root, CheckSettings(labels=FolderLabels()))
    assert len(report.problems) == 4


def test_frames(root):
    write_envi(root / "dark_ref.bil", cube(30, level=100), AXIS)
    report = check_folder(root)
    assert [(p.file, p.severity) for p in report.problems] == [("a0.bil", "error")]
    (text,) = [p.message for p in report.problems]
    assert "has a dark frame (dark_ref.bil) but no white frame, and calibration needs both" in text
    assert text.endswith("set data.calibrate=never to read the values as they are. (And 3 more.)")
    never = CheckSettings(preparation=PrepareSettings(calibrate="never"))
    assert check_folder(root, never).problems == ()
    white = cube(31, level=3000)
    write_envi(root / "white_ref.bil", white, AXIS)
    report = check_folder(root)
    assert report.problems == ()
    assert report.calibration == {
        "white_ref.bil, dark_ref.bil": ["a0.bil", "a1.bil", "a2.bil", "a3.bil"]
    }
    assert "a0.bil and 3 more: white_ref.bil, dark_ref.bil" in printed(report)
    (row,) = json.loads(to_json(report))["calibration"]
    assert (row["done"], row["files"][-1]) == ("white_ref.bil, dark_ref.bil", "a3.bil")
    write_envi(root / "white_ref.bil", white[:, :, :8], AXIS)
    ((severity, text),) = messages(check_folder(root), "a0.bil")
    assert severity == "error"
    assert "7 bands and 10 samples, but the calibration frame white_ref.bil has 7 and 8" in text
    write_envi(root / "white_2.bil", white, AXIS)
    ((_, text),) = messages(check_folder(root), "a0.bil")
    assert "Several files could be the white frame: white_2.bil, white_ref.bil" in text
    with pytest.raises(CatalogueError, match=r"data.white is 'w.bil'"):
        check_folder(root, CheckSettings(white="w.bil"))


def test_a_dark_cube_is_told_by_the_frames_when_it_has_no_peers(tmp_path):
    write_envi(tmp_path / "white.bil", cube(0, level=3000), AXIS)
    write_envi(tmp_path / "dark.bil", cube(1, level=100), AXIS)
    write_envi(tmp_path / "x.bil", cube(2, level=110), AXIS)
    ((severity, text),) = messages(check_folder(tmp_path), "x.bil")
    assert severity == "warning"
    assert "hardly above the dark frame's" in text


def test_json_holds_every_cube_and_problem(root):
    write_faults(root)
    report = check_folder(root, CheckSettings(expected=AXIS))
    content = json.loads(to_json(report))
    assert (content["status"], content["exit_status"], content["num_files"]) == ("error", 2, 16)
    cubes = {row["file"]: row for row in content["cubes"]}
    assert cubes["a0.bil"]["shape"] == [7, 12, 10]
    assert (cubes["a0.bil"]["status"], cubes["copy.bil"]["status"]) == ("ok", "warning")
    assert cubes["a0.bil"]["checksum"] == cubes["copy.bil"]["checksum"]
    assert cubes["a0.bil"]["drift_nm"] == {"mean": 0.0, "max": 0.0, "band": 0}
    assert cubes["broken.bil"]["shape"] is None
    assert cubes["empty.bil"]["low"] is None
    assert cubes["saturated.bil"]["saturated_share"] == pytest.approx(0.1)
    assert len(content["problems"]) == len(report.problems)


def printed(report, everything=False, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        print_report(report, console, everything)
        return console.export_text()


def test_the_table_fits_80_columns_and_says_each_file_once(root):
    write_faults(root)
    text = printed(check_folder(root, CheckSettings(expected=AXIS)))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"file +shape +type +kB MB/s nodata saturated drift nm", text)
    assert re.search(r"ERR +blank\.bil +7×12×10 +uint16 +1\.7 +\d+ +0 +0 +0\.00", text)
    narrow = printed(check_folder(root, CheckSettings(expected=AXIS)), width=62)
    assert re.search(r"file +shape +kB +nodata +saturated +drift nm", narrow)
    assert "broken.bil has 10 bytes, shorter than the 1680" in text
    assert str(root) not in text
    assert "Mend the errors before training." in text


def test_many_cubes_show_problems_first(root):
    for seed in range(40):
        write_envi(root / f"b{seed:02}.bil", cube(seed + 50), AXIS)
    shutil.copy(root / "a0.bil", root / "zz.bil")
    shutil.copy(root / "a0.hdr", root / "zz.hdr")
    report = check_folder(root)
    text = printed(report)
    assert "zz.bil has the same content as a0.bil" in text
    assert "Not listed: 44 files without findings (--all lists every file)." in text
    assert "b39.bil" not in text
    assert [line.split()[:2] for line in text.splitlines() if "0.bil" in line.split()[1:2]] == []
    assert re.search(r"file +kB +MB/s +nodata +saturated", text)
    assert re.search(r"warn +zz\.bil +1\.7 ", text)
    assert "b39.bil" in printed(report, everything=True)
    assert "45 cubes of 7×12×10 (bands, lines, samples) uint16" in text


def test_the_command(root, capsys, tmp_path):
    assert main(["check", str(root), "--expect", "400:700:7"]) == 0
    assert "Nothing to mend." in capsys.readouterr().out
    shutil.copy(root / "a0.bil", root / "copy.bil")
    shutil.copy(root / "a0.hdr", root / "copy.hdr")
    assert main(["check", "--json", str(root)]) == 1  # FOLDER is not taken for a file's name
    assert json.loads(capsys.readouterr().out)["status"] == "warning"
    target = tmp_path / "new" / "check.json"
    assert main(["check", str(root), "--out", str(target)]) == 1
    assert f"wrote {target}" in capsys.readouterr().out
    assert json.loads(target.read_text())["num_files"] == 5
    assert main(["check", str(root), "--json", "--out", str(target)]) == 1
    assert capsys.readouterr().out == target.read_text()
    (root / "labels.csv").write_text("file,species\na0.bil,x\n")
    assert main(["check", str(root)]) == 1
    assert "has no row in labels.csv" in capsys.readouterr().out
    assert main(["check", str(root), "data/labels=none", f"data.cache_dir={tmp_path / 'c'}"]) == 1
    assert (tmp_path / "c" / "checksums.json").is_file()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--expect", "mision"], "--expect is 'mision'; give 'mission' (408 bands"),
        (
            ["data/labels=folder", "data.labels.column=x"],
            "There is no key data.labels.column in this",
        ),
        (["--tolerance", "0"], "--tolerance is 0.0; give nanometres above 0."),
        (["--threads", "0"], "--threads is 0; give at least 1."),
        (["data/labels=csv"], "labels.csv do not exist"),
        (["--labels", "csv"], "labels.csv do not exist"),
    ],
)
def test_wrong_words_are_told(root, capsys, words, text):
    assert main(["check", str(root), *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_a_missing_folder_is_told(tmp_path, capsys):
    assert main(["check", str(tmp_path / "no")]) == 2
    assert "which is no folder" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        CheckSettings(num_threads=-1)


@pytest.mark.real_data
def test_real_folders_are_checked_to_the_end(real_data):
    report = check_folder(real_data / "corn_kernel_vnir")
    # The lamp is weak below 400 nm, which is told.
    assert (report.exit_status, len(report.looks)) == (1, 3)
    assert "3 times the noise above the dark in bands 0-27" in report.problems[0].message
    report = check_folder(real_data / "gdal_envi")
    assert report.exit_status == 2
    assert len(report.looks) == 27
    assert not [p for p in report.problems if "unforeseen" in p.message]
