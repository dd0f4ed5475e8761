"""Views against the same operations by kornia and torchvision: `make bench-views`.

    python benchmarks/bench_views.py --bands 408 --sizes 64 --dtypes float32 --compiled

Ways to the same tensor, in alternation in one process, forward only:
  chain         kornia's RandomRotation, RandomResizedCrop, flips, (blur, channel dropout,)
                RandomGaussianNoise, with illumination, per-band normalisation and the mask as plain
                torch
  torchvision   the same operations of torchvision.transforms.v2, image by image: its classes draw
                once per call, and one draw for a whole batch would be another augmentation
  ... compiled  either by torch.compile (inductor), after compilation; with --compiled, which takes
                minutes for each case. Graph breaks are counted into the record
  long          Views.deliver: all bands, with the same normalisation and mask in its pass
  projected     Views.project_view to 32 channels, Views.warp
All but the last deliver all bands; `projected` is compared with the others plus the projection,
since both then deliver what a backbone behind a linear stem takes. With bfloat16 in all tensors.
Processor time counts, so that other work on the machine costs no side more; wall time is recorded.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import warnings
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


def build_torchvision(config: ViewsConfig, size: int) -> tuple[list[Any], Any]:
    """Return what is drawn for each image, and the noise, which differs anyway."""
    from torchvision.transforms import v2

    steps: list[Any] = [
        v2.RandomRotation(config.rotation_deg, v2.InterpolationMode.BILINEAR),
        v2.RandomResizedCrop((size, size), (config.crop_min, config.crop_max), antialias=False),
        v2.RandomHorizontalFlip(config.flip_horizontal),
        v2.RandomVerticalFlip(config.flip_vertical),
    ]
    if config.blur_probability:
        blur = v2.GaussianBlur(9, (0.1, 1.5))
        steps.append(v2.RandomApply([blur], config.blur_probability))
    if config.drop_probability:
        steps.append(drop_channel)
    return steps, v2.GaussianNoise(sigma=config.noise_sd, clip=False)


def drop_channel(image: Tensor) -> Tensor:
    """Set one channel to 0, for which torchvision has no class; the image is nobody else's."""
    return image.index_fill_(0, torch.randint(len(image), (1,)), 0)


Way = Callable[[], Tensor]


