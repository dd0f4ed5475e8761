"""A run's encoder on other bands: weights taken over, responses kept, the difference measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hyperspec.data.bank import PlaneBank, Residency
from hyperspec.material import Material
from hyperspec.models.grow import grow_weights, interpolation_map, response_map
from hyperspec.spectra.errors import BandError, ModelError
from hyperspec.spectra.projection import BandProjection
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.module import SimCLR

log = logging.getLogger(__name__)
MOST_SPECTRA = 8192  # training spectra that the map is fitted to: twenty times the bands
BATCH = 64  # training images whose embeddings are compared


@dataclass(frozen=True)
class Growth:
    """What became of an encoder that was given other bands.

    Args:
        rebuilt: Names of the module's parameters that were rebuilt for the new bands.
        cosine: Median cosine between the features of a batch of the training part before and
            after; NaN when the old bands cannot be read from the folder.
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
    trained: SimCLR,
    old: BandSelection,
    *,
    plain: bool = False,
) -> Growth:
    """Give a module of other bands what a trained one has learned.

    Args:
        module: Of the bands of ``material``; changed in place.
        material: What the run works on; its training spectra tell what responses are to be kept.
        trained: The module of the old bands.
        old: Those bands, on the axis of the folder at hand where they are found there.
        plain: Interpolate the stem over nm and stop there, as a comparison.

    Raises:
        ModelError: If the two differ in more than their bands.
    """
    new = material.selection
    check_growable(old, new)
    reachable = old.axis == material.source.axis
    band_map = interpolation_map(old.wavelengths_nm, new.wavelengths_nm)
    spectra = None
    if reachable and not plain:
        spectra = seen(module, material, new)
        before = seen(trained, material, old)
        band_map = response_map(old.wavelengths_nm, new.wavelengths_nm, before, spectra)
    rebuilt = grow_weights(
        trained.encoder,
        module.encoder,
        old.wavelengths_nm,
        new.wavelengths_nm,
        band_map,
        spectra,
    )
    for name in ("head", "loss"):
        _take_over(name, trained, module)
    names = frozenset(f"encoder.{name}" for name in rebuilt)
    if not reachable:
        return Growth(names, *3 * (float("nan"),))
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


def resolved(old: BandSelection, material: Material) -> BandSelection:
    """Find old bands on the axis at hand by nm; those of another sensor stay as they are."""
    try:
        return old.resolve(material.source.axis)
    except BandError as error:
        log.warning(
            "the old bands are not in this folder, so the stem's weights are interpolated over nm "
            "without its spectra: %s",
            error,
        )
        return old


def seen(module: SimCLR, material: Material, bands: BandSelection) -> NDArray[np.float64]:
    """Return training spectra in some bands as a module's encoder gets them, ``(S, n)``."""
    samples = material.statistics.samples
    step = max(1, -(-len(samples) // MOST_SPECTRA))
    chosen = samples[::step][:, list(bands.indices)]
    pixels = torch.from_numpy(np.ascontiguousarray(chosen))[:, :, None, None].to(module.device)
    with torch.no_grad():
        prepared = module.prepare(pixels, torch.ones_like(pixels[:, :1], dtype=torch.bool))
    return np.asarray(prepared[:, :, 0, 0].cpu().numpy(), np.float64)


def _take_over(name: str, trained: SimCLR, module: SimCLR) -> None:
    try:
        getattr(module, name).load_state_dict(getattr(trained, name).state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"The checkpoint's {name} does not fit this run's: {reason} Only the bands may differ: "
            f"give the {name} settings of the checkpoint."
        ) from error


def _cosines(
    module: SimCLR, trained: SimCLR, material: Material, old: BandSelection
) -> tuple[float, float, float]:
    rows = torch.from_numpy(material.split.train[:BATCH])
    own = trained.bank, module.bank
    try:
        before = _features(trained, material, old, rows)
        after = _features(module, material, material.selection, rows)
    finally:
        trained.bank, module.bank = own
    with torch.no_grad():
        heads = [_head(trained, before), _head(module, after)]
    middle = before.mean(dim=0)
    return (
        _median_cosine(before, after),
        _median_cosine(before - middle, after - middle),
        _median_cosine(*heads),
    )


def _features(module: SimCLR, material: Material, bands: BandSelection, rows: Tensor) -> Tensor:
    module.bank = PlaneBank(
        material.source, bands.indices, module.device, Residency("mmap", "a batch")
    )
    return module.embed(rows)


def _head(module: SimCLR, features: Tensor) -> Tensor:
    was_training = module.head.training
    module.head.eval()
    embedded: Tensor = module.head(features.to(module.device)).cpu()
    module.head.train(was_training)
    return embedded


def _median_cosine(one: Tensor, other: Tensor) -> float:
    return float(functional.cosine_similarity(one.double(), other.double()).median())
