"""From scans whose reflectance is known back to it, or a refusal that says why."""

import dataclasses
import json
import logging
from dataclasses import asdict

import numpy as np
import pytest
from camera_scenes import (
    AXIS,
    PEAKS,
    Camera,
    disc,
    scene,
    spectrum,
    write,
    write_session,
)

from hyperspec.cubes.checksums import ChecksumCache, combined, source_digests
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation import prepare as preparing
from hyperspec.datasets.preparation.calibrator import Calibrator
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import PREPARE_VERSION, Preparer
from hyperspec.datasets.store.packed import pack
from hyperspec.utils.errors import CatalogueError, CubeError

WHOLE = PrepareSettings(size=24, crop_margin=None, dtype="float32")
# Two counts of noise on a lamp of a few hundred; the mean over some 190 pixels has little of it.
CLOSE = 0.006


def prepared(root, settings=WHOLE, **options):
    """Return the calibrator and each file's image with its mask."""
    catalogue = scan(root, pattern="*", **options)
    preparer = Preparer(catalogue, settings)
    return preparer, {record.file: preparer.prepare(record) for record in catalogue.records}


def check_right(images, peaks=PEAKS, least=150, top=1.0):
    """Each specimen has its own spectrum, on all of its pixels or at least so many."""
    for file, image in images.items():
        peak = peaks[file] if file in peaks else peaks[file.rsplit("/", 1)[-1][0]]
        inside = image.mask & disc()
        assert inside.sum() >= least
        mean = image.image[:, inside].mean(axis=1)
        np.testing.assert_allclose(mean, top * spectrum(peak), atol=CLOSE)


def words(preparer):
    return list(preparer.calibrator.groups())


def told(preparer):
    return [problem.message for problem in preparer.calibrator.told]


def test_one_pair_of_frames_serves_all(tmp_path):
    write_session(tmp_path, Camera(), tint="2.0")
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer) == ["white.bil, dark.bil"]
    assert told(preparer) == []


@pytest.mark.parametrize(
    ("key", "times", "white_text"),
    [
        ("tint", ("1.00", "2.40"), "tint 2.4"),
        ("integration_time", ("5000", "12000"), "integration time 12000"),
        ("shutter", ("10.0", "24.0"), "shutter 24"),
        ("exposure_(ms)", ("3", "7.2"), "exposure [ms] 7.2"),
        ("exposure time", ("3 ms", "7200 us"), "exposure time [ms] 7.2"),
        ("tint1", ("20", "48"), "tint1 48"),
    ],
)
def test_a_white_of_another_exposure_is_scaled(tmp_path, key, times, white_text):
    camera = Camera(lamp=1500)
    write_session(tmp_path, camera, **{key: times[0]})
    write(tmp_path / "white.bil", camera.white(time=2.4), **{key: times[1]})
    preparer, images = prepared(tmp_path)
    check_right(images)
    (text,) = words(preparer)
    assert "scaled by the exposure, as of a linear sensor" in text
    assert f"the white frame: {white_text}" in text


def test_frames_per_scan_make_one_line(tmp_path):
    for number, (name, lamp) in enumerate((("x1", 1.0), ("x10", 0.6), ("x2", 0.9))):
        camera = Camera(seed=number)
        write(tmp_path / f"{name}.bil", camera.expose(scene(450), lamp=lamp))
        write(tmp_path / f"WHITEREF_{name}.bil", camera.white(lamp=lamp))
        write(tmp_path / f"DARKREF_{name}.bil", camera.shut())
    preparer, images = prepared(tmp_path)
    check_right(images, dict.fromkeys(images, 450))
    assert words(preparer)[1] == "WHITEREF_x10.bil, DARKREF_x10.bil"
    assert preparer.calibrator.lines() == ["x1.bil and 2 more: WHITEREF_*.bil, DARKREF_*.bil"]


def test_a_dark_of_another_exposure_is_told(tmp_path):
    camera = Camera()
    write_session(tmp_path, camera, tint="1")
    write(tmp_path / "dark.bil", camera.shut(), tint="8")
    preparer, _ = prepared(tmp_path)
    (scans, white) = told(preparer)
    assert scans.startswith("the dark dark.bil was exposed by tint 8, the scan by tint 1")
    assert scans.endswith("(And 2 more.)")
    assert "the white by tint 1" in white