def ways(
    config: ViewsConfig, bands: int, size: int, batch: int, dtype: torch.dtype, compiled: bool
) -> dict[str, Way]:
    axis = mission_axis()
    nm = axis.wavelengths_nm[np.linspace(0, 407, bands).astype(int)]
    views = Views(config, nm, size, axis_range_nm=axis.range_nm)
    chain = build_chain(config, size)
    image_steps, noise = build_torchvision(config, size)
    x = torch.rand(batch, bands, size, size).to(dtype)
    mask = torch.rand(batch, 1, size, size) > 0.4
    scale, offset = torch.full((bands,), 5.0, dtype=dtype), torch.full((bands,), -2.0, dtype=dtype)
    weight = (torch.randn(WIDTH, bands) / bands**0.5).to(dtype)

    def by_kornia(x: Tensor) -> Tensor:
        for step in chain:
            x = step(x)
        return x

    def by_torchvision(x: Tensor) -> Tensor:
        made = []
        for image in x:
            for step in image_steps:
                image = step(image)
            made.append(image)
        drawn: Tensor = noise(torch.stack(made))
        return drawn

    def whole(steps: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(factor: Tensor) -> Tensor:
            y = steps(x * factor[..., None, None])
            return (y * scale[:, None, None] + offset[:, None, None]) * mask

        return run

    def lit(run: Callable[[Tensor], Tensor]) -> Way:
        def draw_and_run() -> Tensor:
            factor = views.band_factor(views.draw(batch))
            assert factor is not None
            return run(factor.to(dtype))

        return draw_and_run

    def run_long() -> Tensor:
        params = views.draw(batch)
        return views.deliver(x, params, mask, (scale, offset))

    def run_projected() -> Tensor:
        params = views.draw(batch)
        return views.warp(views.project_view(x, mask, weight, scale, offset, params), params)

    others = {"chain": whole(by_kornia), "torchvision": whole(by_torchvision)}
    if compiled:
        others |= {f"{name} compiled": torch.compile(run) for name, run in others.items()}
    return {
        **{name: lit(run) for name, run in others.items()},
        "projection": lambda: torch.conv2d(x, weight[..., None, None]),
        "long": run_long,
        "projected": run_projected,
    }


def measure(calls: dict[str, Way], repeats: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return processor and wall seconds of each call in turn, and what compiling found."""
    from torch._dynamo.utils import counters

    times: dict[str, Any] = {name: {"processor": [], "wall": []} for name in calls}
    compiling: dict[str, Any] = {}
    for name, call in calls.items():
        # Caches are filled, the noise bank among them; what is compiled is compiled again until no
        # new case comes up, or dynamo gives up.
        counters.clear()
        start = time.perf_counter()
        for _ in range(3 if name.endswith("compiled") else 1):
            call()
        if name.endswith("compiled"):
            compiling[name] = {
                "seconds_of_three_calls": time.perf_counter() - start,
                "graphs": counters["stats"]["unique_graphs"],
                "graph_breaks": sum(counters["graph_break"].values()),
            }
    for _ in range(repeats):
        for name, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            call()
            times[name]["processor"].append(time.process_time() - used)
            times[name]["wall"].append(time.perf_counter() - start)
    return times, compiling


def compare(times: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return by how much ours are faster than each other side: the median over rounds."""

    def median(ours: str, other: str, added: str | None) -> float:
        rounds = zip(
            *(times[name]["processor"] for name in (ours, other, added or "projection")),
            strict=True,
        )
        return statistics.median(
            (theirs + (more if added else 0)) / mine for mine, theirs, more in rounds
        )

    others = [name for name in times if name not in ("projection", "long", "projected")]
    return {
        "long": {other: median("long", other, None) for other in others},
        "projected": {other: median("projected", other, "projection") for other in others},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bands", type=int, nargs="+", default=[408, 50])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--pixels", type=int, default=2**16, help="of a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--compiled", action="store_true", help="other sides compiled, too")
    parser.add_argument("--name", default="views", help="of the record")
    words = parser.parse_args()
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")  # of compilers
    cases: list[dict[str, Any]] = []
    print(f"{torch.get_num_threads()} threads, ms per image, median of {words.repeats}")
    for dtype, (name, config), size, bands in itertools.product(
        words.dtypes, RECIPES.items(), words.sizes, words.bands
    ):
        batch = max(words.pixels // size**2, 1)
        torch._dynamo.reset()
        calls = ways(config, bands, size, batch, getattr(torch, dtype), words.compiled)
        with torch.no_grad():
            times, compiling = measure(calls, words.repeats)
        row = {
            key: 1e3 * statistics.median(found["processor"]) / batch for key, found in times.items()
        }
        ratios = compare(times)
        case: dict[str, Any] = {"dtype": dtype, "views": name, "size": size, "bands": bands}
        case |= {"batch": batch, "ms_per_image": row, **ratios, "compiling": compiling}
        cases.append({**case, "seconds": times})
        print(
            f"{dtype:8} {name:10} {bands:4} bands {size:4} px  "
            + "  ".join(f"{key} {value:.2f}" for key, value in row.items())
        )
        for way, found in ratios.items():
            told = ", ".join(f"{ratio:.1f} x {other}" for other, ratio in found.items())
            print(f"    {way}: {told}", flush=True)
        context = record.context(("torch", "torchvision", "kornia", "numpy"))
        threads = torch.get_num_threads()
        path = record.write(words.name, {**context, "threads": threads, "cases": cases})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
