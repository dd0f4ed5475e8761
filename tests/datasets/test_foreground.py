import numpy as np
import pytest
import rasterio

from hyperspec.cubes.files import find_mask
from hyperspec.cubes.mask_image import read_mask
from hyperspec.datasets.preparation import foreground as masks
from hyperspec.utils.errors import CubeError


def disc(size=40, radius=9):
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    return y**2 + x**2 < radius**2


def cube(specimen, level=0.6, background=0.1, noise=0.02, bands=6):
    rng = np.random.default_rng(0)
    image = np.where(specimen, level, background) + rng.normal(0, noise, (bands, *specimen.shape))
    return image.astype(np.float32)


GOOD = np.ones(6, bool)


def brute_force(values):
    """The best split of all 255, by the definition of the variance between classes."""
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, 257)
    levels = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 255)
    best, found = -1.0, None
    for t in range(255):
        dark, light = levels[levels <= t], levels[levels > t]
        if dark.size and light.size:
            weight = dark.size * light.size / levels.size**2
            between = weight * (dark.mean() - light.mean()) ** 2
            if between > best * (1 + 1e-12):
                best, found = between, edges[t + 1]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_otsu_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.9)
    values = np.where(
        rng.random(700) < share, rng.normal(0.2, 0.05, 700), rng.normal(0.7, 0.08, 700)
    ).astype(np.float32)
    assert masks.otsu_threshold(values) == pytest.approx(brute_force(values.astype(float)), abs=0)


def test_otsu_finds_nothing_in_one_peak():
    noise = np.random.default_rng(1).normal(0.4, 0.05, 1600).astype(np.float32)
    assert masks.otsu_threshold(noise) is None
    assert masks.otsu_threshold(np.full(50, 0.3, np.float32)) is None
    assert masks.otsu_threshold(np.zeros(0, np.float32)) is None


@pytest.mark.parametrize(("level", "background"), [(0.6, 0.1), (0.1, 0.9)])
def test_otsu_takes_the_side_away_from_the_border(level, background):
    specimen = disc()
    found = masks.foreground(cube(specimen, level, background), GOOD, "otsu", None)
    np.testing.assert_array_equal(found, specimen)


def test_auto_falls_back_to_the_whole_frame_and_otsu_does_not():
    flat = cube(np.zeros((20, 20), bool))
    assert masks.foreground(flat, GOOD, "auto", None).all()
    with pytest.raises(CubeError, match=r"Otsu's threshold finds no specimen.*data.mask=auto"):
        masks.foreground(flat, GOOD, "otsu", None)


def test_nan_is_never_foreground_but_bad_bands_do_not_count():
    image = cube(disc())
    image[2, 20, 20] = np.nan
    image[3, 20, 21] = np.inf
    image[5] = np.nan
    good = GOOD.copy()
    good[5] = False
    expected = disc()
    expected[20, 20] = expected[20, 21] = False
    np.testing.assert_array_equal(masks.foreground(image, good, "auto", None), expected)
    whole = masks.foreground(image, good, "none", None)
    assert (~whole).sum() == 2
    assert not whole[20, 20:22].any()


def test_a_band_without_values_is_named():
    image = cube(disc())
    image[4] = np.nan
    with pytest.raises(CubeError, match=r"every pixel has a good band.*most often band 4\)"):
        masks.foreground(image, GOOD, "none", None)


def write_image(path, values):
    count = 1 if values.ndim == 2 else values.shape[0]
    driver = {".png": "PNG", ".tif": "GTiff"}[path.suffix]
    with rasterio.open(
        path, "w", driver=driver, count=count, height=values.shape[-2], width=values.shape[-1],
        dtype="uint8",
    ) as target:  # fmt: skip
        target.write(values if values.ndim == 3 else values[None])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # writing only
@pytest.mark.parametrize("suffix", ["_mask.png", "_mask.tif", "_mask.npy"])
def test_mask_image_comes_first(tmp_path, suffix):
    wanted = np.zeros((40, 40), bool)
    wanted[5:12, 3:30] = True
    data = tmp_path / "a b.bil"
    assert find_mask(data) is None
    path = tmp_path / f"a b{suffix}"
    if suffix == "_mask.npy":
        np.save(path, wanted)
    else:
        write_image(path, wanted.astype(np.uint8) * 255)
    assert find_mask(data) == path
    for method in ("auto", "image"):
        found = masks.foreground(cube(disc()), GOOD, method, path)
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(masks.foreground(cube(disc()), GOOD, "otsu", path), disc())


def test_reading_a_mask_image_is_silent(tmp_path):
    # Warnings are errors here: a PNG without georeference must not raise one.
    path = tmp_path / "x_mask.png"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_image(path, np.eye(4, dtype=np.uint8))
    np.testing.assert_array_equal(read_mask(path, (4, 4)).specimen, np.eye(4, dtype=bool))


def test_mask_errors_name_file_sizes_and_the_way_out(tmp_path):
    path = tmp_path / "x_mask.npy"
    np.save(path, np.ones((3, 4)))
    with pytest.raises(CubeError, match=r"shape \(3, 4\), but the cube has 40 lines and 40 samp"):
        masks.foreground(cube(disc()), GOOD, "auto", path)
    with pytest.raises(CubeError, match=r"data.mask=image needs a mask image.*_mask.png"):
        masks.foreground(cube(disc()), GOOD, "image", None)
    np.save(path, np.zeros((40, 40)))
    with pytest.raises(CubeError, match=r"no pixel of the mask .*x_mask.npy.*data.mask=none"):
        masks.foreground(cube(disc()), GOOD, "image", path)
    (tmp_path / "y_mask.png").write_text("no picture")
    with pytest.raises(CubeError, match=r"y_mask.png cannot be read"):
        read_mask(tmp_path / "y_mask.png", (4, 4))
