"""What the processor does with ResNet-18's convolutions: narrow type, layout, folded norms.

    python benchmarks/bench_convolutions.py [--repeats 5]

On one thread, in seconds of the processor, the least of all turns:
  bfloat16   forward and backward under autocast over float32, for the first convolution on 32
             channels and one of the first stage. Above 1 where the processor has no instructions
             for it and oneDNN converts in software
  layout     the first convolution with its images in the usual order over channels last
  folded     evaluation with batch norms folded into the convolutions over evaluation as it is
and the rate of the first convolution, in billions of products a second.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping

import record
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import hyperspec  # noqa: F401  # before torchvision, which has no CPU build
from hyperspec.training.precision import cpu_has_bf16

BATCH, CHANNELS, SIZE = 32, 32, 64
LAST = torch.channels_last


def least(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the least processor time of each way, which take turns; the first turn is left out."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: min(own[1:]) for name, own in times.items()}


def step(
    convolution: nn.Conv2d, images: Tensor, layout: torch.memory_format, short: bool = False
) -> Callable[[], None]:
    """Return a forward and backward pass, with the gradient at the images."""
    own = copy.deepcopy(convolution).to(memory_format=layout)  # type: ignore[call-overload]
    given = images.contiguous(memory_format=layout).requires_grad_()

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            made = own(given)
        made.float().sum().backward()

    return run


def folded(net: nn.Module) -> nn.Module:
    """Return a ResNet-18 for evaluation without batch norms."""
    made = copy.deepcopy(net)
    for block in [made, *(one for layer in (1, 2, 3, 4) for one in getattr(made, f"layer{layer}"))]:
        for number in (1, 2) if block is not made else (1,):
            convolution, norm = getattr(block, f"conv{number}"), getattr(block, f"bn{number}")
            setattr(block, f"conv{number}", fuse_conv_bn_eval(convolution, norm))
            setattr(block, f"bn{number}", nn.Identity())
        if getattr(block, "downsample", None) is not None:
            block.downsample = fuse_conv_bn_eval(*block.downsample)
    return made


def evaluation(net: nn.Module, size: int) -> Callable[[], None]:
    images = torch.randn(BATCH // 2, 3, size, size).contiguous(memory_format=LAST)

    @torch.inference_mode()
    def run() -> None:
        net(images)

    return run


def main() -> None:
    from torchvision.models import resnet18

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    first = nn.Conv2d(CHANNELS, 64, 7, 2, 3, bias=False)
    images = torch.randn(BATCH, CHANNELS, SIZE, SIZE)
    inner, maps = nn.Conv2d(64, 64, 3, 1, 1, bias=False), torch.randn(BATCH, 64, 16, 16)
    products = 3 * BATCH * CHANNELS * 64 * 49 * (SIZE // 2) ** 2
    found: dict[str, float] = {}
    for name, one, given in (("first", first, images), ("inner", inner, maps)):
        ways = {"float32": step(one, given, LAST), "bf16": step(one, given, LAST, short=True)}
        if name == "first":
            ways["usual order"] = step(one, given, torch.contiguous_format)
        seconds = least(ways, repeats)
        found[f"bfloat16, {name} convolution"] = seconds["bf16"] / seconds["float32"]
        if name == "first":
            found["layout, first convolution"] = seconds["usual order"] / seconds["float32"]
            found["billions of products a second"] = products / seconds["float32"] / 1e9
    net = resnet18(num_classes=128).eval().to(memory_format=LAST)  # type: ignore[call-overload]
    without = folded(net)
    for size in (32, 64, 224):
        ways = {"as it is": evaluation(net, size), "folded": evaluation(without, size)}
        seconds = least(ways, repeats)
        found[f"folded, {size} px"] = seconds["folded"] / seconds["as it is"]
    for name, value in found.items():
        print(f"{name:32} {value:6.2f}")
    content = {**record.context(("torch", "torchvision")), "cpu_has_bf16": cpu_has_bf16()}
    print(f"wrote {record.write('convolutions', {**content, 'found': found})}")


if __name__ == "__main__":
    main()
