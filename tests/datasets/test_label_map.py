"""Maps of labels beside scenes: every format, what a tile's label is, and what is refused."""

import io
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy.io import savemat

from hyperspec.bands import Full
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.label_map import LabelMap, MapLabels
from hyperspec.datasets.catalogue.labels import CsvLabels, NoLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.config import FolderData, TilesData
from hyperspec.datasets.preparation.preparation import TileSettings
from hyperspec.datasets.store.tiles import TileSource
from hyperspec.inspection.check import CheckSettings, check_folder
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.training.data import column, gather
from hyperspec.utils.errors import CatalogueError, ConfigError, SplitError

AXIS = SpectralAxis.linear(400, 700, 5)
LINES, SAMPLES = 32, 48


def write_scene(root, name="scene.bil"):
    values = np.random.default_rng(0).uniform(0.1, 0.9, (5, LINES, SAMPLES)).astype(np.float32)
    write_envi(root / name, values, AXIS)


def classes():
    """Quarters of classes 1 and 2, 7 in a corner; a third has none."""
    codes = np.zeros((LINES, SAMPLES), int)
    codes[:, :16], codes[:, 16:32], codes[:8, :8] = 1, 2, 7
    return codes


def write_raster(path, codes, dtype="uint8", **profile):
    planes = np.atleast_3d(codes).transpose(2, 0, 1).astype(dtype)
    size = {"height": LINES, "width": SAMPLES, "count": len(planes), "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **size, **profile) as target:
            target.write(planes)


def write_classification(path, codes):
    write_envi(path, codes[None].astype(np.uint8), None, extra={"classes": "8", "class names":
               "{Unclassified, oak, beech, x, x, x, x, road}"})  # fmt: skip
    header = path.with_suffix(".hdr")
    header.write_text(header.read_text().replace("ENVI Standard", "ENVI Classification"))


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


WRITERS = {
    "scene_labels.png": lambda path: write_raster(path, classes(), driver="PNG"),
    "scene_labels.PNG": lambda path: write_raster(path, classes(), driver="PNG"),
    "scene_labels.tif": lambda path: write_raster(path, classes(), driver="GTiff"),
    "scene_labels.npy": lambda path: np.save(path, classes().astype(np.uint16)),
    "scene_labels.mat": lambda path: savemat(path, {"scene_gt": classes().astype(np.uint8)}),
    "scene_labels.dat": lambda path: write_classification(path, classes()),
    # A grey picture saved as RGB, and class numbers as the floats of a spreadsheet.
    "scene_labels.tiff": lambda path: write_raster(
        path, np.repeat(classes()[:, :, None], 3, 2), driver="GTiff"
    ),
    "scene_labels.NPY": lambda path: path.write_bytes(npy(np.where(classes(), classes(), np.nan))),
}


def source(root, **labels):
    made = MapLabels(**labels)
    settings = TileSettings(tile=8, stride=8, mask="none", dtype="float32")
    return TileSource(scan(root, labels=made), settings, made)


def labels_of(tiles):
    places = zip(tiles.table["row"], tiles.table["col"], strict=True)
    return dict(zip(places, column(tiles, "label"), strict=True))


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_labels_the_same_tiles(tmp_path, name):
    write_scene(tmp_path)
    WRITERS[name](tmp_path / name)
    tiles = source(tmp_path)
    names = {"1": "oak", "2": "beech", "7": "road"} if name.endswith(".dat") else {}
    found = labels_of(tiles)
    assert len(found) == 24
    for (row, col), label in found.items():
        codes = np.unique(classes()[row : row + 8, col : col + 8])
        assert codes.size == 1
        expected = None if codes[0] == 0 else str(codes[0])
        assert label == names.get(expected, expected)
    assert [r.file for r in scan(tmp_path, labels=MapLabels()).records] == ["scene.bil"]
    report = check_folder(tmp_path, CheckSettings(labels=MapLabels()))
    assert [look.file for look in report.looks] == ["scene.bil"]


@pytest.mark.parametrize("missing", [0, 9, 255])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pixels_that_a_raster_says_are_none_have_no_label_in_any_type(tmp_path, dtype, missing):
    write_scene(tmp_path)
    codes = np.where(classes() == 0, missing, classes())
    codes[24:, :8] = missing
    write_raster(tmp_path / "scene_labels.tif", codes, driver="GTiff", dtype=dtype, nodata=missing)
    found = labels_of(source(tmp_path, unlabelled=(-7,)))
    assert set(found.values()) == {None, "1", "2", "7"}
    assert found[24, 0] is None
    assert found[16, 0] == "1"
    assert all(label is None for (_, col), label in found.items() if col >= 32)


def test_one_map_under_another_name(tmp_path):
    write_scene(tmp_path, "Indian_pines_corrected.bil")
    savemat(tmp_path / "Indian_pines_gt.mat", {"indian_pines_gt": classes().astype(np.uint8)})
    tiles = source(tmp_path, file="Indian_pines_gt.mat")
    assert labels_of(tiles)[0, 0] == "7"
    write_scene(tmp_path, "other.bil")
    with pytest.raises(CatalogueError, match=r"one map, but .* holds 2 scenes"):
        source(tmp_path, file="Indian_pines_gt.mat")


@pytest.mark.parametrize(
    ("counts", "share", "label"),
    [
        ({1: 9, 2: 7}, 0.5, "1"),
        ({1: 8, 2: 8}, 0.5, None),  # a tie
        ({1: 8, 2: 5, -1: 3}, 0.5, "1"),
        ({1: 7, -1: 9}, 0.5, None),  # pixels without a class count as well
        ({1: 7, -1: 9}, 0.4, "1"),
        ({-1: 16}, 0.1, None),
        ({1: 15, 2: 1}, 1.0, None),
        ({1: 16}, 1.0, "1"),
    ],
)
def test_a_tile_has_the_class_of_enough_of_its_pixels(counts, share, label):
    codes = np.repeat(list(counts), list(counts.values())).reshape(4, 4)
    everywhere = np.ones((4, 4), bool)
    assert LabelMap(codes).majority((slice(4), slice(4)), everywhere, share) == label


def test_only_visible_pixels_count():
    codes = np.array([[1, 1, 2, 2], [1, 1, 2, 2]])
    right = np.array([[False, False, True, True]] * 2)
    assert LabelMap(codes).majority((slice(2), slice(4)), right, 1.0) == "2"


def test_numbers_can_be_taken_out_and_the_hash_follows_the_labels(tmp_path):
    write_scene(tmp_path)
    settings = TileSettings(tile=8, stride=8, mask="none", dtype="float32")
    without = TileSource(scan(tmp_path), settings).hash
    np.save(tmp_path / "scene_labels.npy", classes())
    assert TileSource(scan(tmp_path), settings).hash == without
    tiles = source(tmp_path, unlabelled=[0, 7])
    assert labels_of(tiles)[0, 0] is None
    hashes = {without, tiles.hash, source(tmp_path).hash, source(tmp_path, share=0.9).hash}
    assert len(hashes) == 4
    other = classes()
    other[20, 20] = 3
    np.save(tmp_path / "scene_labels.npy", other)
    assert source(tmp_path).hash not in hashes


def refused(tmp_path, name, write, **labels):
    write_scene(tmp_path)
    write(tmp_path / name)
    with pytest.raises((CatalogueError, ConfigError)) as caught:
        source(tmp_path, **labels)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "write", "text"),
    [
        (
            "scene_labels.npy",
            lambda path: np.save(path, classes().T),
            "has (lines, samples) (48, 32), but its scene scene.bil has (32, 48). It is turned: "
            "write its transpose.",
        ),
        ("scene_labels.npy", lambda path: np.save(path, classes()[1:]), "(31, 48), but its scene"),
        ("scene_labels.npy", lambda path: np.save(path, classes() + 0.5), "holds 7.5; class num"),
        ("scene_labels.npy", lambda path: np.save(path, classes() - 1), "holds -1; class numbers"),
        ("scene_labels.npy", lambda path: np.save(path, classes().astype(str)), "of type <U21"),
        ("scene_labels.npy", lambda path: path.write_bytes(b"x"), "cannot be read"),
        ("scene_labels.png", lambda path: path.write_bytes(b"x"), "cannot be read"),
        (
            "scene_labels.png",
            lambda path: write_raster(
                path, np.stack([classes(), classes() * 2, classes()], 2), driver="PNG"
            ),
            "has 3 different channels, as a coloured picture",
        ),
        (
            "scene_labels.mat",
            lambda path: savemat(path, {"a": classes(), "b": classes()}),
            "holds a, b matrices of numbers; a map is one",
        ),
        ("scene_labels.mat", lambda path: path.write_bytes(b"x" * 200), "cannot be read"),
        ("scene_gt.png", lambda path: path.write_bytes(b""), "there is no scene_labels.png"),
    ],
)
def test_what_is_no_map_is_refused_with_its_name(tmp_path, name, write, text):
    said = refused(tmp_path, name, write)
    assert text in said
    assert "scene" in said


