"""Masks as people draw and save them: every usual format, transparency, soft edges."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from hyperspec.cubes import write_envi
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.mask_image import read_mask
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CubeError

SHAPE = (24, 30)
WANTED = np.zeros(SHAPE, bool)
WANTED[6:16, 8:20] = True
WHITE = WANTED.astype(np.uint8) * 255
AXIS = SpectralAxis(np.linspace(400, 800, 6))


def save(path, values, mode=None):
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return path


def rgba(colour, alpha):
    colour = np.broadcast_to(np.asarray(colour, np.uint8), (*SHAPE, 3))
    return np.dstack([colour, alpha]).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("x.png", "L"), ("x.png", "1"), ("x.PNG", "RGB"), ("x.png", "LA"), ("x.png", "P"),
     ("x.bmp", "L"), ("x.BMP", "1"), ("x.gif", "P"), ("x.tif", "L"), ("x.TIFF", "1"),
     ("x.pgm", "L"), ("x.ppm", "RGB"), ("x.tga", "L")],
)  # fmt: skip
def test_pictures_of_two_values_are_read_without_a_word(tmp_path, name, mode):
    mask = read_mask(save(tmp_path / name, WHITE, mode), SHAPE)
    np.testing.assert_array_equal(mask.specimen, WANTED)
    assert (mask.notes, mask.reread) == ((), False)  # as 0.1.0 read them


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 200, 90)])
def test_a_mask_may_have_any_colour(tmp_path, colour):
    values = WANTED[:, :, None] * np.asarray(colour, np.uint8)
    mask = read_mask(save(tmp_path / "x.png", values), SHAPE)
    np.testing.assert_array_equal(mask.specimen, WANTED)
    assert mask.reread == (colour[0] == 0)


def photo():
    return np.random.default_rng(0).integers(30, 200, (*SHAPE, 3))


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        (rgba((255, 255, 255), WHITE), True),  # the case `masks/rgba_alpha`
        (rgba((0, 0, 0), WHITE), True),
        (rgba(photo(), WHITE), True),  # a specimen that was cut out
        (rgba(WHITE[:, :, None].repeat(3, 2), 255 * np.ones(SHAPE)), False),
        (rgba(WHITE[:, :, None].repeat(3, 2), WHITE), True),
        (np.dstack([WHITE * 0 + 255, WHITE]), True),
    ],
)
def test_transparency(tmp_path, values, noted):
    mask = read_mask(save(tmp_path / "x.png", values), SHAPE)
    np.testing.assert_array_equal(mask.specimen, WANTED)
    assert bool(mask.notes) == noted


def test_white_on_black_with_a_transparent_margin(tmp_path):
    alpha = np.full(SHAPE, 255)
    alpha[:3] = alpha[-3:] = 0
    values = rgba(WHITE[:, :, None].repeat(3, 2), alpha)
    values[:3, :, :3] = 255  # what lies under the transparent part means nothing
    mask = read_mask(save(tmp_path / "x.png", values), SHAPE)
    np.testing.assert_array_equal(mask.specimen, WANTED)
    assert mask.notes == ("counts where it is opaque and not black",)


def blurred():
    edge = np.pad(WHITE.astype(float), 1)
    return sum(edge[r : r + SHAPE[0], c : c + SHAPE[1]] for r in range(3) for c in range(3)) / 9


@pytest.mark.parametrize("name", ["x.png", "x.npy", "share.npy", "x.jpg", "x.webp"])
def test_soft_edges_are_cut_at_half_with_a_line(tmp_path, name):
    path = tmp_path / name
    values = blurred()
    if name == "share.npy":
        np.save(path, (values / 255).astype(np.float32))
    elif path.suffix == ".npy":
        np.save(path, values.astype(np.uint8))
    else:
        save(path, values.astype(np.uint8), "RGB" if name == "x.webp" else None)
    mask = read_mask(path, SHAPE)
    wrong = mask.specimen != WANTED
    assert wrong.sum() <= 4  # the corners, of which 4/9 is left
    assert mask.specimen.sum() < (values > 0).sum()
    assert "are specimen (of 0 to" in mask.notes[0]
    assert mask.reread


def test_a_jpeg_of_hard_edges_is_the_mask(tmp_path):
    path = tmp_path / "x.jpg"
    Image.fromarray(WHITE).save(path, quality=60)
    np.testing.assert_array_equal(read_mask(path, SHAPE).specimen, WANTED)


@pytest.mark.parametrize("values", [[1, 2, 3], [80, 160, 240], [1, 128, 255]])
def test_the_numbers_of_a_label_image_are_all_specimen(tmp_path, values):
    labels = np.zeros(SHAPE, np.uint8)
    for place, value in enumerate(values):
        labels[4:14, 2 + 9 * place : 9 + 9 * place] = value
    mask = read_mask(save(tmp_path / "x.png", labels), SHAPE)
    np.testing.assert_array_equal(mask.specimen, labels > 0)
    assert not mask.reread
    assert "is a label image: all of its 3 values are specimen" in mask.notes[0]


def test_an_inverted_mask_is_told_and_a_specimen_at_the_edge_is_not(tmp_path):
    mask = read_mask(save(tmp_path / "x.png", 255 - WHITE), SHAPE)
    np.testing.assert_array_equal(mask.specimen, ~WANTED)
    assert "marks 100% of the frame's border" in mask.notes[0]
    assert "is it inverted?" in mask.notes[0]
    large = np.ones(SHAPE, np.uint8) * 255
    large[0, :20] = large[:, 0] = 0
    assert read_mask(save(tmp_path / "y.png", large), SHAPE).notes == ()
    assert read_mask(save(tmp_path / "z.png", large * 0 + 255), SHAPE).notes == ()


def test_a_photograph_is_no_mask(tmp_path):
    path = save(tmp_path / "x.png", photo().astype(np.uint8))
    with pytest.raises(CubeError, match=r"x.png is no mask: \d+% of its pixels are neither black"):
        read_mask(path, SHAPE)
    np.save(tmp_path / "y.npy", WANTED.astype("U3"))
    with pytest.raises(CubeError, match=r"y.npy cannot be read: values of type <U3 are no mask"):
        read_mask(tmp_path / "y.npy", SHAPE)


def cubes(folder):
    values = np.random.default_rng(0).normal(500, 9, (6, *SHAPE)).astype(np.uint16)
    values[:, WANTED] += 900
    write_envi(folder / "a.bil", values, AXIS)
    return folder / "a.bil"


@pytest.mark.parametrize(
    "name", ["a_mask.PNG", "a_MASK.png", "a_Mask.Bmp", "a_mask.gif", "a_mask.JPG"]
)
def test_masks_are_found_in_letters_of_either_case(tmp_path, name):
    path = cubes(tmp_path)
    save(tmp_path / name, WHITE)
    save(tmp_path / "ab_mask.png", WHITE)  # of another cube
    assert find_mask(path) == tmp_path / name
    assert [record.file for record in scan(tmp_path, pattern="*").records] == ["a.bil"]


def test_of_several_masks_the_usual_name_comes_first_or_one_is_asked_for(tmp_path):
    path = cubes(tmp_path)
    save(tmp_path / "a_mask.bmp", WHITE)
    save(tmp_path / "a_mask.gif", WHITE)
    with pytest.raises(CubeError, match=r"has several masks: a_mask.bmp, a_mask.gif"):
        find_mask(path)
    save(tmp_path / "a_mask.png", WHITE)
    assert find_mask(path) == tmp_path / "a_mask.png"


def test_a_folder_is_listed_once_for_the_masks_of_its_cubes_until_it_changes(tmp_path, monkeypatch):
    path = cubes(tmp_path)
    os.utime(tmp_path, (1, 1))  # a change shows in its times, whatever the tick of the file system
    monkeypatch.setattr("hyperspec.cubes.files._SETTLED_NS", -1)  # and need not be waited for
    listed, lists = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or lists(folder))
    assert [find_mask(path), find_mask(path.with_name("b.bil"))] == [None, None]
    assert listed == [str(tmp_path)]
    save(tmp_path / "a_mask.gif", WHITE)  # none of the usual names, which are asked for directly
    assert find_mask(path) == tmp_path / "a_mask.gif"
    assert len(listed) == 2
    # What changed just now may change again within a tick: nothing is kept of it.
    monkeypatch.setattr("hyperspec.cubes.files._SETTLED_NS", 10**18)
    assert [find_mask(path), find_mask(path)] == [tmp_path / "a_mask.gif"] * 2
    assert len(listed) == 4


def test_what_0_1_0_prepared_of_a_mask_is_taken_over_unless_it_was_read_otherwise(tmp_path):
    """The key of a prepared image, by which a store finds it, and the catalogue's hash."""

    def look(folder, values):
        folder.mkdir()
        shutil.copy(cubes(tmp_path), folder / "a.bil")
        shutil.copy(tmp_path / "a.hdr", folder / "a.hdr")
        save(folder / "a_mask.png", values)
        catalogue = scan(folder)
        settings = PrepareSettings(size=8)
        return catalogue, Preparer(catalogue, settings).key(catalogue.records[0])

    from hyperspec.cubes.checksums import ChecksumCache, combined, source_digests

    plain, _ = look(tmp_path / "plain", WHITE)
    old = combined(source_digests(plain.records[0].path, ChecksumCache(None)))
    assert plain.records[0].checksum == old
    assert plain.problems == ()
    drawn, _ = look(tmp_path / "alpha", rgba((255, 255, 255), WHITE))
    old = combined(source_digests(drawn.records[0].path, ChecksumCache(None)))
    assert drawn.records[0].checksum != old
    (problem,) = drawn.problems
    assert (problem.severity, problem.file) == ("warning", "a.bil")
    assert "a_mask.png, that has transparency, and its opaque part is taken" in problem.message
