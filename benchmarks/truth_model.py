"""Sweeps whose truth is known: right-or-wrong scores from a model, and a real learner.

In the model a specimen is right when a latent sum of standard normals is below the quantile of its
accuracy: what the specimen brings to both settings, to one setting, to one seed of it, what an
image brings, and the rest, with the shares of `SHARES`. A training (seed, and rotation) moves the
accuracy by a normal effect, cut symmetrically where it would leave 0 to 1; with rotations half of
its variance is the seed's own in all of them. The nominal accuracy is jittered by up to two points
either way, so that the steps of small counts average out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
SHARES = {"specimen": 0.35, "setting": 0.10, "seed": 0.20, "image": 0.20, "rest": 0.15}
JITTER = 0.02


@dataclass(frozen=True)
class Cell:
    """One state of nature: tested specimens, images of each, seeds, accuracy, spread of seeds."""

    specimens: int
    images: int
    accuracy: float
    seeds: int
    seed_sd: float
    rotations: int = 1

    @property
    def folds(self) -> NDArray[np.intp]:
        return np.arange(self.specimens) % self.rotations

    @property
    def size(self) -> int:
        return self.specimens * self.images * self.seeds


@dataclass(frozen=True)
class Drawn:
    """Scores of one setting, ``(T, S, G)``, means over images, and the truth they estimate."""

    scores: Floats
    expected: Floats
    of_these_seeds: Floats


def draw_pair(
    cell: Cell, gaps: tuple[float, ...], num: int, rng: np.random.Generator
) -> tuple[Drawn, list[tuple[Drawn, Floats]]]:
    """Draw a setting, and for each gap one whose accuracy is lower by it, with the share of rows
    on which the two disagree."""
    shape = (num, cell.seeds, cell.specimens, cell.images)
    common = _normal(rng, (num, 1, cell.specimens, 1), "specimen")
    common = common + _normal(rng, (num, 1, *shape[2:]), "image")
    accuracy = cell.accuracy + rng.uniform(-JITTER, JITTER, num)
    latents, trained = [], []
    for _ in range(2):
        latent = common + _normal(rng, (num, 1, cell.specimens, 1), "setting")
        latent = latent + _normal(rng, (*shape[:3], 1), "seed") + _normal(rng, shape, "rest")
        latents.append(latent)
        trained.append(_of_training(cell, num, rng))
    first, right = _scored(cell, accuracy, latents[0], trained[0])
    others = []
    for gap in gaps:
        other, also = _scored(cell, accuracy - gap, latents[1], trained[1])
        others.append((other, (right != also).mean((1, 2, 3))))
    return first, others


def _normal(rng: np.random.Generator, shape: tuple[int, ...], share: str) -> NDArray[np.float32]:
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(SHARES[share]))


def _of_training(cell: Cell, num: int, rng: np.random.Generator) -> Floats:
    """Standard effects of each training, ``(T, S, K)``, before they are cut."""
    own = rng.standard_normal((num, cell.seeds, cell.rotations))
    if cell.rotations == 1:
        return own
    return (own + rng.standard_normal((num, cell.seeds, 1))) / np.sqrt(2)


def _scored(
    cell: Cell, accuracy: Floats, latent: NDArray[np.float32], trained: Floats
) -> tuple[Drawn, NDArray[np.bool_]]:
    rate = accuracy[:, None, None] + np.zeros_like(trained)
    if cell.seed_sd:
        room = np.minimum(accuracy, 1 - accuracy)[:, None, None] - 0.001
        lowest = ndtr(-room / cell.seed_sd)
        cut = ndtri(lowest + (1 - 2 * lowest) * ndtr(trained))
        rate = rate + cut * cell.seed_sd
    right = latent < ndtri(rate)[:, :, cell.folds, None].astype(np.float32)
    scores = right.mean(-1, dtype=np.float64)
    return Drawn(scores, accuracy, rate[:, :, cell.folds].mean((1, 2))), right


@dataclass(frozen=True)
class Learner:
    """Two settings that learn equally well, by shrunken discriminants on simulated features.

    Args:
        specimens: In all; a quarter is test, a quarter validation, the rest trains.
        seeds: Trainings of each rotation.
        rotations: 1 or 4; the training sets of four overlap as those of the package do.
        random: Whether a seed draws a random projection of the features, the same in all
            rotations; else the seeds agree.
    """

    specimens: int
    seeds: int
    rotations: int
    random: bool


_CLASSES, _WIDTH, _DRAWN, _IMAGES = 4, 24, 10, 2


def learn(case: Learner, num: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return the scores of both settings, ``(T, S, G)``, and the rotation of each specimen."""
    labels = np.arange(case.specimens) % _CLASSES
    deal = (np.arange(case.specimens) // _CLASSES) % 4
    shape = (num, case.specimens, _IMAGES, _WIDTH)
    shared = [rng.standard_normal(s) for s in ((*shape[:2], 1, _WIDTH), shape)]
    centres = np.zeros((_CLASSES, _WIDTH))
    for label in range(_CLASSES):
        centres[label, 3 * label : 3 * label + 3] = 1.4
    found = []
    for _ in range(2):
        own = [rng.standard_normal(part.shape) for part in shared]
        noise, images = ((a + b) / np.sqrt(2) for a, b in zip(shared, own, strict=True))
        features = centres[labels][None, :, None] + noise + 0.7 * images
        right = np.full((num, case.seeds, case.specimens), np.nan)
        for seed in range(case.seeds):
            seen = features
            if case.random:
                projection = rng.standard_normal((num, _WIDTH, _DRAWN)) / np.sqrt(_WIDTH)
                seen = np.einsum("tnmp,tpd->tnmd", features, projection, optimize=True)
                seen = np.maximum(seen, 0.2 * seen)
            for fold in range(case.rotations):
                right[:, seed, deal == fold] = _tested(seen, labels, deal, fold)
        found.append(right[:, :, deal < case.rotations])
    return found[0], found[1], deal[deal < case.rotations]


def _tested(
    features: Floats, labels: NDArray[np.intp], deal: NDArray[np.intp], fold: int
) -> Floats:
    """Fit on two parts of four and score the test part: share of right images, ``(T, G)``."""
    train = (deal != fold) & (deal != (fold + 1) % 4)
    known, own = features[:, train], labels[train]
    centres = np.stack([known[:, own == c].mean((1, 2)) for c in range(_CLASSES)], 1)
    left = (known - centres[:, own][:, :, None]).reshape(len(known), -1, known.shape[-1])
    cov = np.einsum("tnd,tne->tde", left, left, optimize=True) / left.shape[1]
    scale = np.trace(cov, axis1=1, axis2=2)[:, None, None] / cov.shape[-1]
    weights = np.linalg.solve(0.8 * cov + 0.2 * scale * np.eye(cov.shape[-1]), centres.mT)
    bias = -0.5 * np.einsum("tcd,tdc->tc", centres, weights)
    scores = np.einsum("tnmd,tdc->tnmc", features[:, deal == fold], weights, optimize=True)
    named = (scores + bias[:, None, None]).argmax(-1)
    return (named == labels[deal == fold][None, :, None]).mean(-1)


def rule_010(scores: Floats, levels: tuple[float, ...], *, resamples: int = 1000) -> list[Floats]:
    """Return the ends at each level, ``(T, 2)``, by the crossed bootstrap of 0.1.0, ``(T, S, G)``.

    One specimen and one seed fewer than there are is drawn; tables without spread take the exact
    binomial interval there, which is left out here: they are nowhere among the cells it is run on.
    """
    rng = np.random.default_rng(0)
    _, seeds, specimens = scores.shape
    drawn = rng.multinomial(specimens - 1, np.full(specimens, 1 / specimens), resamples)
    of_seeds = rng.multinomial(max(seeds - 1, 1), np.full(seeds, 1 / seeds), resamples)
    by_draw = np.einsum("rg,tsg->trs", drawn / (specimens - 1.0), scores, optimize=True)
    means = np.einsum("rs,trs->tr", of_seeds / max(seeds - 1, 1), by_draw)
    return [np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=1).T for level in levels]


def draw_settings(cell: Cell, num: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return whether each image is right in settings of equal accuracy, ``(num, S, G, images)``."""
    shape = (num, cell.seeds, cell.specimens, cell.images)
    latent = _normal(rng, (1, 1, cell.specimens, 1), "specimen")
    latent = latent + _normal(rng, (1, 1, *shape[2:]), "image")
    latent = latent + _normal(rng, (num, 1, cell.specimens, 1), "setting")
    latent = latent + _normal(rng, (*shape[:3], 1), "seed") + _normal(rng, shape, "rest")
    accuracy = np.full(num, cell.accuracy)
    return _scored(cell, accuracy, latent, _of_training(cell, num, rng))[1]
