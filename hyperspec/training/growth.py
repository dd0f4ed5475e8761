"""A run's encoder on other bands: weights taken over, responses kept, the difference measured."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hyperspec.config.plain import to_plain
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.models.config import EncoderConfig
from hyperspec.models.eval_mode import eval_mode
from hyperspec.models.weight_transfer import grow_weights, interpolation_map, response_map
from hyperspec.spectra.band_projection import BandProjection, selection_from_dict
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import MetricName
from hyperspec.tracking.run import JobRun
from hyperspec.training.builders import load, read_bands, read_config
from hyperspec.training.context import RunContext
from hyperspec.training.data import Material
from hyperspec.training.devices import random_states_kept
from hyperspec.training.embedder import Embedder
from hyperspec.training.optimizer import moments_of
from hyperspec.training.parts import HasParts
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.config import CrossModalViews
from hyperspec.utils.errors import ModelError

log = logging.getLogger(__name__)
MOST_SPECTRA = 8192  # training spectra that the map is fitted to: twenty times the bands
BATCH = 64  # training images whose embeddings are compared


@dataclass(frozen=True)
class Growth:
    """What became of an encoder that was given other bands.

    Args:
        rebuilt: Names of the module's parameters that were rebuilt for the new bands.
        cosine: Median cosine between the features of a batch of the training part before and
            after.
        centred_cosine: The same after the batch's mean is taken from both, which shows what
            features that are all positive hide.
        head_cosine: The same of the projection head's embeddings.
    """

    rebuilt: frozenset[str]
    cosine: float
    centred_cosine: float
    head_cosine: float


def grow_into(
    module: SimCLR,
    material: Material,
    trained: HasParts,
    old: BandSelection,
    *,
    plain: bool = False,
) -> Growth:
    """Give a module of other bands what a trained one has learned; it is changed in place.

    The training spectra of ``material`` tell what responses are to be kept; ``old`` are the
    trained bands on the axis of the folder at hand. ``plain`` interpolates the stem over nm and
    stops there, as a comparison.

    Raises:
        ModelError: If the two differ in more than their bands.
    """
    new = material.selection
    band_map = interpolation_map(old.wavelengths_nm, new.wavelengths_nm)
    spectra = None
    if not plain:
        spectra = seen(module.embedder, material, new)
        before = seen(trained.embedder, material, old)
        band_map = response_map(old.wavelengths_nm, new.wavelengths_nm, before, spectra)
    rebuilt = grow_weights(
        trained.encoder,
        module.encoder,
        old.wavelengths_nm,
        new.wavelengths_nm,
        band_map,
        spectra,
    )
    own = {name for name, _ in module.named_children()}
    for name in sorted(own - {"encoder", "views", "normalisation", "reduction"}):
        _take_over(name, trained, module)
    names = frozenset(f"encoder.{name}" for name in rebuilt)
    return Growth(names, *_cosines(module, trained, material, old))


def check_growable(old: BandSelection, new: BandSelection) -> None:
    """Refuse channels that are sums of bands: they have no place on the axis to grow along.

    Raises:
        ModelError: If one of the two is made of such.
    """
    for selection in (old, new):
        if isinstance(selection, BandProjection):
            raise ModelError(
                f"The channels of bands={selection.strategy} are sums of bands, so no stem can be "
                f"carried from {len(old)} channels (bands={old.strategy}) to {len(new)} "
                f"(bands={new.strategy}). Use the same bands, or start anew with ckpt=null."
            )


def check_same_bands(checkpoint: Mapping[str, Any], module: SimCLR, path: str) -> None:
    """Refuse a checkpoint that was trained on other bands.

    Raises:
        ModelError: If it was; the message lists both sets.
    """
    if not same_bands(checkpoint, module, path):
        before = read_bands(checkpoint, path)
        now = selection_from_dict(module.facts["bands"])
        differences = "; ".join(before.axis.differences(now.axis)) or "same axis"
        raise ModelError(
            f"ckpt='{path}' was trained on {len(before)} bands (bands={before.strategy}, "
            f"{before.wavelengths_nm.min():.1f}-{before.wavelengths_nm.max():.1f} nm), this run "
            f"has {len(now)} (bands={now.strategy}, {now.wavelengths_nm.min():.1f}-"
            f"{now.wavelengths_nm.max():.1f} nm; {differences}). Use the same bands, or start "
            "anew with ckpt=null."
        )


def same_bands(checkpoint: Mapping[str, Any], module: SimCLR, path: str) -> bool:
    """Say whether a checkpoint, ``path``, was trained on the bands that a module takes."""
    before = read_bands(checkpoint, path)
    now = selection_from_dict(module.facts["bands"])
    same = before.indices == now.indices and before.axis == now.axis
    return same and _same_weights(before, now)


def _same_weights(one: BandSelection, other: BandSelection) -> bool:
    if isinstance(one, BandProjection) and isinstance(other, BandProjection):
        # Eigenvectors of the same data differ by rounding between machines.
        same = one.matrix.shape == other.matrix.shape
        return same and np.allclose(one.matrix, other.matrix, atol=1e-6)
    return isinstance(one, BandProjection) == isinstance(other, BandProjection)


def grow_from(
    path: str, checkpoint: Mapping[str, Any], context: RunContext, module: SimCLR
) -> dict[str, Any]:
    """Give a module what a checkpoint of other bands has learned; log what was done.

    The module, of this run's bands, is changed in place; ``path`` is for messages.

    Returns:
        Optimizer state by parameter name for everything that was not rebuilt.

    Raises:
        ModelError: If the checkpoint is of another model, or still choosing its bands.
        BandError: If its bands are not on the axis at hand; the differences are listed.
    """
    config, material, facts = context.config, context.data, checkpoint["hyperspec"]
    if facts.get("stage") == "search":
        raise ModelError(
            f"ckpt='{path}' was written while bands=learned was still choosing its bands, so it "
            "holds no encoder of them yet. Let that run finish first, or start anew with ckpt=null."
        )
    if isinstance(config.views, CrossModalViews):
        raise ModelError(
            f"ckpt='{path}' cannot be continued on other bands with views=cross_modal, whose "
            "encoder belongs to its windows' bands. Use the bands that it was trained on, or start "
            "anew with ckpt=null."
        )
    before = read_bands(checkpoint, path)
    check_growable(before, material.selection)
    check_same_model(path, read_config(checkpoint, path), config)
    old = before.resolve(material.source.axis)
    there = dataclasses.replace(material, selection=old)
    bank = PlaneBank(material.source, old.indices, module.device, Residency("mmap", "a batch"))
    # The old encoder's start must not change what this run draws.
    with random_states_kept(module.device):
        trained = load(config, there, checkpoint["state_dict"], path, module.device, bank)
    growth = grow_into(module, material, trained, old)
    log.info(
        "ckpt='%s' has %d bands, this run %d: %s rebuilt for these, the rest and its optimizer "
        "state taken over; median cosine of a batch's embeddings before and after %.4f",
        path,
        len(old),
        len(material.selection),
        ", ".join(sorted(growth.rebuilt)) or "nothing",
        growth.cosine,
    )
    log_growth(context.run, growth, len(old), len(material.selection), 0)
    return moments_of(checkpoint, growth.rebuilt)


def log_growth(run: JobRun, growth: Growth, old: int, new: int, step: int) -> None:
    """Log how well an encoder kept its embeddings when it got other bands."""
    run.log_metrics(
        {
            MetricName.GROWTH_FROM: old,
            MetricName.GROWTH_TO: new,
            MetricName.GROWTH_COSINE: growth.cosine,
            MetricName.GROWTH_CENTRED: growth.centred_cosine,
            MetricName.GROWTH_HEAD: growth.head_cosine,
        },
        step,
    )


def check_same_model(path: str, before: Train, now: Train) -> None:
    """Refuse a checkpoint of another model, head, loss or normalisation.

    Raises:
        ModelError: If it is; the message lists what differs.
    """
    settings = {"model": _shape(before.model), "head": to_plain(before.head)}
    others = {"model": _shape(now.model), "head": to_plain(now.head)}
    kinds = (type(before.loss).__name__, type(now.loss).__name__)
    differing = [
        f"{group}.{key}={value} there, {others[group].get(key)} here"
        for group, values in settings.items()
        for key, value in values.items()
        if others[group].get(key) != value
    ]
    if kinds[0] != kinds[1]:
        differing.append(f"loss {kinds[0]} there, {kinds[1]} here")
    normalised = (before.data.normalisation, now.data.normalisation)
    if normalised[0] != normalised[1]:
        differing.append(f"data.normalisation={normalised[0]} there, {normalised[1]} here")
    if differing:
        raise ModelError(
            f"ckpt='{path}' is of another encoder: {'; '.join(differing)}. It can be continued on "
            "other bands, not as another model: give its settings, or start anew with ckpt=null."
        )


def _shape(model: EncoderConfig) -> dict[str, Any]:
    """Return the settings that decide which parameters there are."""
    kept = ("name", "stem", "stem_channels", "norm")
    plain = to_plain(model)
    return {key: value for key, value in plain.items() if key in kept}


def seen(embedder: Embedder, material: Material, bands: BandSelection) -> NDArray[np.float64]:
    """Return training spectra in some bands as an encoder gets them, ``(S, n)``."""
    samples = material.statistics.samples
    step = max(1, -(-len(samples) // MOST_SPECTRA))
    chosen = samples[::step][:, list(bands.indices)]
    pixels = torch.from_numpy(np.ascontiguousarray(chosen))[:, :, None, None].to(embedder.device)
    with torch.no_grad():
        prepared = embedder.prepare(pixels, torch.ones_like(pixels[:, :1], dtype=torch.bool))
    return np.asarray(prepared[:, :, 0, 0].cpu().numpy(), np.float64)


def _take_over(name: str, trained: HasParts, module: SimCLR) -> None:
    try:
        getattr(module, name).load_state_dict(getattr(trained, name).state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"The checkpoint's {name} does not fit this run's: {reason} Only the bands may differ: "
            f"give the {name} settings of the checkpoint."
        ) from error


def _cosines(
    module: SimCLR, trained: HasParts, material: Material, old: BandSelection
) -> tuple[float, float, float]:
    rows = torch.from_numpy(material.split.train[:BATCH])
    before = _features(trained.embedder, material, old, rows)
    after = _features(module.embedder, material, material.selection, rows)
    with torch.no_grad():
        heads = [_head(trained, before), _head(module, after)]
    middle = before.mean(dim=0)
    return (
        _median_cosine(before, after),
        _median_cosine(before - middle, after - middle),
        _median_cosine(*heads),
    )


def _features(embedder: Embedder, material: Material, bands: BandSelection, rows: Tensor) -> Tensor:
    few = PlaneBank(material.source, bands.indices, embedder.device, Residency("mmap", "a batch"))
    return dataclasses.replace(embedder, bank=few).embed(rows)


def _head(module: HasParts, features: Tensor) -> Tensor:
    with eval_mode(module.head):
        embedded: Tensor = module.head(features.to(module.embedder.device)).cpu()
    return embedded


def _median_cosine(one: Tensor, other: Tensor) -> float:
    return float(functional.cosine_similarity(one.double(), other.double()).median())
