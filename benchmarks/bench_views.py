"""Views against the chain of kornia's classes doing the same operations: `make bench-views`.

    python benchmarks/bench_views.py --bands 408 --sizes 64 --dtypes float32

Three ways to the same tensor, timed in alternation in one process, forward only:
  chain       kornia's RandomRotation, RandomResizedCrop, flips, (blur, channel dropout,)
              RandomGaussianNoise, with illumination, per-band normalisation and the mask as plain
              torch, and with --project the 1x1 projection to 32 channels at the end
  long        Views.spectral with the same normalisation and mask in its pass, Views.warp
  projected   Views.project_view to 32 channels, Views.warp
`chain` and `long` deliver all bands; `projected` is compared with `chain` plus the projection,
since both then deliver what a backbone behind a linear stem takes. With bfloat16 in all tensors.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import kornia.augmentation as ka
import numpy as np
import record
import torch
from torch import Tensor

from hyperspec.spectra.axis import mission_axis
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import ViewsConfig

WIDTH = 32  # channels behind the projection, as the stem's default
DTYPES = ("float32", "bfloat16")
RECIPES = {
    "default": ViewsConfig(),
    # The operations of the chain that is widely used: blur on every view, some bands dropped.
    "blur+drop": ViewsConfig(blur_probability=0.999, blur_sigma_px=1.5, drop_probability=0.1),
}


def build_chain(config: ViewsConfig, size: int) -> list[torch.nn.Module]:
    steps: list[torch.nn.Module] = [
        ka.RandomRotation(config.rotation_deg, p=1.0),
        ka.RandomResizedCrop((size, size), (config.crop_min, config.crop_max)),
        ka.RandomHorizontalFlip(config.flip_horizontal),
        ka.RandomVerticalFlip(config.flip_vertical),
    ]
    if config.blur_probability:
        steps.append(ka.RandomGaussianBlur((9, 9), (0.1, 1.5), p=config.blur_probability))
    if config.drop_probability:
        steps.append(ka.RandomChannelDropout(num_drop_channels=1, p=1.0))
    return [*steps, ka.RandomGaussianNoise(std=config.noise_sd, p=1.0)]


def ways(
    config: ViewsConfig, bands: int, size: int, batch: int, dtype: torch.dtype
) -> dict[str, Callable[[], Tensor]]:
    axis = mission_axis()
    nm = axis.wavelengths_nm[np.linspace(0, 407, bands).astype(int)]
    views = Views(config, nm, size, axis_range_nm=axis.range_nm)
    chain = build_chain(config, size)
    x = torch.rand(batch, bands, size, size).to(dtype)
    mask = torch.rand(batch, 1, size, size) > 0.4
    scale, offset = torch.full((bands,), 5.0, dtype=dtype), torch.full((bands,), -2.0, dtype=dtype)
    weight = (torch.randn(WIDTH, bands) / bands**0.5).to(dtype)

    def run_chain() -> Tensor:
        factor = views.band_factor(views.draw(batch))
        assert factor is not None
        y = x * factor.to(dtype)[..., None, None]
        for step in chain:
            y = step(y)
        return (y * scale[:, None, None] + offset[:, None, None]) * mask

    def run_long() -> Tensor:
        params = views.draw(batch)
        return views.warp(views.spectral(x, params, mask, (scale, offset)), params)

    def run_projected() -> Tensor:
        params = views.draw(batch)
        return views.warp(views.project_view(x, mask, weight, scale, offset, params), params)

    return {
        "chain": run_chain,
        "chain+projection": lambda: torch.conv2d(run_chain(), weight[..., None, None]),
        "long": run_long,
        "projected": run_projected,
    }


def measure(calls: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_:  # the first round fills caches, the noise bank among them
                times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bands", type=int, nargs="+", default=[408, 50])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--pixels", type=int, default=2**16, help="of a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    words = parser.parse_args()
    torch.manual_seed(0)
    cases: list[dict[str, Any]] = []
    print(f"{torch.get_num_threads()} threads, ms per image, median of {words.repeats}")
    for dtype, (name, config), size, bands in itertools.product(
        words.dtypes, RECIPES.items(), words.sizes, words.bands
    ):
        batch = max(words.pixels // size**2, 1)
        with torch.no_grad():
            times = measure(ways(config, bands, size, batch, getattr(torch, dtype)), words.repeats)
        row = {key: 1e3 * statistics.median(values) / batch for key, values in times.items()}
        case: dict[str, Any] = {"dtype": dtype, "views": name, "size": size, "bands": bands}
        case |= {"batch": batch, "ms_per_image": row, "seconds": times}
        case["long"] = row["chain"] / row["long"]
        case["projected"] = row["chain+projection"] / row["projected"]
        cases.append(case)
        print(
            f"{dtype:8} {name:10} {bands:4} bands {size:4} px  "
            + "  ".join(f"{key} {value:.2f}" for key, value in row.items())
            + f"  | long {case['long']:.1f}x, projected {case['projected']:.1f}x",
            flush=True,
        )
    context = record.context(("torch", "kornia", "numpy"))
    print(f"wrote {record.write('views', {**context, 'cases': cases})}")


if __name__ == "__main__":
    main()
