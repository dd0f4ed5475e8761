import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hyperspec  # noqa: F401 - torchvision imports beside a CPU torch
from hyperspec.models.backbones.weights import load_state, read_weights
from hyperspec.utils.errors import ModelError

RESNET18_FILE = "resnet18-f37072fd.pth"  # torchvision 0.28


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give torch hub an empty cache and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(url: str, *args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_default_reads_a_planted_cache_file(cache: Path) -> None:
    state = {"conv1.weight": torch.arange(4.0)}
    torch.save(state, cache / RESNET18_FILE)
    found = read_weights("resnet18", "DEFAULT")
    assert list(found) == ["conv1.weight"]
    assert torch.equal(found["conv1.weight"], state["conv1.weight"])


def test_default_without_network_names_file_and_folder(cache: Path) -> None:
    with pytest.raises(ModelError) as error:
        read_weights("resnet18", "DEFAULT")
    assert str(error.value) == (
        f"model.weights=DEFAULT for resnet18 needs the file {RESNET18_FILE}, which is not in "
        f"{cache} and could not be downloaded (URLError: <urlopen error no network>). Fetch "
        f"https://download.pytorch.org/models/{RESNET18_FILE} where there is a network and place "
        "it in that folder, or set model.weights=null or the path of a state dict."
    )


def test_a_path_may_hold_a_state_dict_or_a_checkpoint_around_it(tmp_path: Path) -> None:
    state = {"a": torch.ones(2)}
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "wrapped.pt")
    for name in ("plain.pt", "wrapped.pt"):
        assert torch.equal(read_weights("resnet18", str(tmp_path / name))["a"], torch.ones(2))


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (Path.touch, (Path("executed"),))


def test_files_that_are_no_state_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, "malicious.pt")
    torch.save([1, 2], "list.pt")
    Path("garbage.pt").write_bytes(b"not a checkpoint")
    Path("empty.pt").write_bytes(b"")
    torch.save({"a": torch.ones(100)}, "whole.pt")
    Path("cut.pt").write_bytes(Path("whole.pt").read_bytes()[:300])
    for name in ("malicious.pt", "garbage.pt", "empty.pt", "cut.pt"):
        with pytest.raises(
            ModelError, match=f"{name} cannot be read as a state dict without runn"
        ) as caught:
            read_weights("resnet18", name)
        assert "weights_only" not in str(caught.value)
    assert not Path("executed").exists()
    with pytest.raises(ModelError, match=r"list\.pt holds a list, not a state dict of tensors"):
        read_weights("resnet18", "list.pt")
    with pytest.raises(ModelError, match=r"model\.weights=default is not a file\. Use null, DEF"):
        read_weights("resnet18", "default")


def test_a_wrong_files_error_lists_the_first_differences() -> None:
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    state = {key: value for key, value in module.state_dict().items() if key[0] in "01"}
    state["1.weight"] = torch.ones(3, 2)
    state["head.bias"] = torch.ones(1)
    with pytest.raises(ModelError) as error:
        load_state(module, state, "some.pt")
    assert str(error.value) == (
        "model.weights=some.pt does not fit this backbone (4 missing: 2.weight, 2.bias, 3.weight, "
        "3.bias; 1 unexpected: head.bias; 1 of another shape: 1.weight (3, 2) instead of (2, 2)). "
        "Choose the model that the file was made with, or another file."
    )
    with pytest.raises(ModelError, match=r"8 missing: (\S+, ){4}2\.weight \.\.\.\)"):
        load_state(module, {}, "some.pt")
