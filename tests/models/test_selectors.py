"""Linear maps in front of the stem: fixed projections."""

from __future__ import annotations

import numpy as np
import torch

from hyperspec.models.selectors import FixedProjection


def test_a_fixed_projection_is_the_matrix_at_every_pixel() -> None:
    rng = np.random.default_rng(0)
    matrix, planes = rng.normal(size=(3, 7)), rng.normal(size=(2, 7, 4, 5)).astype(np.float32)
    layer = FixedProjection(matrix)
    found = layer(torch.from_numpy(planes)).numpy()
    for b in range(2):
        for y in range(4):
            for x in range(5):
                np.testing.assert_allclose(
                    found[b, :, y, x], matrix @ planes[b, :, y, x], rtol=1e-4
                )
    assert list(layer.state_dict()) == ["weight"]
    assert not list(layer.parameters())


def test_folding_equals_the_long_way() -> None:
    rng = np.random.default_rng(1)
    layer = FixedProjection(rng.normal(size=(3, 7)))
    weight = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)).requires_grad_()
    scale = torch.tensor([0.5, 2.0, 3.0])
    x = torch.from_numpy(rng.normal(size=(2, 7, 2, 2)).astype(np.float32))
    long_way = torch.einsum("kn,n,bnyx->bkyx", weight, scale, layer(x))
    folded = torch.einsum("kc,bcyx->bkyx", layer.fold(weight, scale), x)
    torch.testing.assert_close(folded, long_way)
    assert torch.autograd.grad(folded.sum(), weight)[0].abs().sum() > 0


def test_half_precision_does_not_reach_it() -> None:
    layer = FixedProjection(np.array([[1.0, -1.0]]))
    x = torch.tensor([1.0, 1.0001]).view(1, 2, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).item() == torch.tensor(1.0).sub(torch.tensor(1.0001)).item()
