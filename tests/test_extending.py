"""Every block of docs/extending.md is run, in its order, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from plugin_fixture import forget, plugins_forgotten

from hyperspec.cli.main import main as hyperspec
from hyperspec.tracking.client import open_client
from hyperspec.tracking.contract import Tag

PAGE = Path(__file__).parents[1] / "docs/extending.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluator_tables: None) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with plugins_forgotten("mymodule"):
        yield tmp_path


def run(language: str, text: str, folder: Path) -> None:
    """Write a block that begins with the name of a file; run any other."""
    named = FILE.match(text)
    if named:
        path = folder / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text[named.end() :])
    elif language == "python":
        exec(compile(text, str(PAGE), "exec"), {})
    elif language == "toml":
        assert tomllib.loads(text)
    else:
        assert language == "console"
        for line in text.splitlines():
            _, program, *words = shlex.split(line)
            assert program == "hyperspec"
            assert hyperspec(words) == 0, line


def jobs(folder: Path) -> dict[str, str]:
    """Return the identity of the newest finished job of each strategy."""
    client = open_client(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, "attributes.status = 'FINISHED'")
    jobs = [run.data for run in reversed(runs) if "bands" in run.data.params]  # newest last
    return {job.params["bands"]: job.tags[Tag.IDENTITY] for job in jobs}


@pytest.mark.slow
def test_every_block_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language, text in BLOCKS:
        run(language, text, here)
    table = pd.read_parquet(here / "embeddings.parquet")
    assert len(table) == 8 * 4 * 2  # species, specimens, views
    scores = json.loads((here / "evaluation/evaluation.json").read_text())
    assert 0 <= scores["test/label/knn_top1"] <= 1
    before = jobs(here)
    assert set(before) == {"contrast", "uniform"}
    source = here / "mymodule.py"
    source.write_text(source.read_text().replace("return apart - self", "return 2 * apart - self"))
    forget("mymodule")
    sweep = next(text for _, text in BLOCKS if "hyperspec train -m" in text).splitlines()[1]
    sweep = sweep.replace("contrast,uniform", "contrast").replace("dir=sweep", "dir=again")
    run("console", sweep, here)
    after = jobs(here)
    assert after["contrast"] != before["contrast"]
    assert after["uniform"] == before["uniform"]
