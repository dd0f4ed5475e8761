import torch

from hyperspec.models import HeadConfig, build_head


def test_equals_its_formula_and_gives_unit_vectors() -> None:
    torch.manual_seed(0)
    head = build_head(HeadConfig(hidden=6, dim=4), 5).double()
    x = torch.randn(9, 5, dtype=torch.float64)

    def standardised(y: torch.Tensor) -> torch.Tensor:
        return (y - y.mean(0)) / (y.var(0, unbiased=False) + 1e-5).sqrt()

    hidden = standardised(x @ head.hidden_layer.weight.T).clamp(min=0)
    z = standardised(hidden @ head.output_layer.weight.T)
    torch.testing.assert_close(head(x), z / z.norm(dim=1, keepdim=True))
    torch.testing.assert_close(head(x).norm(dim=1), torch.ones(9, dtype=torch.float64))


def test_parameters_are_those_of_the_published_code() -> None:
    head = build_head(HeadConfig(hidden=6, dim=4), 5)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "hidden_layer.weight": (6, 5),
        "hidden_norm.weight": (6,),
        "hidden_norm.bias": (6,),
        "output_layer.weight": (4, 6),
        "output_norm.weight": (4,),
    }


def test_hidden_width_follows_the_features() -> None:
    head = build_head(HeadConfig(), 24)
    assert head.hidden_layer.out_features == 24
    assert head.output_layer.out_features == 128


def test_gradients_reach_every_parameter_and_half_precision_widens() -> None:
    torch.manual_seed(0)
    head = build_head(HeadConfig(dim=8), 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = head(torch.randn(16, 8))
    assert z.dtype == torch.float32
    (z * torch.randn(16, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    half = build_head(HeadConfig(dim=8), 8).to(torch.bfloat16)
    assert half(torch.randn(16, 8, dtype=torch.bfloat16)).dtype == torch.float32


def test_raw_embeddings_for_losses_on_variances() -> None:
    torch.manual_seed(0)
    head = build_head(HeadConfig(dim=4), 8, unit=False)
    torch.manual_seed(0)
    unit = build_head(HeadConfig(dim=4), 8)
    x = torch.randn(16, 8)
    torch.testing.assert_close(head(x).std(0, correction=0), torch.ones(4), rtol=1e-3, atol=0)
    torch.testing.assert_close(unit(x), head(x) / head(x).norm(dim=1, keepdim=True))
