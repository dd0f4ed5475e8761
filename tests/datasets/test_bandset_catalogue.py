"""Band sets as cubes of a folder: scanned, labelled, checked, packed and trained on."""

import csv
import re
import shutil

import numpy as np
import pytest
import rasterio

from hyperspec.cli.main import main
from hyperspec.cubes import band_set
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.files import find_mask
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.labels import CsvLabels, FolderLabels, NoLabels, PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import pack
from hyperspec.inspection.check import CheckSettings, check_folder
from hyperspec.inspection.info import look_at
from hyperspec.spectra import SpectralAxis
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.utils.errors import AxisError, CatalogueError, CubeError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NM = [450.0, 550.0, 650.0, 850.0, 1000.0]  # 1000 comes first by name
SETTINGS = PrepareSettings(size=8, mask="none")


def values(seed):
    made = np.random.default_rng(seed).integers(100, 300, (5, 12, 10)).astype("u2")
    made[:, 3:9, 2:8] += 2000
    return made


def write_band(path, planes, nm=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = planes.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", dtype=planes.dtype, **profile) as target:
        target.write(planes)
        for index, value in enumerate(nm, start=1):
            target.update_tags(index, wavelength=str(value), wavelength_units="nm")


def write_png(path, plane):
    path.parent.mkdir(exist_ok=True)
    height, width = plane.shape
    with rasterio.open(
        path, "w", driver="PNG", count=1, height=height, width=width, dtype=plane.dtype
    ) as target:
        target.write(plane, 1)


def write_set(folder, cube):
    for nm, plane in zip(NM, cube, strict=True):
        write_band(folder / f"scene_{nm:g}nm.tif", plane[None])


@pytest.fixture
def root(tmp_path):
    """Three sets; the name of one looks as if it had an extension."""
    for seed, name in enumerate(["io_1D_0103", "io_1.2", "cardui_1V_0203"]):
        write_set(tmp_path / "data" / name, values(seed))
    return tmp_path / "data"


def digests(root):
    return {r.file: r.checksum for r in scan(root, pattern="*/").records}


def test_each_folder_is_one_record(root):
    catalogue = scan(root, pattern="*/")
    assert [r.file for r in catalogue.records] == ["cardui_1V_0203", "io_1.2", "io_1D_0103"]
    assert [r.specimen for r in catalogue.records] == ["cardui_1V_0203", "io_1.2", "io_1D_0103"]
    record = catalogue.records[1]
    assert record.shape == (5, 12, 10)
    files = list((root / "io_1.2").iterdir())
    assert record.num_bytes == sum(f.stat().st_size for f in files) > 5 * 12 * 10 * 2
    np.testing.assert_array_equal(catalogue.axis.wavelengths_nm, NM)
    assert catalogue.problems == ()
    assert [r.file for r in scan(root, pattern="io_*/").records] == ["io_1.2", "io_1D_0103"]
    axis = SpectralAxis(np.array(NM))
    assert len(scan(root, pattern="*/", axis=axis).records) == 3


def test_labels_come_from_the_folders_name(root, tmp_path):
    expression = r"(?P<label>[a-z]+)_(?P<specimen>\d+)(?P<view>[DV])_(?P<date>\d{4})"
    labels = PatternLabels(expression)
    first, odd, _ = scan(root, pattern="*/", labels=labels).records
    assert (first.label, first.specimen, first.view) == ("cardui", "cardui/1", "V")
    assert (odd.label, odd.specimen) == (None, "io_1.2")
    whole = PatternLabels(r"(?P<label>io)_1\.2")
    assert scan(root, pattern="io_1.2/", labels=whole).records[0].label == "io"
    table = "file,species,specimen\nio_1.2,io,4\nio_1D_0103/,io,5\ngone,io,6\ncardui_1V_0203,c,1\n"
    (root / "labels.csv").write_text(table)
    catalogue = scan(root, pattern="*/", labels=CsvLabels())
    assert [r.specimen for r in catalogue.records] == ["c/1", "io/4", "io/5"]
    assert [p.file for p in catalogue.problems] == ["gone"]
    above = scan(tmp_path, pattern="*_*/", labels=FolderLabels())
    assert {r.label for r in above.records} == {"data"}


def test_every_file_and_its_name_count_for_the_checksum(root):
    before = digests(root)
    assert len(set(before.values())) == 3
    shutil.copytree(root / "io_1.2", root / "copy")
    assert digests(root)["copy"] == before["io_1.2"]
    (problem,) = scan(root, pattern="*/").problems
    assert "io_1.2 has the same content as copy" in f"{problem.file} {problem.message}"
    shutil.rmtree(root / "copy")
    a, b = root / "io_1.2" / "scene_450nm.tif", root / "io_1.2" / "scene_1000nm.tif"
    a.rename(root / "x"), b.rename(a), (root / "x").rename(b)
    swapped = digests(root)
    assert swapped["io_1.2"] != before["io_1.2"]
    write_band(root / "io_1D_0103" / "scene_850nm.tif", values(9)[:1])
    assert digests(root)["io_1D_0103"] != before["io_1D_0103"]
    (root / "cardui_1V_0203" / "scene_450nm.tif.aux.xml").write_text("<PAMDataset/>")
    assert digests(root)["cardui_1V_0203"] != before["cardui_1V_0203"]


def test_a_band_that_is_added_after_the_scan_is_noticed(root, tmp_path):
    catalogue = scan(root, pattern="*/")
    write_band(root / "io_1.2" / "scene_700nm.tif", values(9)[:1])
    with pytest.raises(CatalogueError, match=r"io_1\.2.* was changed after the folder was scanned"):
        pack(catalogue, SETTINGS, tmp_path / "cache")
    with pytest.raises(CatalogueError, match=r"another spectral axis than 2 of 3"):
        scan(root, pattern="*/").raise_errors()


def test_the_store_holds_what_one_file_per_cube_gives(root, tmp_path):
    """Calibrated by frames that are band sets, with a mask in the folder and one beside it."""
    mask = np.zeros((12, 10), "u1")
    mask[2:9, 3:9] = 255
    write_png(root / "io_1.2_mask.png", mask)
    write_png(root / "io_1D_0103" / "any_mask.png", mask)
    write_set(root / "white", np.full((5, 2, 10), 4000, "u2"))
    write_set(root / "dark", np.full((5, 3, 10), 50, "u2"))
    other = tmp_path / "envi"
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        with open_cube(folder) as cube:
            write_envi(other / f"{folder.name}.bil", cube.read_raw(), cube.axis)
    for name in ("io_1.2", "io_1D_0103"):
        write_png(other / f"{name}_mask.png", mask)
    settings = PrepareSettings(size=8, mask="image")
    stores = []
    for folder, pattern in ((root, "io_*/"), (other, "io_*.bil")):
        frames = {"white": "white", "dark": "dark"}
        if folder == other:
            frames = {kind: f"{name}.bil" for kind, name in frames.items()}
        catalogue = scan(folder, pattern=pattern, **frames)
        assert len(catalogue.records) == 2
        stores.append(pack(catalogue, settings, tmp_path / "cache"))
    images = [store.planes([0, 1]) for store in stores]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(stores[0].masks([0, 1]), stores[1].masks([0, 1]))
    with open_cube(root / "io_1.2") as cube:
        inside = (cube.read_raw()[:, 2:9, 3:9].mean((1, 2)) - 50) / 3950
    np.testing.assert_allclose(stores[0].statistics([0]).mean, inside, rtol=1e-6)
    again = scan(root, pattern="*/")  # frames are found by their folders' names
    frames = [record.frames for record in again.records]
    assert [(f.white, f.dark) for f in frames] == [(root / "white", root / "dark")] * 3


def test_two_masks_in_a_set_are_refused(root):
    for name in ("a_mask.png", "b_mask.png"):
        write_png(root / "io_1.2" / name, np.ones((12, 10), "u1"))
    with pytest.raises(CubeError, match=r"several masks: a_mask\.png, b_mask\.png"):
        find_mask(root / "io_1.2")
    (problem,) = scan(root, pattern="*/").problems
    assert (problem.file, problem.severity) == ("io_1.2", "error")


def test_the_check_sees_sets(root, capsys):
    shutil.copytree(root / "io_1.2", root / "copy")
    write_band(root / "cardui_1V_0203" / "scene_450nm.tif", values(9)[:1, :4])
    report = check_folder(root, CheckSettings(labels=NoLabels(), pattern="*/"))
    found = {p.file: (p.severity, p.message) for p in report.problems}
    assert set(found) == {"cardui_1V_0203", "io_1.2"}
    assert re.search(
        r"scene_550nm\.tif has lines and samples \(12, 10\)", found["cardui_1V_0203"][1]
    )
    assert found["io_1.2"] == (
        "warning",
        "has the same content as copy; one of the two is probably a wrong copy.",
    )
    look = next(x for x in report.looks if x.file == "io_1D_0103")
    assert (look.shape, look.dtype) == ((5, 12, 10), "uint16")
    assert look.measure.high == values(0).max()
    assert main(["check", str(root), "data.pattern='*/'"]) == 2
    assert "cardui_1V_0203" in capsys.readouterr().out


def test_where_sets_could_be_meant_the_way_is_told(root, capsys):
    assert main(["check", str(root)]) == 2
    assert "Folders such as cardui_1V_0203 hold rasters" in capsys.readouterr().err
    with pytest.raises(CatalogueError, match=r"set data\.pattern='\*/'"):
        scan(root, pattern="*.bil")
    with pytest.raises(CatalogueError, match=r"It holds rasters: name them"):
        scan(root / "io_1.2", pattern="*")
    with pytest.raises(CatalogueError, match=r"itself does: give the folder above it"):
        scan(root / "io_1.2", pattern="*/")
    with pytest.raises(CatalogueError, match=r"holds no folder that fits data\.pattern=x\*/"):
        scan(root, pattern="x*/")


def test_a_given_axis_never_changes_the_order_of_known_bands(root):
    moved = SpectralAxis(np.array(NM) + 1)
    with pytest.warns(UserWarning, match="given axis replaces the files' wavelengths; .*"):
        opened = open_cube(root / "io_1.2", moved)
    with opened as cube:
        assert cube.axis == moved
        np.testing.assert_array_equal(cube.read_raw(), values(1))
    with open_cube(root / "io_1.2", SpectralAxis(np.array(NM))) as cube:
        np.testing.assert_array_equal(cube.read_raw(), values(1))


def test_one_number_in_all_names_is_no_wavelength(tmp_path):
    for index, plane in enumerate(values(0)):
        write_band(tmp_path / "s" / f"lamp_550nm_{index + 8}.tif", plane[None])  # 8 to 12
    with open_cube(tmp_path / "s", SpectralAxis(np.array(NM))) as cube:
        np.testing.assert_array_equal(cube.read_raw(), values(0))
    with pytest.raises(AxisError, match="550 nm occurs twice"):
        open_cube(tmp_path / "s")


def test_pngs_are_bands_only_where_there_is_nothing_else(tmp_path):
    cube = values(0)
    for index, plane in enumerate(cube):
        write_png(tmp_path / "p" / f"x_{index + 8}.png", plane)
    with open_cube(tmp_path / "p", SpectralAxis(np.array(NM))) as opened:
        np.testing.assert_array_equal(opened.read_raw(), cube)
    write_set(tmp_path / "t", cube)
    write_png(tmp_path / "t" / "preview.png", cube[0])
    with open_cube(tmp_path / "t") as opened:
        assert opened.num_bands == 5


def test_large_sets_keep_no_file_open(root, monkeypatch):
    monkeypatch.setattr(band_set, "_KEPT_OPEN", 4)
    made = []

    class Counted(band_set.RasterReader):
        def __init__(self, path, size):
            super().__init__(path, size)
            made.append(self)

    monkeypatch.setattr(band_set, "RasterReader", Counted)
    with open_cube(root / "io_1.2") as cube:
        assert len(made) == 5
        assert not any(reader.is_open for reader in made)
        np.testing.assert_array_equal(cube.read_raw([4, 0, 4]), values(1)[[4, 0, 4]])
        assert not any(reader.is_open for reader in made)
    with pytest.raises(CubeError, match="is closed"):
        cube.read_raw([0])


def test_info_calibrates_a_set_by_sets(root, tmp_path, capsys):
    write_set(root / "white", np.full((5, 2, 10), 4000, "u2"))
    write_set(root / "dark", np.full((5, 3, 10), 50, "u2"))
    assert look_at(root / "io_1.2").is_reflectance
    assert main(["info", str(root / "io_1.2"), "--out", str(tmp_path / "out")]) == 0
    assert "white, dark" in capsys.readouterr().out
    assert (tmp_path / "out" / "io_1.2_rgb.png").is_file()


@pytest.mark.slow
def test_a_run_on_band_sets_is_the_run_on_the_cubes(tmp_path, monkeypatch):
    """The same specimens as ENVI cubes and as sets of three files: the same score to the bit."""
    from mlflow.tracking import MlflowClient

    from hyperspec.cli.train import main as train

    monkeypatch.chdir(tmp_path)
    cubes = synthesise(tmp_path / "cubes", SynthSettings(num_specimens=4, size=16, num_bands=12))
    sets = tmp_path / "sets"
    for path in sorted(cubes.glob("*.bil")):
        with open_cube(path) as cube:
            raw, nm = cube.read_raw(), cube.axis.wavelengths_nm
        for name, part in (("c", slice(0, 5)), ("a", slice(5, 11)), ("b", slice(11, 12))):
            write_band(sets / path.stem / f"{name}.tif", raw[part], nm[part].tolist())
    for mask in cubes.glob("*_mask.*"):
        shutil.copy(mask, sets)
    with (cubes / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (sets / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "file": row["file"].removesuffix(".bil")} for row in rows)
    words = ["experiment=demo", "data.size=16", "epochs=2", "hardware.threads=1", "bands.n=5",
             "tracking.experiment=sets", f"tracking.uri=sqlite:///{tmp_path}/m.db"]  # fmt: skip
    assert train([*words, f"data.root={cubes}"]) == 0
    assert train([*words, f"data.root={sets}", "data.pattern=*/"]) == 0
    client = MlflowClient(f"sqlite:///{tmp_path}/m.db")
    experiment = client.get_experiment_by_name("sets").experiment_id
    first, second = (run.data.metrics for run in client.search_runs([experiment]))
    scores = [name for name in first if name.split("/")[0] in ("train", "val", "test")]
    assert "test/knn_top1" in scores
    assert {n: first[n] for n in scores} == {n: second[n] for n in scores}
