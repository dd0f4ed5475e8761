"""The pairs of `gate.py`: a piece of ours, and something plain with the same bottleneck.

Each builder makes its own small data in a folder and returns both sides as calls. One thread.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import torch
from plain_recipe import recipe
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional

import hyperspec
from hyperspec.bands import STRATEGIES
from hyperspec.cubes.envi.header import parse_header
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import pack
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.losses import NtXent
from hyperspec.models import build_encoder
from hyperspec.models.config import ResNetConfig
from hyperspec.spectra.axis import mission_axis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import ViewsConfig

Pair = tuple[Callable[[], object], Callable[[], object]]
SIDE, NUM_BANDS, BATCH, SIZE = 128, 50, 16, 32
AXIS = mission_axis()
CHOSEN = np.linspace(0, 407, NUM_BANDS).round().astype(int).tolist()


def _cube(path: Path, side: int, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(200, 4096, (408, side, side), dtype=np.uint16)
    write_envi(path, values, AXIS, dtype=np.uint16, scale_factor=4096)
    return path


def header(folder: Path) -> Pair:
    """A header of 408 bands, beside splitting its text at signs."""
    path = _cube(folder / "header.bil", 1).with_suffix(".hdr")
    content = path.read_bytes()

    def plainly() -> object:
        fields = {}
        for part in content.decode().replace("{\n", "{").split("\n"):
            key, _, value = part.partition("=")
            fields[key.strip().lower()] = value.strip()
        texts = content.decode().split("wavelength = {")[1].split("}")[0].split(",")
        return fields, [float(text) for text in texts]

    return lambda: parse_header(content, path), plainly


def bands_of_a_cube(folder: Path) -> Pair:
    """Opening a cube and reading 50 of its bands as reflectance, beside a map of the file."""
    path = _cube(folder / "cube.bil", SIDE)

    def ours() -> object:
        with hyperspec.open(path) as cube:
            return cube.read(CHOSEN)

    def plainly() -> object:
        lines = np.memmap(path, np.uint16, "r", shape=(SIDE, 408, SIDE))
        return lines.swapaxes(0, 1)[CHOSEN].astype(np.float32) / np.float32(4096)

    np.testing.assert_allclose(ours(), plainly(), rtol=1e-6)
    return ours, plainly


def whole_frame(folder: Path) -> Pair:
    """All values of an open cube into an array, beside copying them from a map of the file."""
    path = _cube(folder / "frame.bil", SIDE)
    out = np.empty((408, SIDE, SIDE), np.uint16)
    lines = np.memmap(path, np.uint16, "r", shape=(SIDE, 408, SIDE))
    cube = hyperspec.open(path)
    every = list(range(408))
    return lambda: cube.read_raw(every, None, out), lambda: np.copyto(out, lines.swapaxes(0, 1))


def packing(folder: Path) -> Pair:
    """Packing four cubes into a fresh cache, beside reading them with rasterio, scaled, resized."""
    paths = [_cube(folder / f"packed/{i}.bil", 64, i) for i in range(4)]
    catalogue, settings = scan(folder / "packed"), PrepareSettings(size=32, mask="none")
    names = itertools.count()

    def ours() -> object:
        cache = folder / f"cache{next(names)}"
        store = pack(catalogue, settings, cache, num_threads=1)
        shutil.rmtree(cache)
        return store

    def plainly() -> object:
        found = []
        for path in paths:
            with rasterio.open(path) as source:
                image = torch.from_numpy(source.read().astype(np.float32) / 4096)
            found.append(
                functional.interpolate(image[None], (32, 32), mode="bilinear", antialias=True)
            )
        return torch.cat(found).half()

    return ours, plainly


def batch(folder: Path) -> Pair:
    """A float32 batch of a store, beside converting its planes image by image.

    Eight images: what does not fit into the cache waits for memory, which other work takes too.
    """
    for i in range(8):
        _cube(folder / f"small/{i:02d}.bil", SIZE, i)
    store = pack(scan(folder / "small"), PrepareSettings(size=SIZE, mask="none"), folder / "c")
    bank = PlaneBank(store, CHOSEN, torch.device("cpu"), Residency("device", ""))
    rows = torch.randperm(8)
    planes = torch.from_numpy(store.planes(list(range(8)), CHOSEN))
    return lambda: bank.batch(rows), lambda: torch.stack([planes[row].float() for row in rows])


def views(_: Path) -> Pair:
    """A view projected to 32 channels, beside its convolution, noise and warp alone."""
    nm = AXIS.wavelengths_nm[CHOSEN]
    ours = Views(ViewsConfig(), nm, SIZE, axis_range_nm=AXIS.range_nm)
    images, mask = torch.rand(BATCH, NUM_BANDS, SIZE, SIZE), torch.rand(BATCH, 1, SIZE, SIZE) > 0.4
    weight = torch.randn(32, NUM_BANDS) / NUM_BANDS**0.5
    scale, offset = torch.full((NUM_BANDS,), 5.0), torch.full((NUM_BANDS,), -2.0)
    turn = torch.eye(2, 3).repeat(BATCH, 1, 1)

    @torch.no_grad()
    def view() -> object:
        params = ours.draw(BATCH)
        return ours.warp(ours.project_view(images, mask, weight, scale, offset, params), params)

    @torch.no_grad()
    def plainly() -> object:
        y = torch.conv2d(images, weight[..., None, None])
        y = (y + torch.randn_like(y)) * mask
        grid = functional.affine_grid(turn, list(y.shape), align_corners=False)
        return functional.grid_sample(y, grid, align_corners=False)

    return view, plainly


def loss(_: Path) -> Pair:
    """NT-Xent and its gradient, beside the usual one."""
    ones, others = torch.randn(2, 256, 128).requires_grad_().unbind()
    ours, plain = NtXent(0.2), recipe.NtXent(0.2)

    def run(one: torch.nn.Module) -> object:
        return torch.autograd.grad(one(ones, others), (ones, others))

    torch.testing.assert_close(run(ours), run(plain), rtol=1e-3, atol=1e-6)
    return lambda: run(ours), lambda: run(plain)


def step(_: Path) -> Pair:
    """An encoder forward and back on all bands, beside the recipe's backbone."""
    encoder = build_encoder(ResNetConfig(), AXIS.wavelengths_nm[CHOSEN])
    backbone = recipe.build(NUM_BANDS, "kornia", 0.2)[0]
    images = torch.rand(BATCH, NUM_BANDS, SIZE, SIZE)

    def run(one: torch.nn.Module) -> None:
        one.zero_grad()
        one(images).square().mean().backward()

    return lambda: run(encoder), lambda: run(backbone)