@pytest.mark.parametrize(
    ("of_cubes", "of_white", "text"),
    [
        ({"tint1": 1, "tint2": 4}, {"tint1": 2, "tint2": 4}, r"tint1 1, tint2 4; .*: tint1 2, tin"),
        ({"gain": "1.0"}, {"gain": "2"}, r"another setting than the white \(gain 1 and 2\)"),
        ({"binning": "{1, 2}"}, {"binning": "{2, 2}"}, r"binning 1, 2 and 2, 2"),
    ],
)
def test_what_cannot_be_reconciled_is_refused_with_both_values(tmp_path, of_cubes, of_white, text):
    camera = Camera()
    write_session(tmp_path, camera, **of_cubes)
    write(tmp_path / "white.bil", camera.white(), **of_white)
    with pytest.raises(CatalogueError, match=text) as error:
        prepared(tmp_path)
    assert str(error.value).startswith("a.bil and 2 more: was ")
    assert "data.white" in str(error.value)
    assert "set data.calibrate=never" in str(error.value)
    assert len(prepared(tmp_path, dataclasses.replace(WHOLE, calibrate="never"))[1]) == 3


@pytest.mark.parametrize("key", ["tint", "gain"])
def test_a_white_of_an_unknown_setting_serves_one_setting(tmp_path, key):
    camera = Camera()
    write_session(tmp_path, camera)
    for name, value in (("a", 1), ("b", 2)):
        write(tmp_path / f"{name}.bil", camera.expose(scene(450), time=value), **{key: value})
    with pytest.raises(
        CatalogueError, match=rf"a\.bil and 1 more: share .*\({key} 1: a\.bil; {key} 2"
    ):
        prepared(tmp_path)
    write(tmp_path / "b.bil", camera.expose(scene(450)), **{key: 1})
    assert len(prepared(tmp_path)[1]) == 3


def test_exposures_in_words_that_cannot_be_compared_are_refused(tmp_path):
    camera = Camera()
    write_session(tmp_path, camera, tint=2)
    write(tmp_path / "white.bil", camera.white(time=1.2), exposure_time="2400 us")
    with pytest.raises(
        CatalogueError, match=r"\(tint 2; the white frame: exposure time \[ms\] 2\.4"
    ):
        prepared(tmp_path)


def test_counts_of_several_exposures_without_frames_are_told(tmp_path):
    camera = Camera()
    write(tmp_path / "a.bil", camera.expose(scene(450)), tint=1)
    write(tmp_path / "b.bil", camera.expose(scene(450), time=2), tint=2)
    write(tmp_path / "b2.bil", camera.expose(scene(450), time=2), tint=2)
    preparer, _ = prepared(tmp_path)
    (text,) = told(preparer)
    assert "counts of 2 exposures that no white frame makes comparable" in text
    assert "(tint 1: a.bil; tint 2: b.bil and 1 more)" in text
    for file in ("b", "b2"):
        write(tmp_path / f"{file}.bil", camera.expose(scene(450)), tint=1)
    assert told(prepared(tmp_path)[0]) == []


def reflectance_cube(path, peak, **header):
    noise = np.random.default_rng(1).normal(0, 0.002, (30, 24, 24))
    write(path, (scene(peak) + noise).astype(np.float32), **header)


def test_floats_up_to_two_are_not_divided_again(tmp_path):
    write_session(tmp_path, Camera(), "")
    for name, peak in PEAKS.items():
        reflectance_cube(tmp_path / f"{name}.bil", peak)
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer) == ["none: floats up to 2, so the values are reflectance already"]
    _, twice = prepared(tmp_path, dataclasses.replace(WHOLE, calibrate="always"))
    assert twice["a.bil"].image[:, twice["a.bil"].mask].mean() < 0  # as 0.1.0 had it


def test_a_glint_does_not_make_counts_of_reflectance(tmp_path):
    write_session(tmp_path, Camera(), "")
    values = (scene(450) + np.random.default_rng(1).normal(0, 0.002, (30, 24, 24))).astype("f4")
    values[:, 3, 3] = 40
    write(tmp_path / "a.bil", values)
    preparer, _ = prepared(tmp_path)
    assert words(preparer)[0].startswith("none: floats up to 2")


