from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.checkpoint_io import AtomicCheckpointIO
from hyperspec.utils.errors import ModelError

CONTENT = {"hyperspec": {"bands": [1, 2]}, "weights": torch.arange(1000.0)}


def save(path: Path, factor: float = 1.0) -> None:
    AtomicCheckpointIO().save_checkpoint({**CONTENT, "weights": CONTENT["weights"] * factor}, path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "below" / "last.ckpt"
    save(path)
    loaded = read_checkpoint(path)
    assert torch.equal(loaded["weights"], CONTENT["weights"])
    assert loaded["hyperspec"] == {"bands": [1, 2]}
    assert sorted(p.name for p in path.parent.iterdir()) == ["last.ckpt", "last.ckpt.sha256"]


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"last\.ckpt' differs from its checksum"):
        read_checkpoint(path)


def test_a_truncated_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="differs from its checksum"):
        read_checkpoint(path)


def test_a_kill_between_checksum_and_file_keeps_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save(path)
    import hyperspec.training.checkpoint as module

    replace = module.os.replace

    def die_at_the_file(source: Path, target: Path) -> None:
        if Path(target) == path:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", die_at_the_file)
    with pytest.raises(KeyboardInterrupt):
        save(path, factor=2.0)
    monkeypatch.undo()
    assert torch.equal(read_checkpoint(path)["weights"], CONTENT["weights"])
    save(path, factor=3.0)
    assert torch.equal(read_checkpoint(path)["weights"], CONTENT["weights"] * 3)
    assert not list(tmp_path.glob(".*.part"))


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    path = tmp_path / "bad.ckpt"
    torch.save({"hyperspec": Malicious(touched)}, path)
    with pytest.raises(ModelError, match="Nothing in it was executed"):
        read_checkpoint(path)
    assert not touched.exists()
    pickle.loads(pickle.dumps(Malicious(touched)))
    assert touched.exists(), "the pickle would have acted"


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        read_checkpoint(tmp_path / "absent.ckpt")
    foreign = tmp_path / "foreign.pt"
    torch.save({"state_dict": {}}, foreign)
    with pytest.raises(ModelError, match=r"give model\.weights=PATH"):
        read_checkpoint(foreign)


def test_removing_takes_the_checksum_along(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save(path)
    AtomicCheckpointIO().remove_checkpoint(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b"hello world, no checkpoint", b"", b"\x80\x02}q\x00.", b"PK\x03\x04"]
)
def test_bytes_that_are_no_checkpoint_are_one_error_without_bad_advice(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert str(path) in text
    assert "weights_only" not in text


def test_a_checksum_that_is_missing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "last.ckpt"
    save(path)
    read_checkpoint(path)
    assert caplog.text == ""
    (tmp_path / "last.ckpt.sha256").unlink()
    assert read_checkpoint(path)["hyperspec"] == {"bands": [1, 2]}
    assert "last.ckpt has no checksum beside it (last.ckpt.sha256)" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"x" * 64, b"../../secret", b"\0" * 64])
def test_a_checksum_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    save(path)
    (tmp_path / "last.ckpt.sha256").write_bytes(content)
    with pytest.raises(ModelError, match=r"last\.ckpt\.sha256' is none .SHA-256 in 64 hex"):
        read_checkpoint(path)


@pytest.mark.parametrize("facts", [None, "x", [], 3])
def test_a_checkpoint_without_facts_is_told(tmp_path: Path, facts: object) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"hyperspec": facts}, path)
    with pytest.raises(ModelError, match="is no checkpoint of hyperspec"):
        read_checkpoint(path)
