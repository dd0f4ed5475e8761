"""Training, and all commands that restore an encoder, open a folder here."""

import logging

import numpy as np
import pytest
from camera_scenes import Camera, write, write_session

from hyperspec.datasets.catalogue.labels import NoLabels
from hyperspec.datasets.config import FolderData, TilesData
from hyperspec.training.data import open_source
from hyperspec.utils.errors import CubeError

SOURCES = {
    "packed": lambda root, cache: FolderData(
        root=root, labels=NoLabels(), size=16, cache_dir=cache
    ),
    "on the fly": lambda root, cache: FolderData(
        root=root, labels=NoLabels(), size=16, cache_dir=cache, store="none"
    ),
    "tiles": lambda root, cache: TilesData(
        root=root, tile=4, stride=4, mask="none", cache_dir=cache
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_say_what_was_done_and_refuse_alike(tmp_path, caplog, kind):
    data, camera = tmp_path / "data", Camera()
    write_session(data, camera)
    panel = np.full((30, 12, 24), 0.05)
    panel[:, :, 4:20] = 1
    write(data / "white.bil", camera.expose(panel, lines=12))
    config = SOURCES[kind](str(data), str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO):
        source = open_source(config)
    assert source.calibration == ("a.bil and 2 more: white.bil, dark.bil",)
    assert "calibration: a.bil and 2 more: white.bil, dark.bil" in caplog.messages
    narrow = "white.bil: is no panel at samples 0-3, 20-23 (33% of its width); cubes are masked"
    assert [m for m in caplog.messages if m.startswith(narrow)]
    planes = source.planes(range(len(source)))
    assert 0.6 < planes.max() < 0.8
    write(data / "white.bil", camera.white(time=4))
    with pytest.raises(CubeError, match=r"The white frame white\.bil is saturated \(at 4095\)"):
        open_source(config)