def test_a_scale_factor_says_that_values_are_reflectance(tmp_path):
    write_session(tmp_path, Camera(), "")
    for name, peak in PEAKS.items():
        values = np.rint(scene(peak) * 10_000).astype(np.uint16)
        write(tmp_path / f"{name}.bil", values, reflectance_scale_factor=10000)
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert "the header says that 10000 stands for a reflectance of 1" in words(preparer)[0]


def test_a_scale_factor_of_raw_headers_does_not(tmp_path):
    write_session(tmp_path, Camera(), reflectance_scale_factor=4095)
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer) == ["white.bil, dark.bil"]


@pytest.mark.parametrize(
    ("name", "header", "text"),
    [
        ("REFLECTANCE_a.bil", {}, "its name says reflectance"),
        ("a_refl.bil", {}, "its name says reflectance"),
        ("a.bil", {"data_units": "Reflectance (0-1)"}, "the header says `data units = Refl"),
    ],
)
def test_names_and_headers_say_that_values_are_reflectance(tmp_path, name, header, text):
    write_session(tmp_path, Camera(), "")
    reflectance_cube(tmp_path / name, 450, **header)
    preparer, images = prepared(tmp_path)
    check_right(images, {name: 450})
    assert text in words(preparer)[0]


def test_averaged_frames_are_counts_too(tmp_path):
    """Frames of floats beside reflectance, and beside counts of floats."""
    camera = Camera()
    for name in ("white", "dark"):
        values = camera.white() if name == "white" else camera.shut()
        mean = values.mean(axis=1, keepdims=True, dtype=np.float32)
        write(tmp_path / f"{name}.bil", mean)
    reflectance_cube(tmp_path / "a.bil", 450)
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer)[0].startswith("none: floats up to 2")
    write(tmp_path / "a.bil", camera.expose(scene(450)).astype("f4"))
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer) == ["white.bil, dark.bil"]
    assert preparer.hash == hash_of_0_1_0(preparer.catalogue, WHOLE)


def test_radiance_is_divided_by_radiance(tmp_path):
    camera = Camera()
    for name, peak in PEAKS.items():
        write(tmp_path / f"{name}.bil", (camera.expose(scene(peak)) * 1e-4).astype("f4"))
    write(tmp_path / "white.bil", (camera.white() * 1e-4).astype("f4"))
    write(tmp_path / "dark.bil", (camera.shut() * 1e-4).astype("f4"))
    check_right(prepared(tmp_path)[1])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda r: (100 * r).astype("f4"), r"its bright part would be -?0\.0"),  # percent
        (lambda r: np.rint(1e4 * r).astype("u2"), "its bright part would be"),  # unnamed scale
    ],
)
def test_values_that_the_frames_cannot_belong_to_are_refused(tmp_path, make, text):
    write_session(tmp_path, Camera(), "")
    write(tmp_path / "a.bil", make(scene(600)))
    with pytest.raises(CubeError, match=text) as error:
        prepared(tmp_path)
    assert "a.bil: calibrated with white.bil, dark.bil" in str(error.value)
    assert "data.calibrate=never" in str(error.value)


def test_a_white_too_narrow_masks_what_lies_beside_it(tmp_path):
    camera = Camera()
    write_session(tmp_path, camera)
    panel = np.full((30, 12, 24), 0.05)
    panel[:, :, 5:19] = 1
    write(tmp_path / "white.bil", camera.expose(panel, lines=12))
    preparer, images = prepared(tmp_path)
    check_right(images, least=140)
    for image in images.values():
        assert not image.mask[:, :5].any()
        assert not image.mask[:, 19:].any()
        assert image.image[:, image.mask].max() < 1
    assert told(preparer) == [
        "is no panel at samples 0-4, 19-23 (42% of its width); cubes are masked there."
    ]


@pytest.mark.parametrize("beside", [0.05, 0.4])
def test_lines_before_the_panel_are_left_out(tmp_path, beside):
    camera = Camera()
    write_session(tmp_path, camera)
    panel = np.ones((30, 12, 24))
    panel[:, :5] = beside
    write(tmp_path / "white.bil", camera.expose(panel, lines=12))
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert "has pixels darker than the panel (41.7% on" in told(preparer)[0]


