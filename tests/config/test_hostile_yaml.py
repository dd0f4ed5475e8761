"""Config files of strangers: one paragraph, exit 2, and nothing in them is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperspec.cli.main import main


@pytest.fixture
def told(tmp_path, monkeypatch, capfd):
    """Return what gives an overlay to `hyperspec train`, and returns what it says."""
    monkeypatch.chdir(tmp_path)
    overlays = tmp_path / "configs" / "experiment"
    overlays.mkdir(parents=True)
    # What would leave a mark where it is imported.
    Path("evil.py").write_text("open('mark', 'w')")

    def give(content: str | bytes) -> str:
        text = content.encode() if isinstance(content, str) else content
        (overlays / "evil.yaml").write_bytes(b"# @package _global_\n" + text)
        words = ["train", "--config-dir", "configs", "experiment=evil", "data.root=nowhere"]
        assert main([*words, "tracking.uri=sqlite:///m.db"]) == 2
        error = capfd.readouterr().err.strip()
        assert "Traceback" not in error
        assert error.startswith("error: ")
        assert len(error.splitlines()) == 1
        assert not Path("mark").exists()
        return error

    return give


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("bands: [1, 2\nseed: }", "evil.yaml cannot be read as YAML"),
        ("study: !!python/object/apply:os.system ['touch mark']", "nothing in it was run"),
        ("study: !!python/name:os.system", "nothing in it was run"),
        ("? [a, b]\n: 1", "found unhashable key"),
        ("study: " + "[" * 3000, "cannot be read as YAML"),
        (b"\xff\xfe\x00", "evil.yaml cannot be read as YAML"),
        ("seed: 1\nseed: 2", "found duplicate key seed"),
        ("- 1\n- 2", "holds no settings by name"),
        ("plugins: evil", "plugins that are no list"),
        ("a: &a [x]\n" + "\n".join(f"{c}: &{c} [{(f'*{b},' * 9)[:-1]}]" for b, c in
                                   zip("abcdef", "bcdefg", strict=True)), "expand"),
    ],
    ids=["syntax", "apply", "name", "key", "deep", "bytes", "twice", "list", "text", "laughs"],
)  # fmt: skip
def test_what_is_no_yaml_of_plain_values_is_told(told, content, text):
    assert text in told(content)


CALL = "_target_: os.system\n{0}command: touch mark"


@pytest.mark.parametrize("place", ["bands", "data", "objective", "", "hydra.launcher"])
def test_a_target_where_none_belongs_is_refused(told, place):
    lines, indent = [], ""
    for name in filter(None, place.split(".")):
        lines.append(f"{indent}{name}:")
        indent += "  "
    assert told("\n".join([*lines, indent + CALL.format(indent)]))


@pytest.mark.parametrize(
    "target",
    [
        "os.system\n      command: touch mark",
        "hyperspec.cli.main.os.system\n      command: touch mark",
        "logging.os.system\n      command: touch mark",
        "logging.config.dictConfig\n      config: {version: 1}",
        "hyperspec.config.plugins.load\n      modules: [evil]",
        "hyperspec.config.plugins.importlib.import_module\n      name: evil",
        "hyperspec.utils.atomic.write_text\n      path: mark\n      text: x",
        "hydra.utils.get_method\n      path: evil.run",
    ],
    ids=["os", "through us", "logging", "dict", "plugins", "import", "write", "method"],
)
def test_a_callback_is_one_of_those_that_the_package_names(told, target):
    content = f"hydra:\n  callbacks:\n    evil:\n      _target_: {target}"
    assert "Hydra execution whitelist" in told(content)


@pytest.mark.parametrize(
    ("part", "body"),
    [
        ("handlers", "(): os.system\n        command: touch mark"),
        ("handlers", "class: os.system\n        command: touch mark"),
        ("handlers", "(): logging.os.system\n        command: touch mark"),
        ("handlers", "class: logging.StreamHandler\n        stream: ext://os.system"),
        ("handlers", "(): logging.config.dictConfig\n        config: {version: 1}"),
        ("formatters", "(): os.system\n        command: touch mark"),
        ("filters", "(): os.system\n        command: touch mark"),
    ],
    ids=["factory", "class", "through logging", "stream", "again", "formatter", "filter"],
)
def test_none_of_the_detours_through_logging_is_taken(told, part, body):
    error = told(f"hydra:\n  job_logging:\n    {part}:\n      evil:\n        {body}")
    assert "hydra.job_logging" in error


@pytest.mark.parametrize("content", [b"size: [", b"\xff\xfe"])
def test_an_option_of_a_group_is_told_too(tmp_path, monkeypatch, capfd, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/model").mkdir(parents=True)
    (tmp_path / "configs/model/mine.yaml").write_bytes(content)
    for words in (["train"], ["train", "-m"], ["train", "--cfg", "job"]):
        assert main([*words, "--config-dir", "configs", "model=mine", "data.root=x"]) == 2
        error = capfd.readouterr().err.strip()
        assert error.startswith("error: A config file is no")
        assert len(error.splitlines()) == 1
