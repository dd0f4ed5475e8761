import pytest
import torch
from tolerance import rounding
from torch import Tensor, nn

from hyperspec.losses import micro_batched


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_numbers_of_the_gpu_are_replayed() -> None:
    """Positions lie on the CPU, dropout and noise on the GPU; a lost state changes gradients."""
    results = []
    for cached in (True, False):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)).cuda().double()
        images = torch.randn(8, 6, device="cuda", dtype=torch.float64)

        def embed(rows: Tensor, network: nn.Module = network, images: Tensor = images) -> Tensor:
            chosen = images[rows.cuda()]
            features: Tensor = network(chosen + torch.randn_like(chosen))
            return features

        if cached:
            features = micro_batched(embed, 8, 3)
        else:
            features = torch.cat([embed(chunk) for chunk in torch.arange(8).split(3)])
        features.square().sum().backward()
        results.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=rounding(100, results[1]))
