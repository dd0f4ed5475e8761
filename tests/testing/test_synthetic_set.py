"""A synthetic set as it lies on disk: bytes, headers, labels, truth and what species differ by."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from hyperspec.spectra import mission_axis
from hyperspec.testing.synthetic.design import build_design
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.scene import Optics, Traits, render
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.testing.synthetic.truth import band_sets, oracle_accuracies, uniform_indices
from hyperspec.utils.errors import CatalogueError, ConfigError

AXIS = mission_axis()
NM = AXIS.wavelengths_nm


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SynthSettings(num_specimens=3, size=24, seed=5)
    return synthesise(tmp_path_factory.mktemp("synth") / "planted", settings)


def _hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # no map here
def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # no map here
def test_every_cube_reads_back_with_its_axis(planted: Path) -> None:
    for row in _rows(planted):
        assert (planted / row["file"]).with_suffix(".bil.hdr").is_file()
    with rasterio.open(planted / _rows(planted)[0]["file"]) as source:
        assert (source.count, source.height, source.width) == (408, 24, 24)
        assert source.dtypes[0] == "uint16"
        assert source.interleaving.name == "line"
        centres = [float(source.tags(i)["wavelength"]) for i in source.indexes]
        counts = source.read()
    np.testing.assert_allclose(centres, NM, atol=1e-3)
    raw = np.fromfile(planted / _rows(planted)[0]["file"], "<u2").reshape(24, 408, 24)
    np.testing.assert_array_equal(counts, raw.transpose(1, 0, 2))


def test_labels_name_every_cube_once(planted: Path) -> None:
    rows = _rows(planted)
    assert list(rows[0]) == [
        *("file", "species", "specimen", "view", "pigment", "uv", "red", "date"),
    ]
    cubes = {p.name for p in planted.glob("*.bil")} - {"white_reference.bil", "dark_reference.bil"}
    assert len(rows) == 8 * 3 * 2
    assert {r["file"] for r in rows} == cubes
    for row in rows:
        assert row["file"] == "{species}_{specimen}{view}_{date}.bil".format(**row)
    truth = json.loads((planted / "truth.json").read_text())
    for row in rows:
        factors = truth["species"][row["species"]]
        assert row["pigment"] == factors["pigment"]
        assert (row["uv"] == "yes", row["red"] == "yes") == (factors["uv"], factors["red"])
    dates = {(r["species"], r["date"]) for r in rows}
    assert len(dates) == 8 * 3, "each species was scanned on each date"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # no map here
def test_calibrated_reflectance_is_physical(planted: Path) -> None:
    white = _read(planted / "white_reference.bil").astype(np.float64).mean(1)
    dark = _read(planted / "dark_reference.bil").astype(np.float64).mean(1)
    assert ((white - dark) > 1000).all()
    for row in _rows(planted)[::6]:
        raw = _read(planted / row["file"])
        assert raw.max() < 65_535, "nothing saturates"
        smooth = ((raw - dark[:, None]) / (white - dark)[:, None]).mean(0)
        assert smooth.min() > 0
        assert smooth.max() < 1.1
        border = np.concatenate([smooth[0], smooth[-1]])
        assert np.median(border) == pytest.approx(0.02, abs=0.01)
        assert 0.25 < (smooth > 0.1).mean() < 0.75, "the specimen fills a good part of the frame"


def test_same_seed_gives_the_same_bytes_with_any_number_of_threads(
    planted: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from hyperspec.testing.synthetic import SynthSettings, synthesise\n"
        "synthesise(Path(sys.argv[1]), SynthSettings(num_specimens=3, size=24, seed=5))"
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again")],
        check=True,
        env=os.environ | threads,
        cwd=Path(__file__).parents[2],
    )
    assert _hashes(tmp_path / "again") == _hashes(planted)


def test_a_specimen_does_not_depend_on_how_many_there_are(planted: Path, tmp_path: Path) -> None:
    fewer = _hashes(synthesise(tmp_path / "s", SynthSettings(num_specimens=1, size=24, seed=5)))
    other = _hashes(synthesise(tmp_path / "t", SynthSettings(num_specimens=1, size=24, seed=6)))
    all_of_them = _hashes(planted)
    cubes = [name for name in fewer if name.endswith(".bil")]
    assert len(cubes) == 18
    for name in cubes:
        assert fewer[name] == all_of_them[name]
        assert fewer[name] != other[name]


def _group_log_means(variant: str, wanted: list[tuple[int, str]]) -> dict[str, np.ndarray]:
    """Return mean log10 reflectance spectra (C,) of noise-free specimens, by name of the group.

    Specimen i of every group has the same shape, pattern and light, so groups differ by factors.
    """
    design = build_design(variant)
    optics = Optics(design, NM)
    means: dict[str, np.ndarray] = {}
    for species, name in wanted:
        spectra = []
        for i in range(6):
            factors = design.factors(species, np.random.default_rng([1, i]))
            traits = Traits.draw(design, factors, np.random.default_rng([2, i]))
            image, cover = render(traits, optics, 20, np.random.default_rng([3, i]), dorsal=True)
            spectra.append(np.log10(image[cover > 0.9]).mean(0))
        means[name] = np.mean(spectra, axis=0)
    return means


@pytest.mark.parametrize(("variant", "depth"), [("planted", 0.4), ("graded", 0.075)])
def test_windows_stand_at_their_wavelengths(variant: str, depth: float) -> None:
    means = _group_log_means(variant, [(0, "plain"), (1, "red"), (2, "uv")])
    for name, centre, fwhm in (("uv", 373.0, 16.0), ("red", 700.0, 10.0)):
        absorbance = means["plain"] - means[name]
        inside = np.abs(NM - centre) < fwhm / 2 - 1.5
        outside = np.abs(NM - centre) > fwhm / 2 + 1.5
        # Glints are not absorbed and dilute the depth a little.
        assert np.all(absorbance[inside] > 0.85 * depth)
        assert np.all(absorbance[inside] < 1.001 * depth)
        np.testing.assert_allclose(absorbance[outside], 0, atol=1e-3)


def test_pigment_groups_differ_in_the_blue_and_not_in_the_red() -> None:
    means = _group_log_means("planted", [(0, "ommochrome"), (4, "pterin")])
    difference = means["ommochrome"] - means["pterin"]
    assert difference[np.abs(NM - 500) < 5].max() < -0.15
    np.testing.assert_allclose(difference[NM > 650], 0, atol=0.01)


def test_species_of_the_null_variant_are_alike() -> None:
    means = _group_log_means("null", [(0, "first"), (3, "second"), (7, "third")])
    np.testing.assert_array_equal(means["first"], means["second"])
    np.testing.assert_array_equal(means["first"], means["third"])


def test_pattern_and_outline_do_not_depend_on_the_factors() -> None:
    design = build_design("planted")
    covers = []
    for species in design.species:
        traits = Traits.draw(design, species.factors, np.random.default_rng(8))
        _, cover = render(traits, Optics(design, NM), 20, np.random.default_rng(9), dorsal=False)
        covers.append(cover)
    assert all(np.array_equal(covers[0], cover) for cover in covers)
    assert 0.25 < covers[0].mean() < 0.75


def test_truth_holds_the_answer(planted: Path) -> None:
    truth = json.loads((planted / "truth.json").read_text())
    assert truth["windows"]["uv"]["centre_nm"] == 373.0
    assert truth["windows"]["red"]["fwhm_nm"] == 10.0
    met, reached = truth["oracle"]["windows_met"], truth["oracle"]["accuracy"]
    expected = {"uniform_5": [], "uniform_10": [], "uniform_20": ["uv"], "rgb": []}
    for name, windows in met.items():
        assert windows == expected.get(name, ["uv", "red"])
    # Two pigment groups, times each window that is met.
    for name, windows in met.items():
        assert reached[name] == pytest.approx(0.25 * 2 ** len(windows), abs=0.04), (
            name
        )  # of drawn specimens


def test_oracle_is_deterministic_and_blind_on_the_null_variant() -> None:
    axis = SynthSettings(num_bands=41).axis
    planted_once = oracle_accuracies(build_design("planted"), axis, seed=1)
    assert planted_once == oracle_accuracies(build_design("planted"), axis, seed=1)
    assert set(oracle_accuracies(build_design("null"), axis, seed=1).values()) == {0.125}


def test_uniform_bands_of_the_oracle_cover_the_axis() -> None:
    for n in (1, 2, 10, 300, 408):
        chosen = uniform_indices(408, n)
        assert len(set(chosen.tolist())) == n
        if n > 1:
            nearest = np.abs(NM[None] - np.linspace(NM[0], NM[-1], n)[:, None]).argmin(1)
            np.testing.assert_array_equal(chosen, nearest)
    assert list(band_sets(AXIS)["rgb"]) == [AXIS.nearest(nm) for nm in (650, 550, 450)]


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("size", 15, r"synth\.size is 15, outside 16 to 2048\."),
        ("num_specimens", 0, r"synth\.num_specimens is 0, outside 1 to 9999\."),
        ("seed", -1, r"synth\.seed is -1, outside 0 to"),
        ("num_bands", 1, r"synth\.num_bands is 1, outside 2 to"),
        (
            "variant",
            "nul",
            r"synth\.variant is 'nul', which is none of planted, graded, n",
        ),
    ],
)
def test_bad_options_are_named(option: str, value: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SynthSettings(**{option: value})  # type: ignore[arg-type]


SMALL = {"num_specimens": 1, "size": 16, "num_bands": 12, "variant": "null"}


def test_a_full_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CatalogueError, match=r"already holds files; nothing was written"):
        synthesise(tmp_path, SynthSettings(**SMALL))
    with pytest.raises(CatalogueError, match=r"holds files but no truth\.json.*not replaced"):
        synthesise(tmp_path, SynthSettings(**SMALL, overwrite=True))
    with pytest.raises(CatalogueError, match=r"thesis\.txt is a file; synthetic"):
        synthesise(tmp_path / "thesis.txt", SynthSettings(**SMALL))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_overwrite_replaces_an_earlier_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    synthesise(root, SynthSettings(**SMALL))
    assert len(list(root.glob("*.bil"))) == 18
    before = _hashes(root)
    synthesise(root, SynthSettings(**(SMALL | {"seed": 1, "overwrite": True})))
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    after = _hashes(root)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before if name.endswith(".bil"))


def test_a_failure_leaves_the_earlier_set_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = synthesise(tmp_path / "set", SynthSettings(**SMALL))
    before = _hashes(root)

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("hyperspec.testing.synthetic.generate.write_truth", full_disk)
    with pytest.raises(OSError, match="No space left"):
        synthesise(root, SynthSettings(**(SMALL | {"seed": 1, "overwrite": True})))
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert _hashes(root) == before
