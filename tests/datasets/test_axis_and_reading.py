"""Settings of files that leave something open: axis files, arrays, trailing bytes, gains."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.io import savemat

from hyperspec.cli.main import main
from hyperspec.config.compose import prepare_arguments
from hyperspec.config.compose_data import compose_data
from hyperspec.cubes import open_cube, write_envi
from hyperspec.cubes.checksums import ChecksumCache, combined, source_digests
from hyperspec.cubes.read_options import ReadOptions
from hyperspec.datasets.catalogue.labels import NoLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.config import AxisSpec, FolderData, scan_folder
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.runs.identity import canonical
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError

NM = [400.5, 500.0, 640.25, 700.0]
AXIS = SpectralAxis(NM)
SETTINGS = PrepareSettings(size=8, mask="none", dtype="float32")


def image(seed=0):
    values = np.random.default_rng(seed).integers(500, 600, (4, 12, 14)).astype(np.uint16)
    values[:, 3:9, 4:10] += 1500
    return values


@pytest.fixture
def arrays(tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    for seed in range(3):
        np.save(folder / f"s{seed}.npy", image(seed).transpose(1, 2, 0))
    mask = np.zeros((12, 14), bool)
    mask[3:9, 4:10] = True
    np.save(folder / "s0_mask.npy", mask)
    (folder / "wavelengths.csv").write_text("wavelength_nm\n" + "\n".join(map(str, NM)))
    return folder


def test_a_file_of_wavelengths_is_the_axis_below_the_root_or_from_here(
    arrays, tmp_path, monkeypatch
):
    words = ["data.pattern='*.npy'", "data.axis.file=wavelengths.csv"]
    data = compose_data(words, arrays)
    assert data.own_axis == AXIS
    catalogue = scan_folder(data)
    assert [record.file for record in catalogue.records] == ["s0.npy", "s1.npy", "s2.npy"]
    assert (catalogue.axis, catalogue.problems) == (AXIS, ())
    prepared = Preparer(catalogue, SETTINGS).read(catalogue.records[1])
    np.testing.assert_array_equal(prepared, image(1))
    monkeypatch.chdir(arrays)
    assert compose_data(words, tmp_path).own_axis == AXIS


@pytest.mark.parametrize("word", ["data.axis.file=w.csv", "data.axis={file:w.csv}"])
def test_the_word_means_the_same_for_train(word):
    assert prepare_arguments([word, "-m"])[0] == "data.axis={file:w.csv}"
    assert compose_data([word], ".").axis == AxisSpec(file="w.csv")


def test_a_file_wins_over_an_options_own_axis(arrays):
    data = compose_data(["data=lepidoptera", "data.axis.file=wavelengths.csv"], arrays)
    assert data.own_axis == AXIS


@pytest.mark.parametrize("given", [{}, {"start_nm": 400.0}, {"start_nm": 400.0, "count": 4}])
def test_half_an_axis_is_refused(given):
    with pytest.raises(ConfigError, match=r"data.axis has start_nm=.*: give all three, or a file"):
        AxisSpec(**given).axis()


def test_identities_from_before_these_keys_stay():
    """What jobs of 0.1.0 were hashed from has none of the new keys at their defaults."""
    kept = canonical(FolderData(root="x", labels=NoLabels()))
    new = {"trailing_bytes", "array_key", "array_bands"}
    assert not new & set(kept)
    assert set(canonical(AxisSpec(400.0, 800.0, 4))) == {"", "start_nm", "stop_nm", "count"}
    settings = {"array_key": "cube", "trailing_bytes": "ignore"}
    told = canonical(FolderData(root="x", labels=NoLabels(), **settings))
    assert set(told) - set(kept) == {"array_key"}


@pytest.mark.parametrize(("key", "value"), [("trailing_bytes", "cut"), ("array_bands", "second")])
def test_words_that_are_no_choice(key, value):
    with pytest.raises(ConfigError, match=rf"data.{key} is '{value}'; choose"):
        FolderData(root="x", labels=NoLabels(), **{key: value})


def test_commands_take_arrays_with_a_file_of_wavelengths(arrays, tmp_path, capsys):
    axis = str(arrays / "wavelengths.csv")
    words = ["data.pattern=*.npy", f"data.axis.file={axis}"]
    assert main(["check", str(arrays), *words]) == 0
    assert "Axis: 4 bands, 400.5 to 700.0 nm." in capsys.readouterr().out
    assert main(["check", str(arrays)]) == 2
    assert "It holds s0.npy: set data.pattern='*.npy' and give the axis" in capsys.readouterr().err
    assert main(["info", str(arrays / "s0.npy"), words[1], "--no-files"]) == 0
    assert "36 pixels" in capsys.readouterr().out  # of the mask
    cache = f"data.cache_dir={tmp_path / 'cache'}"
    assert main(["pack", str(arrays), words[0], "--axis", axis, cache, "data.size=8"]) == 0
    heard = capsys.readouterr()
    assert "packed 3 specimen images" in heard.out
    assert f"write 'data.axis={{file:{axis}}}' instead" in heard.err
    assert main(["check", str(arrays), *words, "--expect", axis]) == 0


def test_a_folder_of_another_format_says_so(tmp_path, capsys):
    (tmp_path / "emit.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    assert main(["pack", str(tmp_path)]) == 2
    assert "It holds emit.nc, NetCDF. Write the cube that is in it" in capsys.readouterr().err


def test_a_warning_of_a_command_is_one_line(arrays, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back afterwards
    assert main(["check", str(arrays)]) == 2
    assert warnings.formatwarning(UserWarning("a.bil x"), UserWarning, "f.py", 3) == (
        "warning: a.bil x\n"
    )
    other = warnings.formatwarning(DeprecationWarning("old"), DeprecationWarning, "f.py", 3)
    assert other == "f.py:3: DeprecationWarning: old\n"


def test_trailing_bytes_are_refused_or_left_out_by_every_command(tmp_path, capsys):
    folder = tmp_path / "data"
    for seed in range(2):
        write_envi(folder / f"s{seed}.bil", image(seed), AXIS)
        with (folder / f"s{seed}.bil").open("ab") as file:
            file.write(b"\0\1\2")
    cache = f"data.cache_dir={tmp_path / 'cache'}"
    for command in ("check", "pack"):
        assert main([command, str(folder), cache]) == 2
        heard = capsys.readouterr()
        assert "data.trailing_bytes=ignore" in " ".join((heard.out + heard.err).split())
    with pytest.warns(UserWarning, match="3 bytes behind the values"):
        assert main(["pack", str(folder), cache, "data.trailing_bytes=ignore", "data.size=8"]) == 0
    assert main(["check", str(folder), "data.trailing_bytes=ignore"]) == 1
    data = compose_data(["data.trailing_bytes=ignore"], folder)
    with pytest.warns(UserWarning, match="3 bytes behind the values"):
        catalogue = scan_folder(data)
    with pytest.warns(UserWarning, match="3 bytes behind the values"):
        read = Preparer(catalogue, SETTINGS).read(catalogue.records[0])
    np.testing.assert_array_equal(read, image(0))


def test_another_array_of_the_same_file_is_another_image(tmp_path):
    savemat(
        tmp_path / "s.mat", {"a": image(0).transpose(1, 2, 0), "b": image(1).transpose(1, 2, 0)}
    )
    keys = {}
    for name in "ab":
        catalogue = scan(tmp_path, axis=AXIS, pattern="*.mat", reading=ReadOptions(array_key=name))
        preparer = Preparer(catalogue, SETTINGS)
        np.testing.assert_array_equal(preparer.read(catalogue.records[0]), image("ab".index(name)))
        keys[name] = preparer.key(catalogue.records[0])
    assert keys["a"] != keys["b"]


def test_a_mask_that_cannot_be_used_is_told_before_it_is(tmp_path):
    write_envi(tmp_path / "s.bil", image(), AXIS)
    np.save(tmp_path / "s_mask.npy", np.ones((5, 5), bool))
    (problem,) = scan(tmp_path).problems
    assert (problem.severity, problem.file) == ("warning", "s.bil")
    assert "s_mask.npy has shape (5, 5), but the cube has 12 lines" in problem.message


def gained(path, offset, values=None):
    extra = (
        {} if offset is None else {"data offset values": "{" + ", ".join([str(offset)] * 4) + "}"}
    )
    write_envi(path, image() if values is None else values, AXIS, scale_factor=1000, extra=extra)


def test_images_that_0_1_0_prepared_without_the_gains_are_not_taken_over(tmp_path):
    gained(tmp_path / "plain.bil", None)
    gained(tmp_path / "trivial.bil", 0)
    gained(tmp_path / "offset.bil", -100)
    found = {record.path.stem: record for record in scan(tmp_path).records}
    for name, record in found.items():
        old = combined(source_digests(record.path, ChecksumCache(None)))
        assert (record.checksum == old) == (name != "offset")


def test_frames_with_other_gains_than_the_cube_are_refused(tmp_path):
    level = np.full((4, 3, 14), 1000, np.uint16)
    gained(tmp_path / "s.bil", -100)
    gained(tmp_path / "white.bil", -100, level * 3)
    gained(tmp_path / "dark.bil", -100, level // 10)
    catalogue = scan(tmp_path)
    expected = (image() - 100.0) / 2900
    found = Preparer(catalogue, SETTINGS).read(catalogue.records[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # what they do cancels
    gained(tmp_path / "dark.bil", None, level // 10)
    catalogue = scan(tmp_path)
    with pytest.raises(
        CatalogueError, match=r"s.bil: is read as stored × 1 \+ \(-100\), but the frame dark.bil as"
    ):
        Preparer(catalogue, SETTINGS)


def test_nodata_that_no_header_declares_is_told_while_preparing(tmp_path):
    values = image().astype(np.float32)
    values[:, :2] = -9999
    write_envi(tmp_path / "s.bil", values, AXIS, scale_factor=1000)
    catalogue = scan(tmp_path)
    with pytest.warns(UserWarning, match=r"s.bil holds -9999 in all bands of 28 pixels \(17%\)"):
        Preparer(catalogue, SETTINGS).read(catalogue.records[0])
    values[:, :2] = 0  # a background that was taken away: told by check
    write_envi(tmp_path / "s.bil", values, AXIS, scale_factor=1000)
    catalogue = scan(tmp_path)
    Preparer(catalogue, SETTINGS).read(catalogue.records[0])


def enmap(path: Path, seed: int) -> None:
    """A GeoTIFF as EnMAP's are prepared: 224 bands, of which 6 hold nothing and are marked bad."""
    values = np.random.default_rng(seed).integers(100, 3000, (224, 12, 12)).astype(np.int16)
    bad = range(130, 136)
    values[bad] = -32768
    with rasterio.open(
        path, "w", driver="GTiff", count=224, height=12, width=12, dtype="int16", nodata=-32768,
        transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
    ) as target:  # fmt: skip
        target.write(values)
        for band, nm in enumerate(np.linspace(418.416, 2445.53, 224)):
            target.update_tags(
                band + 1, wavelength=f"{nm:.3f}", wavelength_units="Nanometers", fwhm="6.9",
                bbl=str(int(band not in bad)),
            )  # fmt: skip


def test_bands_that_tags_mark_bad_keep_no_pixel_from_being_used(tmp_path):
    enmap(tmp_path / "a.tif", 0)
    with open_cube(tmp_path / "a.tif") as cube:
        assert cube.axis.good.sum() == 218
        assert cube.axis.wavelengths_nm[[0, -1]].tolist() == [418.416, 2445.53]
    catalogue = scan(tmp_path, pattern="*.tif")
    prepared = Preparer(catalogue, SETTINGS).prepare(catalogue.records[0])
    assert prepared.mask.all()
    assert (prepared.image[catalogue.axis.good] > 0).all()


def test_a_copy_beside_its_original_is_on_one_axis(tmp_path):
    import rasterio.shutil

    axis = SpectralAxis(348.3931 + 1.1332 * np.arange(4))
    write_envi(tmp_path / "a.bil", image(), axis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        rasterio.shutil.copy(str(tmp_path / "a.bil"), str(tmp_path / "copy.tif"), driver="GTiff")
    catalogue = scan(tmp_path, pattern="*.[bt]i*")
    assert [record.file for record in catalogue.records] == ["a.bil", "copy.tif"]
    assert catalogue.axis == axis
    assert [p.severity for p in catalogue.problems] == []
