"""SimCLR over hyperspectral cubes as a careful user writes it today from public documentation.

    python benchmarks/plain_recipe/recipe.py --root specimens --split split.csv --bands 50

One process for one number of bands. Nothing of hyperspec is used: rasterio reads the chosen bands
of each cube in a Dataset, which divides by the white reference and cuts out the specimen that
Otsu's threshold finds; a DataLoader collates them in worker processes, kornia's stock classes
augment all channels, torchvision's ResNet gets a first convolution for n channels, NT-Xent is the
usual matrix of similarities. ``--library lightly`` takes lightly's loss and projection head.

The same operations with the same ranges as hyperspec's default views: rotation, crop, flips, gain,
tilt and curvature, noise; the same optimizer, schedule, steps, and probes; 0 outside the specimen.
What it does not do: noise that depends on the wavelength, and looking for the specimen on other
bands than are trained on.
"""

from __future__ import annotations

import time

START = time.perf_counter()

import argparse  # noqa: E402 - the clock starts before the imports, which a user waits for too
import csv  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import kornia.augmentation as ka  # noqa: E402
import numpy as np  # noqa: E402
import rasterio  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

WHITE, DARK = "white_reference.bil", "dark_reference.bil"  # as they lie in the cubes' folder


class Cubes(Dataset[tuple[Tensor, Tensor, int]]):
    """Specimens of one part of the split at some bands, with their masks."""

    def __init__(self, files: list[Path], labels: list[int], bands: list[int], size: int) -> None:
        self.files, self.labels, self.bands, self.size = files, labels, bands, size
        # One level per band and sample, over the lines of the frames: a line scanner's striping.
        white, dark = (self._read(files[0].parent / name).mean(1) for name in (WHITE, DARK))
        self.dark, self.span = dark[:, None], np.maximum(white - dark, 1)[:, None]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        image = torch.from_numpy((self._read(self.files[index]) - self.dark) / self.span)
        mask = torch.from_numpy(foreground(image.mean(0).numpy()))
        return *resized(image, mask, self.size), self.labels[index]

    def _read(self, path: Path) -> np.ndarray:
        with rasterio.open(path) as source:
            return source.read([band + 1 for band in self.bands]).astype(np.float32)


def foreground(brightness: np.ndarray) -> np.ndarray:
    """Split by Otsu's threshold; the background is the side that most of the border is on."""
    counts, edges = np.histogram(brightness, 256)
    centres, below = (edges[:-1] + edges[1:]) / 2, np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    bright = brightness > edges[np.nanargmax(between) + 1]
    border = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    return ~bright if border.mean() > 0.5 else bright


def resized(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut out the square around the specimen and resize it, from the specimen's pixels only."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    height, width = (int(found[-1] - found[0]) + 1 for found in (rows, columns))
    side = round(1.1 * max(height, width))  # a margin of 5% on each side
    top, left = int(rows[0]) - (side - height) // 2, int(columns[0]) - (side - width) // 2
    around = (-left, left + side - mask.shape[1], -top, top + side - mask.shape[0])
    inside = mask[None].float()
    cut = functional.pad(torch.cat([image * inside, inside]), around)
    cut = functional.interpolate(cut[None], (size, size), mode="bilinear", antialias=True)[0]
    kept = cut[-1:] >= 0.5
    return cut[:-1] / cut[-1:].clamp(min=0.5) * kept, kept


class Illumination(nn.Module):
    """Gain, tilt and curvature over the bands in the logarithm, as hyperspec's default views."""

    def forward(self, images: Tensor) -> Tensor:
        t = torch.linspace(-1, 1, images.shape[1], device=images.device)
        gain, tilt, curvature = (
            sd * torch.randn(len(images), 1, device=images.device) for sd in (0.2, 0.15, 0.15)
        )
        curve = gain + tilt * t + curvature * t**2
        return images * curve.exp()[:, :, None, None]


class Views(nn.Module):
    """Light and noise, the normalisation, and kornia's warps one after the other."""

    def __init__(self, size: int, mean: Tensor, sd: Tensor) -> None:
        super().__init__()
        self.spectral = nn.Sequential(Illumination(), ka.RandomGaussianNoise(std=0.01, p=1.0))
        self.spatial = nn.Sequential(
            ka.RandomRotation(180.0, p=1.0),
            ka.RandomResizedCrop((size, size), (0.3, 1.0)),
            ka.RandomHorizontalFlip(0.5),
            ka.RandomVerticalFlip(0.5),
        )
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("sd", sd[:, None, None])

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        return self.spatial(self.normalise(self.spectral(images), masks))

    def normalise(self, images: Tensor, masks: Tensor) -> Tensor:
        return (images - self.mean) / self.sd * masks


class NtXent(nn.Module):
    """NT-Xent (Chen et al. 2020, eq. 1) as most repositories write it."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        z = functional.normalize(torch.cat([first, second]), dim=1)
        similarity = z @ z.T / self.temperature
        similarity.fill_diagonal_(float("-inf"))
        count = len(first)
        target = torch.arange(2 * count).roll(count).to(z.device)
        return functional.cross_entropy(similarity, target)


def build(
    num_bands: int, library: str, temperature: float
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return backbone, projection head and loss."""
    # The registry's torchvision is built for CUDA; beside a CPU build of torch it imports only
    # after this. Nothing else of hyperspec is used.
    import hyperspec  # noqa: F401, I001
    from torchvision.models import resnet18

    backbone = resnet18(weights=None)
    backbone.conv1 = nn.Conv2d(num_bands, 64, 7, stride=2, padding=3, bias=False)
    # As torchvision starts it; with Conv2d's own start it scored less.
    nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    backbone.fc = nn.Identity()
    if library == "lightly":
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        return backbone, SimCLRProjectionHead(512, 512, 128), NTXentLoss(temperature)
    head = nn.Sequential(
        nn.Linear(512, 512, bias=False),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, 128, bias=False),
        nn.BatchNorm1d(128),
    )
    return backbone, head, NtXent(temperature)


