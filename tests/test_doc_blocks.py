"""Every block of README.md and docs/*.md is run or checked, or says why not."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_blocks import BLOCKS, ROOT, Block, blocks_of, check_command, commands_of

from hyperspec.cli import functions
from hyperspec.cli.main import main as hyperspec
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.utils.errors import HyperspecError

# Pages whose blocks another test runs, in their order.
FILE = re.compile(r"# (\S+\.ya?ml)\n")
ELSEWHERE = {"docs/extending.md": "tests/test_extending.py"}
QUICK = {
    "model": "tiny",
    "data.size": 8,
    "epochs": 1,
    "batch_size": 8,
    "sweep.report": False,
    "evaluation.controls": False,
    "evaluation.linear": False,
    "evaluation.importance": False,
    "tracking.log_model": "none",
}


def of(language: str) -> list[Any]:
    """Return the blocks of a language that are to run, as parameters."""
    return [
        pytest.param(block, id=str(block))
        for block in BLOCKS
        if block.language == language
        and not block.why_not
        and block.page.relative_to(ROOT).as_posix() not in ELSEWHERE
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small set of specimens under the names that the pages give."""
    place = tmp_path_factory.mktemp("work")
    synthesise(place / "FOLDER", SynthSettings(num_specimens=3, size=16))
    (place / "scans").symlink_to("FOLDER")
    for block in BLOCKS:  # files that a page shows, under the names that it gives
        named = FILE.match(block.text)
        if named and str(block.page.relative_to(ROOT).as_posix()) not in ELSEWHERE:
            (place / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (place / named[1]).write_text(block.text[named.end() :])
    cube = min((place / "FOLDER").glob("Synth*.bil"))
    for suffix in (".bil", ".bil.hdr"):
        (place / f"specimen{suffix}").write_bytes(cube.with_suffix(suffix).read_bytes())
    return place


@pytest.fixture(scope="module")
def trained(workplace: Path) -> Path:
    """Return the folder after a run in it."""
    with chdir(workplace):
        functions.train(**{**QUICK, "data.root": "FOLDER"})
    return workplace


@pytest.fixture
def here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(workplace)
    return workplace


def silent(blocks: list[Block]) -> list[str]:
    """Return the blocks that no test looks at and that do not say why."""
    looked_at = ("console", "python", "yaml", "toml")
    return [
        f"{block}: {'indented' if not block.language else block.language} block"
        for block in blocks
        if block.language not in looked_at and not block.why_not
    ]


def test_no_block_is_silent() -> None:
    advice = "give the fence a language, or put '<!-- not run: why -->' above it"
    assert silent(BLOCKS) == [], advice


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("```\nhyperspec train\n```\n", 1),
        ("```text\n12 jobs\n```\n", 1),
        ("Words:\n\n    hyperspec train\n", 1),
        ("<!-- not run: output -->\n```text\n12 jobs\n```\n", 0),
        ("<!-- not run: output -->\n\n```text\n12 jobs\n```\n", 0),
        ("- A point,\n\n    that goes on.\n", 0),
        ("```console\nhyperspec check FOLDER\n```\n", 0),
    ],
)
def test_silent_blocks_are_seen(text: str, number: int) -> None:
    assert len(silent(blocks_of(ROOT / "README.md", text))) == number


@pytest.mark.parametrize("block", of("console"))
def test_commands_are_understood(block: Block, here: Path) -> None:
    for words in commands_of(block):
        check_command(words, here)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hyperspec train data.root=FOLDER bands=uniforn", "no bands=uniforn"),
        ("hyperspec train bands.n=5", "no data.root"),
        ("hyperspec train -m data.root=FOLDER bands.n=5,6 bnads.n=7", "no key bnads.n"),
        ("hyperspec train -m data.root=FOLDER bands.n=-5,6", "bands.n is -5"),
        ("hyperspec check FOLDER --hlep", "takes no ['--hlep']"),
        ("hyperspec pack FOLDER data.sized=64", "no key data.sized"),
        ("make deom", "no target deom"),
        ("python benchmarks/bench_nothing.py", "no benchmarks/bench_nothing.py"),
        ("pip install 'hyperspec-sweeps[nothing]'", "no extra nothing"),
        ("initdb -D pg", "whether `initdb` works"),
    ],
)
def test_wrong_commands_are_seen(line: str, said: str, here: Path) -> None:
    (words,) = commands_of(Block(ROOT, 1, "console", f"{line}\n", ""))
    with pytest.raises((AssertionError, HyperspecError), match=re.escape(said)):
        check_command(words, here)


@pytest.mark.slow
@pytest.mark.parametrize("block", of("python"))
def test_python_runs(block: Block, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    for name in ("train", "sweep"):  # the same words, and small
        small = partial(with_quick_words, getattr(functions, name))
        monkeypatch.setattr(functions, name, small)
    if '"DIR"' in block.text and not Path("DIR").exists():
        assert hyperspec(["pack", "FOLDER", "data.size=8", "data.cache_dir=packed"]) == 0
        (store,) = Path("packed/stores").iterdir()
        assert hyperspec(["export", str(store), "--format", "zarr", "--out", "DIR"]) == 0
    exec(compile(block.text, str(block), "exec"), {"__name__": "block"})


def with_quick_words(call: Any, *words: str, **settings: Any) -> Any:
    """Train with settings that take a moment, where the words say nothing else."""
    given = {word.partition("=")[0] for word in words} | set(settings)
    usual = {key: value for key, value in QUICK.items() if key not in given}
    if "experiment" in given and call.__name__ == "sweep":
        usual["bands.n"] = [5, 10]
    return call(*words, **usual, **settings)


@pytest.mark.parametrize("block", [*of("yaml"), *of("toml")])
def test_files_are_well_formed(block: Block) -> None:
    assert (yaml.safe_load if block.language == "yaml" else tomllib.loads)(block.text)