def test_saturated_bands_are_refused_with_their_share(tmp_path):
    camera = Camera()
    write_session(tmp_path, camera, tint="4")
    write(tmp_path / "white.bil", camera.white(time=4), tint="4")
    with pytest.raises(CubeError, match=r"white\.bil is saturated \(at 4095\)") as error:
        prepared(tmp_path)
    text = str(error.value)
    assert "in bands " in text
    assert "% of its values" in text
    assert "(bbl), or set data.calibrate=never" in text


def test_saturated_bands_that_headers_mark_bad_do_no_harm(tmp_path):
    camera = Camera(lamp=1600)
    bad = camera.light.max(axis=1) * 3.2 > 3900
    assert 0 < bad.sum() < 20
    flags = "{" + ", ".join("0" if b else "1" for b in bad) + "}"
    write_session(tmp_path, camera, bbl=flags, tint="1")
    write(tmp_path / "white.bil", camera.white(time=3.2), bbl=flags, tint="3.2")
    _, images = prepared(tmp_path)
    for file, image in images.items():
        mean = image.image[:, image.mask].mean(axis=1)
        np.testing.assert_allclose(mean[~bad], spectrum(PEAKS[file[0]])[~bad], atol=CLOSE)


def test_few_saturated_samples_are_masked(tmp_path):
    camera = Camera()
    write_session(tmp_path, camera)
    white = camera.white()
    white[20, :, 9:11] = 4095
    write(tmp_path / "white.bil", white)
    preparer, images = prepared(tmp_path)
    check_right(images, least=140)
    assert not any(image.mask[:, 9:11].any() for image in images.values())
    (text,) = told(preparer)
    assert "is saturated (at 4095), so that reflectance comes out too high, in band 20" in text
    assert "masked at 8.3% of the panel's samples" in text


@pytest.mark.parametrize(
    ("full_scale", "header"),
    [(16383, {}), (3000, {}), (2900, {"ceiling": 2900})],
)
def test_other_full_scales(tmp_path, full_scale, header):
    """A power of two, a plateau without noise, and what a header names."""
    camera = Camera(lamp=2 * full_scale)
    write(tmp_path / "a.bil", camera.expose(scene(450, 0.3), full_scale=65535))
    write(tmp_path / "white.bil", camera.white(full_scale=full_scale), **header)
    write(tmp_path / "dark.bil", camera.shut())
    with pytest.raises(CubeError, match=rf"saturated \(at {full_scale}\)"):
        prepared(tmp_path)


def test_bands_without_light_are_refused(tmp_path):
    camera = Camera()
    camera.light[:4] = 1.0  # counts, where the noise is two
    write_session(tmp_path, camera)
    with pytest.raises(CubeError, match=r"is not above the noise of the dark in bands 0-3"):
        prepared(tmp_path)


def test_bands_of_little_light_are_told(tmp_path):
    camera = Camera()
    camera.light[:4] = 4.5
    write_session(tmp_path, camera, "a")
    (text,) = told(prepared(tmp_path)[0])
    assert "is less than 3 times the noise above the dark in bands 0-3" in text


def with_dark_lines(camera, reflectance, count=16, **options):
    return np.concatenate([camera.expose(reflectance, **options), camera.shut(count)], axis=1)


def test_dark_lines_inside_are_the_dark_and_no_picture(tmp_path):
    camera = Camera()
    for name, peak in PEAKS.items():
        values = with_dark_lines(camera, scene(peak))
        write(tmp_path / f"{name}.bil", values, autodarkstartline=24)
    preparer, images = prepared(tmp_path)
    assert {r.shape for r in preparer.catalogue.records} == {(30, 24, 24)}
    assert words(preparer) == [
        "no white frame; its dark lines, from 24 on, are subtracted and no picture"
    ]
    for image in images.values():
        assert (image.mask == disc()).mean() > 0.97
    for record in preparer.catalogue.records:
        with open_cube(record.path) as cube:
            level = cube.read_dark().mean(axis=1, keepdims=True)
            np.testing.assert_allclose(preparer.read(record), cube.read() - level, rtol=1e-5)
        assert not preparer.calibrator.is_reflectance(record)
    never, _ = prepared(tmp_path, dataclasses.replace(WHOLE, calibrate="never"))
    np.testing.assert_array_equal(
        never.read(never.catalogue.records[0]), open_cube(tmp_path / "a.bil").read()
    )
    white = with_dark_lines(camera, 1.0, lines=12)
    write(tmp_path / "WHITEREF_x.bil", white, autodarkstartline=12)
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer)[0].startswith(
        "WHITEREF_x.bil, dark lines of a.bil, of the white: dark lines of WHITEREF_x.bil"
    )
    # A frame that is named wins over the file's own lines.
    write(tmp_path / "other.bil", camera.shut())
    preparer, images = prepared(tmp_path, dark="other.bil")
    check_right(images)
    assert words(preparer)[0].startswith("WHITEREF_x.bil, other.bil (lines from 24 on")


