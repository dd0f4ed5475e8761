"""Every command that reads a folder calibrates it in one way, and says so in the same words."""

import logging

import numpy as np
import pytest
from camera_scenes import Camera, scene, write, write_session

from hyperspec.cli.main import main

COMMANDS = {
    "check": lambda data, out: ["check", data],
    "info": lambda data, out: ["info", f"{data}/a.bil", "--no-files"],
    "pack": lambda data, out: ["pack", data, f"data.cache_dir={out}", "data.size=16"],
    "views": lambda data, out: ["views", f"{data}/a.bil", "--out", f"{out}/v.png", "--num", "1"],
}


@pytest.fixture
def said(tmp_path, capsys, caplog, monkeypatch):
    """Return what runs a command on a folder and gives its status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(command, data, *words):
        caplog.clear()
        capsys.readouterr()
        with caplog.at_level(logging.INFO):
            status = main([*COMMANDS[command](str(data), tmp_path / "out"), *words])
        heard = capsys.readouterr()
        return status, " ".join(f"{heard.out} {heard.err} {caplog.text}".split())

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_narrow_white_is_told_and_a_saturated_one_refused(tmp_path, said, command):
    data, camera = tmp_path / "data", Camera()
    write_session(data, camera, tint=1)
    panel = np.full((30, 12, 24), 0.05)
    panel[:, :, 4:20] = 1
    write(data / "white.bil", camera.expose(panel, lines=12), tint=1)
    status, text = said(command, data)
    assert status == (1 if command == "check" else 0)
    assert "is no panel at samples 0-3, 20-23 (33% of its width); cubes are masked there." in text
    write(data / "white.bil", camera.white(time=4), tint=4)
    status, text = said(command, data)
    assert "The white frame white.bil is saturated (at 4095), so that reflectance comes" in text
    assert "or set data.calibrate=never." in text
    assert status == (0 if command == "info" else 2)
    if command == "info":
        assert "mean stored value of the foreground" in text
    status, text = said(command, data, "data.calibrate=never")
    assert "saturated (at 4095), so" not in text
    assert status in (0, 1)


@pytest.mark.parametrize("command", ["check", "info", "pack"])
def test_exposures_and_dark_lines_are_told(tmp_path, said, command):
    data, camera = tmp_path / "data", Camera(lamp=1500)
    for name in "ab":
        lines = np.concatenate([camera.expose(scene(450)), camera.shut(6)], axis=1)
        write(data / f"{name}.bil", lines, tint=1, autodarkstartline=24)
    lines = np.concatenate([camera.white(time=2), camera.shut(6)], axis=1)
    write(data / "white.bil", lines, tint=2, autodarkstartline=12)
    _, text = said(command, data)
    scan = "*" if command == "pack" else "a"
    assert f"white.bil, dark lines of {scan}.bil, of the white: dark lines of white.bil" in text
    assert "scaled by the exposure, as of a linear sensor (tint 1; the white frame: tint 2)" in text
    assert "lines from 24 on are dark, and no part of the picture" in text
    _, text = said(command, data, "data.calibrate=never")
    assert "none asked for (data.calibrate=never)" in text


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("command", ["check", "pack"])
def test_dark_lines_that_are_bright_are_refused(tmp_path, said, command, white):
    data, camera = tmp_path / "data", Camera()
    write(data / "a.bil", camera.expose(0.5, lines=40), autodarkstartline=24)
    if white:
        write(data / "white.bil", camera.white())
    status, text = said(command, data)
    assert status == 2
    assert "lines from 24 on are dark (autodarkstartline), but their mean is" in text


def test_check_lists_frames_and_what_is_left_out(tmp_path, said):
    data, camera = tmp_path / "data", Camera()
    for scan in ("444", "445"):
        write(data / scan / "capture" / f"{scan}.raw", camera.expose(scene(450)))
        write(data / scan / "capture" / f"WHITEREF_{scan}.raw", camera.white())
        write(data / scan / "capture" / f"DARKREF_{scan}.raw", camera.shut())
        reflectance = scene(450).astype("f4") + 0.001 * int(scan)
        reflectance += np.linspace(0, 0.01, len(reflectance), dtype="f4")[:, None, None]
        write(data / scan / "results" / f"REFLECTANCE_{scan}.dat", reflectance)
    status, text = said("check", data)
    assert status == 0
    for scan in ("444", "445"):
        frames = f"{scan}/capture/WHITEREF_{scan}.raw, {scan}/capture/DARKREF_{scan}.raw"
        assert f"{scan}/capture/{scan}.raw: {frames}" in text
        assert f"results/REFLECTANCE_{scan}.dat is left out: a product of {scan}/capture" in text
    assert "2 white frames, 2 dark frames, 2 left out" in text
    status, text = said("pack", data, "data.pattern='*'")
    assert "packed 2 specimen images" in text
    assert "values 444/capture/444.raw and 1 more: */capture/WHITEREF_*.raw, */capture/DARK" in text


def test_a_white_reflectance_may_be_a_word_a_number_or_a_file(tmp_path, said):
    data = tmp_path / "data"
    write_session(data, Camera())
    (data / "panel.csv").write_text("nm,reflectance\n350,0.5\n900,0.5\n")
    for value in ("0.5", "1", "panel.csv"):
        status, text = said("info", data, f"data.white_reflectance={value}")
        assert status == 0
        assert ("up to 0.69" if value == "1" else "up to 0.34") in text
    status, text = said("pack", data, "data.white_reflectance=panle.csv")
    assert (status, "neither a number nor a file below" in text) == (2, True)