def test_check_names_scenes_without_a_map_and_maps_that_do_not_fit(tmp_path):
    for name in ("a.bil", "b.bil", "c.bil"):
        write_scene(tmp_path, name)
    np.save(tmp_path / "a_labels.npy", classes())
    np.save(tmp_path / "b_labels.npy", classes().T)
    report = check_folder(tmp_path, CheckSettings(labels=MapLabels()))
    said = {p.file: (p.severity, p.message) for p in report.problems if "map" in p.message}
    assert said["c.bil"][0] == "warning"
    assert "has no map of labels beside it" in said["c.bil"][1]
    assert said["b.bil"][0] == "error"
    assert "It is turned" in said["b.bil"][1]
    assert set(said) == {"b.bil", "c.bil"}


def test_options_that_contradict_each_other_say_so():
    with pytest.raises(ConfigError, match=r"data.labels.share is 0; give a share"):
        MapLabels(share=0)
    with pytest.raises(ConfigError, match=r"data.labels.suffix is empty"):
        MapLabels(suffix="")
    with pytest.raises(ConfigError, match=r"CsvLabels, which labels whole scenes"):
        TilesData(root="x", labels=CsvLabels())
    with pytest.raises(ConfigError, match=r"data/labels=map labels the pixels of scenes"):
        FolderData(root="x", labels=MapLabels())
    assert TilesData(root="x", labels=NoLabels()).label_map is None


def test_a_class_in_too_few_blocks_names_them_and_the_way_out(tmp_path):
    write_scene(tmp_path)
    np.save(tmp_path / "scene_labels.npy", classes())
    data = TilesData(root=str(tmp_path), pattern="*", mask="none", tile=4, stride=4,
                     labels=MapLabels())  # fmt: skip
    with pytest.raises(SplitError) as caught:
        gather(data, Full())
    said = str(caught.value)
    assert "Label '7' has 1 specimen" in said
    assert "The classes with the fewest blocks: 7: 1, 1: 7, 2: 8." in said
    assert "data.labels.unlabelled=[0,...]" in said
    assert "data.split.group=block" in said
    data.labels = MapLabels(unlabelled=[0, 7])
    assert gather(data, Full()).classes == ["1", "2"]
    data.split.group = "block"
    assert gather(data, Full()).classes == ["1", "2"]
