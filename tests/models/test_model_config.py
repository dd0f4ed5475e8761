import subprocess
import sys
from pathlib import Path

import pytest

import hyperspec
from hyperspec.models import EncoderConfig, HeadConfig, ResNetConfig, TinyConfig
from hyperspec.utils.errors import ConfigError


def test_defaults() -> None:
    assert TinyConfig() == TinyConfig("tiny", "projection", None, "batch")
    assert ResNetConfig(name="resnet50").weights is None
    assert TinyConfig().projection_channels == 32
    assert TinyConfig(stem_channels=8).projection_channels == 8
    assert TinyConfig(stem="inflate").projection_channels is None
    assert HeadConfig().dim == 128


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TinyConfig(stem="inflat"), "model.stem=inflat is not known: choose projection"),
        (lambda: TinyConfig(norm="frozen"), "model.norm=frozen is not known: choose batch, group."),
        (lambda: TinyConfig(name="resnet18"), "model.name=resnet18 is not known: choose tiny."),
        (
            lambda: ResNetConfig(name="resnet19"),
            "model.name=resnet19 is not known: choose resnet18, resnet34, resnet50.",
        ),
        (
            lambda: ResNetConfig(stem_channels=0),
            "model.stem_channels=0 is out of range: use 1 to 1024.",
        ),
        (
            lambda: ResNetConfig(stem="inflate", stem_channels=16),
            "model.stem_channels=16 has no meaning with model.stem=inflate, which feeds the bands "
            "to the first convolution directly. Leave it null, or set model.stem=projection.",
        ),
        (
            lambda: ResNetConfig(norm="frozen"),
            "model.norm=frozen keeps the normalisation statistics of pretrained weights, but "
            "model.weights is null. Set model.weights=DEFAULT or a path, or take model.norm=group.",
        ),
        (
            lambda: TinyConfig(sampling_minimum=8),
            "model.sampling_minimum=8 trains on other bands every step, but the weights of "
            "model.stem=projection belong to its own. Set model.stem=wavelength",
        ),
        (
            lambda: TinyConfig(stem="wavelength", sampling_minimum=0),
            "model.sampling_minimum=0 is out of range: use 1 to 1024.",
        ),
        (lambda: ResNetConfig(weights=" "), "model.weights is empty: use null for a random start"),
        (lambda: HeadConfig(dim=1), "head.dim=1 is out of range: use 2 to 8192."),
        (lambda: HeadConfig(hidden=0), "head.hidden=0 is out of range: use 1 to 16384."),
        (lambda: EncoderConfig(), "model.name= is not known"),
    ],
)
def test_values_out_of_range_name_their_key(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(message)


def test_configs_import_without_torch() -> None:
    code = (
        "import sys; from hyperspec.models import TinyConfig; from hyperspec.losses import "
        "NtXentConfig; TinyConfig(); NtXentConfig(); print('torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(hyperspec.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "False"


def test_unknown_names_are_attribute_errors() -> None:
    import hyperspec.losses
    import hyperspec.models

    with pytest.raises(AttributeError, match=r"'hyperspec\.models' has no attribute 'nothing'"):
        hyperspec.models.nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"'hyperspec\.losses' has no attribute 'nothing'"):
        hyperspec.losses.nothing  # noqa: B018