@pytest.mark.parametrize("start", [24, 0, 400, -1])
def test_a_dark_line_outside_of_the_file_says_nothing(tmp_path, start):
    write_session(tmp_path, Camera(), autodarkstartline=start)
    preparer, images = prepared(tmp_path)
    check_right(images)
    assert words(preparer) == ["white.bil, dark.bil"]


def test_a_dark_line_that_is_no_number_is_refused(tmp_path):
    write(tmp_path / "a.bil", Camera().shut(), autodarkstartline="soon")
    with pytest.raises(CatalogueError, match=r"a\.hdr: `autodarkstartline = soon` is no line"):
        scan(tmp_path)


def test_cameras_that_subtract_their_dark(tmp_path):
    camera = Camera()
    camera.dark[:] = 0
    write_session(tmp_path, camera)
    (tmp_path / "dark.bil").unlink()
    (tmp_path / "dark.hdr").unlink()
    with pytest.raises(CatalogueError, match=r"no dark frame.* say data\.dark=0 if the camera"):
        prepared(tmp_path)
    preparer, images = prepared(tmp_path, dark="0")
    check_right(images)
    assert words(preparer) == ["white.bil, dark = 0"]


def test_the_white_target_by_wavelength(tmp_path):
    camera = Camera()
    target = np.linspace(0.6, 0.95, 30)
    write_session(tmp_path, camera)
    write(tmp_path / "white.bil", camera.expose(target[:, None, None], lines=12))
    rows = [f"{nm};{value}" for nm, value in zip(AXIS.wavelengths_nm, target, strict=True)]
    (tmp_path / "panel.csv").write_text("nm;reflectance\n" + "\n".join(rows))
    settings = dataclasses.replace(WHOLE, white_reflectance="panel.csv")
    preparer, images = prepared(tmp_path, settings)
    check_right(images)
    # It counts by what it says, not by where it lies.
    (tmp_path / "elsewhere.txt").write_text("\n".join(rows))
    moved = dataclasses.replace(settings, white_reflectance=str(tmp_path / "elsewhere.txt"))
    assert prepared(tmp_path, moved)[0].hash == preparer.hash
    assert Preparer(preparer.catalogue, WHOLE).hash != preparer.hash


def hash_of_0_1_0(catalogue, settings):
    """What version 0.1.0 called a folder with one white and one dark frame, or none."""
    cache = ChecksumCache(None)
    frames = catalogue.records[0].frames.files
    digests = [digest for path in frames for digest in source_digests(path, cache)]
    checksum = combined(digests) if frames else ""
    rows = [
        [r.file, r.checksum, r.label, r.specimen, r.view, r.date, dict(r.labels)]
        for r in catalogue.records
    ]
    folder = combined([rows, catalogue.axis.hash, checksum], 16)
    return combined([PREPARE_VERSION, folder, asdict(settings)], 16)


@pytest.mark.parametrize("calibrate", ["auto", "none"])
def test_good_folders_keep_their_identity(tmp_path, calibrate):
    write_session(tmp_path / "frames", Camera())
    write(tmp_path / "bare" / "a.bil", Camera().expose(scene(450)))
    for folder in ("frames", "bare"):
        catalogue = scan(tmp_path / folder)
        settings = PrepareSettings(size=24, calibrate=calibrate)
        assert Preparer(catalogue, settings).hash == hash_of_0_1_0(catalogue, settings)


def late_panel(folder, camera):
    panel = np.ones((30, 12, 24))
    panel[:, :3] = 0.1
    write(folder / "white.bil", camera.expose(panel, lines=12))


