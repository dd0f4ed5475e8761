"""Before the first job the specimens are opened once, and what is odd about them is said once."""

from __future__ import annotations

from pathlib import Path

import pytest
from confounded import write_confounded
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from hyperspec.config import config_dir, groups
from hyperspec.config.schema import Train
from hyperspec.runs.planning.preflight import check_data


def test_confounding_is_said_once_for_all_splits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_confounded(tmp_path / "specimens")

    def job(*words: str) -> Train:
        groups.register()
        GlobalHydra.instance().clear()
        data = [f"data.root={folder}", f"data.cache_dir={tmp_path / 'cache'}", "data.size=6"]
        with initialize_config_dir(str(config_dir())):
            return groups.to_train(
                compose("train", ["model=tiny", "data.mask=none", *data, *words])
            )

    jobs = [job(f"data.split.seed={seed}", f"seed={seed}") for seed in range(3)]
    check_data(jobs)
    assert caplog.text.count("confounds label and session") == 1
    assert "data.split.group=session" in caplog.text
    caplog.clear()
    check_data([job("data.split.group=session")])
    assert "confounds" not in caplog.text
