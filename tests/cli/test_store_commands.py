"""The commands pack, export and views as a user types them."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hyperspec.cli.commands.export import find_store
from hyperspec.cli.main import main
from hyperspec.config.compose_data import compose_views
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.labels import CsvLabels, NoLabels, PatternLabels
from hyperspec.datasets.config import FolderData
from hyperspec.spectra import SpectralAxis
from hyperspec.training.data import open_source
from hyperspec.transforms.config import CrossModalViews, ViewsConfig
from hyperspec.utils.errors import CatalogueError

AXIS = SpectralAxis.linear(400, 700, 7)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        values = np.random.default_rng(seed).normal(200, 9, (7, 20, 24))
        values[:, 4:15, 5:17] += 1500
        write_envi(tmp_path / "data" / f"x{seed}.bil", values, AXIS, dtype="u2")
    write_envi(tmp_path / "data/white.bil", np.full((7, 3, 24), 4000, "u2"), AXIS)
    write_envi(tmp_path / "data/dark.bil", np.full((7, 2, 24), 100, "u2"), AXIS)
    return tmp_path / "data"


def hash_of(text):
    return next(line.split()[1] for line in text.splitlines() if line.strip().startswith("hash"))


def test_pack_says_what_it_made_and_then_that_it_is_ready(folder, capsys):
    assert main(["pack", str(folder), "data.size=9"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("packed 3 specimen images in ")
    assert "float16 planes, 9×9 pixels, 7 bands, 400.0-700.0 nm" in first
    assert main(["pack", str(folder), "data.size=9", "--verify"]) == 0
    second = capsys.readouterr().out
    assert second.startswith("ready: 3 specimen images\n")
    assert second.splitlines()[1:] == first.splitlines()[1:]
    assert max(map(len, first.splitlines()[2:])) <= 80
    assert main(["pack", str(folder), "data.size=8"]) == 0
    assert capsys.readouterr().out.startswith("packed")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {"labels": NoLabels()}),
        (["data.size=7", "data.mask=none"], {"labels": NoLabels(), "size": 7, "mask": "none"}),
        (
            ["data.calibrate=none", "data.crop_margin=0.2", "data.labels.file=l.csv"],
            {"labels": CsvLabels("l.csv"), "calibrate": "none", "crop_margin": 0.2},
        ),
        (
            ["data.white_reflectance=0.9", "--threads", "1", "data/labels=csv",
             "data.labels.file=l.csv", "data.labels.column=sex"],
            {"labels": CsvLabels("l.csv", "sex"), "white_reflectance": 0.9},
        ),
        # The flags of 0.1.0.
        (
            ["--calibrate", "none", "--crop-margin", "0.2", "--labels-file", "l.csv"],
            {"labels": CsvLabels("l.csv"), "calibrate": "none", "crop_margin": 0.2},
        ),
        (
            ["--labels", "pattern", "--expression", r"(?P<label>x)(?P<specimen>\d)"],
            {"labels": PatternLabels(r"(?P<label>x)(?P<specimen>\d)")},
        ),
        (
            ["--files", "x*.bil", "--mask", "otsu", "--white", "white.bil", "--dark", "dark.bil"],
            {"labels": NoLabels(), "pattern": "x*.bil", "mask": "otsu", "white": "white.bil",
             "dark": "dark.bil"},
        ),
    ],
)  # fmt: skip
def test_runs_with_the_same_options_read_the_same_store(folder, capsys, words, options):
    (folder / "l.csv").write_text(
        "file,species,sex,specimen\nx0.bil,a,f,1\nx1.bil,b,m,1\nx2.bil,b,f,2\n"
    )
    assert main(["pack", str(folder), *words]) == 0
    source = open_source(FolderData(root=str(folder), **options))
    assert source.hash == hash_of(capsys.readouterr().out)
    assert len(list((folder.parent / ".hyperspec" / "stores").iterdir())) == 1


def test_pack_refuses_folders_with_errors_and_shows_warnings(folder, capsys):
    (folder / "labels.csv").write_text("file,species\nx0.bil,a\nx1.bil,b\n")
    assert main(["pack", str(folder), "data.size=9"]) == 0
    assert "warning: x2.bil: has no row in labels.csv" in capsys.readouterr().err
    (folder / "x1.bil").write_bytes(b"short")
    assert main(["pack", str(folder), "data.size=9"]) == 2
    assert "1 of the files in" in capsys.readouterr().err
    assert main(["pack", str(folder), "--threads", "0"]) == 2
    assert "--threads is 0" in capsys.readouterr().err


def test_old_flags_name_the_words_that_replace_them_once(folder, capsys):
    words = ["--files", "*.bil", "--axis", "400:700:7", "--cache-dir", "none", "--size", "9"]
    assert main(["bands", str(folder), *words, "--strategy", "uniform", "--n", "3"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "--files, --cache-dir, --size, --axis: goes with the next release; write "
        "'data.pattern=*.bil' data.store=none data.size=9 "
        "'data.axis={start_nm:400.0,stop_nm:700.0,count:7}' instead."
    )
    assert not (folder.parent / ".hyperspec" / "stores").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["data.sise=9"], "There is no key data.sise in this config. Did you mean data.size?"),
        (["data.size=x"], "Value 'x' of type 'str' could not be converted to Integer"),
        (["data.size=0"], "data.size is 0; it must be a number of pixels, at least 1"),
        (["data.root=data"], "data.root is given twice: it is the folder of the command, data"),
        (["data=tiles"], "there is nothing to pack"),
        (["data/labels=nix"], "There is no data/labels=nix. "),
        (
            ["--labels", "folder", "--column", "x"],
            "no key data.labels.column in this config: it belongs to data/labels=",
        ),
        (["--axis", "400:700"], "--axis is '400:700'; give 'mission'"),
        (["9"], "'9' is no setting; give KEY=VALUE, such as data.size=64"),
    ],
)
def test_wrong_data_words_are_told_as_in_training(folder, capsys, words, text):
    assert main(["pack", "data", *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_a_command_without_data_refuses_data_words(capsys):
    with pytest.raises(SystemExit):
        main(["ui", "data.size=9"])
    assert "takes no data settings: data.size=9" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["envi", "zarr"])
def test_export_says_what_it_wrote(folder, capsys, kind):
    assert main(["pack", str(folder), "data.size=9"]) == 0
    name = hash_of(capsys.readouterr().out)
    assert main(["export", name[:5], "--format", kind, "--out", f"out/{kind}"]) == 0
    assert capsys.readouterr().out == f"wrote 3 images of 7 bands to out/{kind}\n"
    assert main(["export", name, "--format", kind, "--out", f"out/{kind}"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_stores_are_found_by_folder_or_beginning(tmp_path):
    for name in ("aa11", "aa22", "bb33"):
        (tmp_path / "stores" / name).mkdir(parents=True)
        (tmp_path / "stores" / name / "store.json").touch()
    assert find_store("aa2", tmp_path).name == "aa22"
    folder = tmp_path / "stores" / "bb33"
    assert find_store(str(folder), tmp_path / "elsewhere") == folder
    with pytest.raises(CatalogueError, match=r"'aa' names 2 stores: .* holds aa11, aa22, bb33"):
        find_store("aa", tmp_path)
    with pytest.raises(CatalogueError, match=r"'x' names no store: .* holds none"):
        find_store("x", tmp_path / "elsewhere")


def test_views_draws_a_contact_sheet(folder, capsys):
    words = ["views", str(folder / "x1.bil"), "--num", "3", "data.size=24"]
    assert main(words) == 0
    assert capsys.readouterr().out == "wrote x1_views.png\n"
    first = imread("x1_views.png")
    assert first.shape[1] > 900
    assert first[..., :3].std() > 0.05
    assert main([*words, "--out", "new/again.png"]) == 0
    np.testing.assert_array_equal(imread("new/again.png"), first)
    assert main([*words, "--out", "other.png", "views=none"]) == 0
    assert not np.array_equal(imread("other.png"), first)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["data/white.bil"], "is named like a calibration frame"),
        (["data/x1.hdr"], "is no data file of a cube"),
        (["data/no.bil"], "is no data file of a cube"),
        (["data/x1.bil", "views=defualt"], "Did you mean views=default?"),
        (["data/x1.bil", "--views", "defualt"], "There is no views=defualt."),
        (
            ["data/x1.bil", "--set", "noise_sx=1"],
            "There is no key views.noise_sx in this config. Did you mean views.noise_sd?",
        ),
        (["data/x1.bil", "views.noise_sd=7"], "views.noise_sd is 7.0; it must be a number"),
        (["data/x1.bil", "views.noise_sd=a"], "Value 'a' of type 'str' could not be converted"),
        (
            ["data/x1.bil", "views=cross_modal", "+views.windows_nm.blue=[480,400]"],
            "views.windows_nm.blue is [480.0, 400.0]; give its lowest and highest",
        ),
        (["data/x1.bil", "data=tiles", "data.tile=16"], "data=tiles has no image per cube to draw"),
        (["data"], "data is a folder; give one cube's data file. A cube in several files"),
        (["data/x1.bil", "--num", "0"], "A contact sheet of 0 views was asked for"),
    ],
)
def test_wrong_words_are_told(folder, capsys, words, text):
    assert main(["views", *words, *([] if "data=tiles" in words else ["data.size=24"])]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_views_settings_are_those_of_the_config(folder):
    def views(*words):
        return compose_views(words, folder, ["data.size=128"])[1]

    assert views() == ViewsConfig()
    changed = views("views=light", "views.noise_sd=0.02", "views.blur_sigma_px=1",
                    "views.blur_probability=0.5")  # fmt: skip
    assert (changed.crop_min, changed.noise_sd, changed.blur_sigma_px) == (0.6, 0.02, 1)
    windows = views("views=cross_modal", "+views.windows_nm.blue=[400,480]", "views.noise_sd=0.02")
    assert isinstance(windows, CrossModalViews)
    assert windows.windows_nm == {**CrossModalViews().windows_nm, "blue": [400.0, 480.0]}
    assert windows.noise_sd == 0.02


def test_info_takes_data_words(folder, capsys):
    words = ["info", str(folder / "x1.bil"), "--no-files"]
    assert main(words) == 0
    assert "white.bil, dark.bil" in capsys.readouterr().out
    for none in (["data.calibrate=none"], ["--calibrate", "none"]):
        assert main([*words, *none]) == 0
        assert "white.bil" not in capsys.readouterr().out
    assert main([*words, "data.white=x0.bil"]) == 0
    assert "x0.bil, dark.bil" in capsys.readouterr().out


def test_who_reads_may_leave(small_specimens):
    """As in ``hyperspec check FOLDER | head``."""
    words = [sys.executable, "-m", "hyperspec", "check", str(small_specimens)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(300) in (1, 141)  # of rich, of ours
