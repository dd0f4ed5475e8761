from __future__ import annotations

import pytest
import torch

from hyperspec.datasets.loading import packed_planes as stored
from hyperspec.datasets.loading.packed_planes import StoredPlanes, project_stored


@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
@pytest.mark.parametrize("channels", [None, [3, 0, 5]])
@pytest.mark.parametrize("block", [2**21, 40])
def test_the_product_and_its_gradients_are_those_of_a_wide_batch(
    kind: torch.dtype, channels: list[int] | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_BLOCK", block)  # several blocks per image, the last one shorter
    generator = torch.Generator().manual_seed(0)
    planes = torch.rand(5, 6, 7, 7, generator=generator).to(kind)
    own = None if channels is None else torch.tensor(channels)
    images = StoredPlanes(planes, [4, 1, 4], own)
    n = images.num_bands
    matrix = torch.randn(3, 5, n, generator=generator, requires_grad=True)
    constant = torch.randn(3, 5, generator=generator, requires_grad=True)
    weights = torch.randn(3, 5, 49, generator=generator, dtype=torch.float64)

    parts = project_stored(matrix, constant, images, [2, 3])
    assert [part.shape[1] for part in parts] == [2, 3]
    assert all(part.is_contiguous() and part._base is None for part in parts)
    made = torch.cat(parts, 1)
    (made.double() * weights).sum().backward()

    wide = planes[[4, 1, 4]].double().flatten(2)
    wide = wide if channels is None else wide[:, channels]
    expected = torch.einsum("bmn,bnp->bmp", matrix.detach().double(), wide)
    expected = expected + constant.detach().double()[..., None]
    torch.testing.assert_close(made.detach().double(), expected, atol=1e-5, rtol=1e-5)
    assert matrix.grad is not None
    assert constant.grad is not None
    slope = torch.einsum("bmp,bnp->bmn", weights, wide)
    torch.testing.assert_close(matrix.grad.double(), slope, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(constant.grad.double(), weights.sum(2), atol=1e-5, rtol=1e-5)


def test_no_wide_copy_of_the_images_is_made() -> None:
    images = StoredPlanes(torch.rand(4, 300, 64, 64).half(), range(4))
    blocks = list(images.blocks(2, torch.float32))
    assert len({values.data_ptr() for _, values in blocks}) == 1
    assert sum(values.shape[1] for _, values in blocks) == 64 * 64
    assert max(values.nbytes for _, values in blocks) <= 4 * stored._BLOCK