def statistics(_: Path) -> Pair:
    """Statistics of 4000 spectra with their covariance, beside numpy's."""
    spectra = np.random.default_rng(0).random((4000, 408)).astype(np.float32)
    return (
        lambda: SpectralStatistics.from_spectra(spectra, AXIS).covariance,
        lambda: (np.cov(spectra.T), np.sort(spectra, axis=0)),
    )


def strategy(_: Path) -> Pair:
    """Twenty bands by pairwise correlation, beside the eigenvalues of it."""
    spectra = np.random.default_rng(0).random((500, 408)).astype(np.float32)
    kept = SpectralStatistics.from_spectra(spectra, AXIS).to_arrays()
    chooser = STRATEGIES["spa"](n=20)

    def ours() -> object:
        fresh = SpectralStatistics.from_arrays(kept)  # what is computed once is kept
        return chooser.select(AXIS, fresh)

    return ours, lambda: np.linalg.eigh(np.cov(spectra.T))


def neighbours(_: Path) -> Pair:
    """k-NN of 400 rows among 600 by cosine, beside scikit-learn's."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 128)), rng.integers(0, 8, 1000).astype(str)
    plain = KNeighborsClassifier(5, metric="cosine", algorithm="brute")
    return (
        lambda: knn_probe(x[:600], y[:600], x[600:], y[600:]),
        lambda: plain.fit(x[:600], y[:600]).predict(x[600:]),
    )


CASES: dict[str, Callable[[Path], Pair]] = {
    case.__name__: case
    for case in (
        *(header, bands_of_a_cube, whole_frame, packing, batch, views, loss, step, statistics),
        *(strategy, neighbours),
    )
}