FORMERLY_WRONG = {
    "exposure": lambda folder, camera: write(folder / "white.bil", camera.white(time=2), tint=2),
    "white": late_panel,
    "floats": lambda folder, camera: reflectance_cube(folder / "a.bil", 450),
    "dark lines": lambda folder, camera: write(
        folder / "a.bil", with_dark_lines(camera, scene(450)), autodarkstartline=24
    ),
    "scale": lambda folder, camera: write(
        folder / "a.bil", np.rint(scene(450) * 1e4).astype("u2"), reflectance_scale_factor=10000
    ),
}


@pytest.mark.parametrize("fault", FORMERLY_WRONG)
def test_what_was_wrong_is_not_taken_from_an_old_store(tmp_path, fault, monkeypatch):
    folder = tmp_path / "data"
    camera = Camera()
    write_session(folder, camera, "a", tint=1)
    FORMERLY_WRONG[fault](folder, camera)
    catalogue = scan(folder)
    preparer = Preparer(catalogue, WHOLE)
    assert preparer.hash != hash_of_0_1_0(catalogue, WHOLE)
    new = preparer.key(catalogue.records[0])
    monkeypatch.setattr(Preparer, "_new", lambda self, record: [])
    assert Preparer(catalogue, WHOLE).key(catalogue.records[0]) != new


def test_a_store_says_again_what_was_done(tmp_path, caplog):
    folder = tmp_path / "data"
    write_session(folder, Camera(), "ab")
    late_panel(folder, Camera())
    stores = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            stores.append(pack(scan(folder), WHOLE, tmp_path / "cache"))
        assert [text for text in caplog.messages if "darker than the panel (25.0%" in text]
    for store in stores:
        assert store.calibration == ("a.bil and 1 more: white.bil, dark.bil",)
    assert stores[0].folder == stores[1].folder


def test_stores_of_0_1_0_without_words_are_opened(tmp_path):
    folder = tmp_path / "data"
    write_session(folder, Camera(), "ab")
    store = pack(scan(folder), WHOLE, tmp_path / "cache")
    index = json.loads((store.folder / "store.json").read_text())
    content = index["content"]
    del content["calibration"], content["doubts"]
    text = json.dumps({"content": content, "checksum": combined([content])})
    (store.folder / "store.json").write_text(text)
    assert pack(scan(folder), WHOLE, tmp_path / "cache").calibration == store.calibration


def test_frames_of_a_folder_are_read_once_and_judged_in_blocks(tmp_path, monkeypatch):
    from hyperspec.spectra import white as judging

    write_session(tmp_path, Camera())
    whole = Calibrator(scan(tmp_path), WHOLE).of(scan(tmp_path).records[0])
    monkeypatch.setattr(judging, "_BLOCK_BYTES", 3000)
    calibrator = Calibrator(scan(tmp_path), WHOLE)
    cubes = scan(tmp_path).records
    assert calibrator.of(cubes[0]) is calibrator.of(cubes[2])
    np.testing.assert_array_equal(calibrator.of(cubes[0]).span, whole.span)


def test_a_frame_that_changes_after_the_scan_is_noticed(tmp_path):
    camera = Camera()
    write_session(tmp_path, camera)
    catalogue = scan(tmp_path)
    write(tmp_path / "white.bil", camera.white(lamp=0.5))
    with pytest.raises(CubeError, match=r"white\.bil, its header or its mask was changed"):
        preparing.prepare(catalogue.records[0], catalogue, WHOLE)


def test_a_frame_that_cannot_be_read_is_told_where_it_is_needed(tmp_path):
    write_session(tmp_path, Camera())
    write_envi(tmp_path / "white.bil", np.ones((7, 2, 24), np.uint16), None)
    with pytest.raises(CatalogueError, match=r"needs the frame .*white\.bil, which cannot be read"):
        prepared(tmp_path)
    assert prepared(tmp_path, dataclasses.replace(WHOLE, calibrate="never"))


def test_always_needs_frames(tmp_path):
    write(tmp_path / "a.bil", Camera().expose(scene(450)))
    with pytest.raises(CatalogueError, match=r"data\.calibrate=always needs a white frame"):
        prepared(tmp_path, dataclasses.replace(WHOLE, calibrate="always"))