def train(words: argparse.Namespace, data: dict[str, Cubes]) -> dict[str, object]:
    torch.manual_seed(words.seed)
    loaders = {part: loader(cubes, words, part == "train") for part, cubes in data.items()}
    mean, sd = moments(DataLoader(data["train"], words.batch))
    views = Views(words.size, mean, sd).to(words.device)
    backbone, head, loss = build(len(data["train"].bands), words.library, words.temperature)
    backbone, head = backbone.to(words.device), head.to(words.device)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, words.lr, weight_decay=1e-4)
    total = words.epochs * len(loaders["train"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 10, 0.5 * (1 + math.cos(math.pi * step / total)))
    )
    times: dict[str, list[float]] = {"load": [], "views": [], "train": []}
    first_step = None
    for _ in range(words.epochs):
        clock = time.perf_counter()
        for images, masks, _ in loaders["train"]:
            images, masks = images.to(words.device), masks.to(words.device)
            loaded = time.perf_counter()
            with torch.no_grad():
                one, two = views(images, masks), views(images, masks)
            augmented = time.perf_counter()
            optimizer.zero_grad()
            loss(head(backbone(one)), head(backbone(two))).backward()
            optimizer.step()
            schedule.step()
            done = time.perf_counter()
            first_step = first_step or (done - START, time.process_time())
            for name, seconds in zip(
                times, (loaded - clock, augmented - loaded, done - augmented), strict=True
            ):
                times[name].append(seconds)
            clock = done
    trained = time.perf_counter()
    scores = evaluate(backbone.eval(), views, loaders)
    return {
        **scores,
        "seconds_to_first_step": first_step and first_step[0],
        "processor_to_first_step": first_step and first_step[1],  # without reading processes
        "step_seconds": {name: statistics.median(values) for name, values in times.items()},
        "evaluation_seconds": time.perf_counter() - trained,
        "total_seconds": time.perf_counter() - START,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def loader(
    cubes: Cubes, words: argparse.Namespace, training: bool
) -> DataLoader[tuple[Tensor, Tensor, int]]:
    return DataLoader(
        cubes, words.batch, shuffle=training, drop_last=training, num_workers=words.workers,
        persistent_workers=words.workers > 0,
    )  # fmt: skip


def moments(batches: DataLoader[tuple[Tensor, Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per band over the training part's specimens."""
    pixels = [x.transpose(0, 1)[:, masks[:, 0]] for x, masks, _ in batches]
    spectra = torch.cat(pixels, dim=1).double()
    return spectra.mean(1).float(), spectra.std(1).float()


@torch.no_grad()
def features(
    backbone: nn.Module, views: Views, batches: DataLoader[tuple[Tensor, Tensor, int]]
) -> tuple[np.ndarray, np.ndarray]:
    device = views.mean.device
    found = [
        (backbone(views.normalise(x.to(device), masks.to(device))).cpu(), y)
        for x, masks, y in batches
    ]
    return torch.cat([x for x, _ in found]).numpy(), torch.cat([y for _, y in found]).numpy()


def evaluate(
    backbone: nn.Module, views: Views, loaders: dict[str, DataLoader[tuple[Tensor, Tensor, int]]]
) -> dict[str, float]:
    """Score frozen features on the test part: k-NN (k = 5, cosine) and a linear probe."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = features(backbone, views, loaders["train"])
    test_x, test_y = features(backbone, views, loaders["test"])
    knn = KNeighborsClassifier(5, metric="cosine", weights="distance").fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linear = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=5, max_iter=500)).fit(x, y)
    return {
        "knn_top1": float(knn.score(test_x, test_y)),
        "linear_top1": float(linear.score(test_x, test_y)),
    }


def read_split(words: argparse.Namespace) -> dict[str, Cubes]:
    """Read ``file,label,part`` and choose evenly spread bands."""
    with words.split.open() as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    with rasterio.open(words.root / rows[0]["file"]) as source:
        count = source.count
    bands = np.linspace(0, count - 1, words.bands).round().astype(int).tolist()
    parts: dict[str, Cubes] = {}
    for part in ("train", "test"):
        chosen = [row for row in rows if row["part"] == part]
        files = [words.root / row["file"] for row in chosen]
        labels = [names.index(row["label"]) for row in chosen]
        parts[part] = Cubes(files, labels, bands, words.size)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of the cubes")
    parser.add_argument("--split", type=Path, required=True, help="CSV: file,label,part")
    parser.add_argument("--bands", type=int, required=True)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--temperature", type=float, default=0.2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", choices=("kornia", "lightly"), default="kornia")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="JSON of scores and times")
    words = parser.parse_args()
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    result = train(words, read_split(words))
    words.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{words.bands} bands: k-NN {result['knn_top1']:.3f}, {result['total_seconds']:.1f} s")


if __name__ == "__main__":
    main()
