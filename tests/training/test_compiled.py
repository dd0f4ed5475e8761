"""A compiled backbone serves the jobs of a sweep: the number of bands stays outside of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperspec.models.config import TinyConfig
from hyperspec.models.encoder import build_encoder


# torch's compiler looks at gradients of inner tensors while it traces.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.slow
def test_another_number_of_bands_compiles_nothing_anew() -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    graphs = []
    for n in (10, 20, 50):
        encoder = build_encoder(TinyConfig(stem="projection"), np.linspace(400, 1000, n))
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.rand(4, n, 16, 16)
        expected = encoder(images)
        encoder.backbone.compile()
        features = encoder(images)
        features.sum().backward()
        torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.slow
def test_compiled_stages_are_computed_again_as_they_were() -> None:
    """Gradients and running statistics of two steps, once each, as without the compiler."""
    torch._dynamo.reset()
    nm, found = np.linspace(400, 1000, 10), []
    images = torch.rand(2, 4, 10, 16, 16)
    for compiled in (False, True):
        torch.manual_seed(0)
        encoder = build_encoder(TinyConfig(stem="projection"), nm, checkpoint=True)
        if compiled:
            encoder.backbone.compile()
        assert encoder.backbone.is_compiled == compiled
        for batch in images:
            encoder(batch).square().sum().backward()
        gradients = [one.grad for one in encoder.parameters() if one.grad is not None]
        found.append((gradients, [one.clone() for one in encoder.buffers()]))
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-3)
