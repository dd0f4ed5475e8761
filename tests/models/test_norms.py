import pytest
import torch
from torch import nn

from hyperspec.models.backbones.norms import (
    FrozenStatisticsBatchNorm2d,
    group_norm,
    norm_layer,
    running_statistics_kept,
)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (2048, 32), (48, 16), (7, 1)])
def test_group_norm_divides_its_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_frozen_statistics_treat_each_sample_alone() -> None:
    norm = FrozenStatisticsBatchNorm2d(3)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0, 16.0]))
    x = torch.randn(5, 3, 2, 2)
    before = norm.running_mean.clone()
    expected = (x - before[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
    assert not norm.training  # from the start, before anyone calls train()
    torch.testing.assert_close(norm(x), expected)
    nn.Sequential(norm).train()
    torch.testing.assert_close(norm(x), expected)
    assert torch.equal(norm.running_mean, before)
    assert norm.weight.requires_grad


def test_norm_layers_by_name() -> None:
    assert isinstance(norm_layer("batch")(4), nn.BatchNorm2d)
    assert isinstance(norm_layer("group")(4), nn.GroupNorm)
    assert isinstance(norm_layer("frozen")(4), FrozenStatisticsBatchNorm2d)


def test_running_statistics_are_kept_even_when_the_replay_is_cut_short() -> None:
    norm = nn.BatchNorm2d(3)
    norm(torch.randn(4, 3, 2, 2))
    before = {key: value.clone() for key, value in norm.state_dict().items()}

    def cut_short() -> None:
        with running_statistics_kept(nn.Sequential(norm)):
            norm(torch.randn(4, 3, 2, 2) + 5)
            raise KeyError

    with pytest.raises(KeyError):
        cut_short()
    after = norm.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert norm.momentum == 0.1
    norm(torch.randn(4, 3, 2, 2) + 5)
    assert not torch.equal(norm.running_mean, before["running_mean"])
