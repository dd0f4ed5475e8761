"""From a config and the chosen bands, or a checkpoint's weights, to a module."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from hyperspec.bands import Binned
from hyperspec.bands.filters import WHITE_PHOTONS
from hyperspec.config.plain import from_plain
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank, choose_residency, predicted_bytes
from hyperspec.losses.config import CombinedConfig
from hyperspec.losses.cross_modal import CrossModalLoss
from hyperspec.losses.supcon import UNLABELLED
from hyperspec.models.config import PretrainableConfig
from hyperspec.models.cross_modal import WindowBackbone, WindowHeads, build_window_encoder
from hyperspec.models.encoder import Encoder, build_encoder
from hyperspec.models.heads import CellHead, build_head
from hyperspec.models.stems.concrete import FixedProjection, PhotonProjection
from hyperspec.spectra.band_projection import BandProjection, selection_from_dict
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.data import Material, facts_of
from hyperspec.training.parts import Assembled, Parts
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import CrossModalViews
from hyperspec.transforms.normalisation.normalisation import build_normalisation
from hyperspec.transforms.normalisation.pixelwise import Normalisation
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from hyperspec.training.optimizer import Optimisation
    from hyperspec.training.simclr import SimCLR

log = logging.getLogger(__name__)

M = TypeVar("M", "SimCLR", Assembled)


def assemble(
    config: Train, material: Material, device: torch.device, bank: PlaneBank | None = None
) -> SimCLR:
    """Build the module of a config for the bands that were chosen; without a bank one is opened."""
    # Imported here: what only reads a checkpoint needs no Lightning.
    from hyperspec.training.cross_modal import CrossModal
    from hyperspec.training.simclr import SimCLR

    kind = CrossModal if isinstance(config.views, CrossModalViews) else SimCLR
    module = kind(
        build_parts(config, material),
        open_bank(config, material, device) if bank is None else bank,
        optimisation(config),
        config.hardware.micro_batch,
    )
    module.facts = facts_of(config, material)
    return placed(module, device)


def build_parts(config: Train, material: Material) -> Parts:
    """Build all parts of a config's module for the bands that were chosen."""
    if isinstance(config.views, CrossModalViews):
        encoder, heads, loss = build_windows(config, config.views, material)
        parts = assemble_parts(config, material, encoder)
        return dataclasses.replace(parts, head=heads, loss=loss)
    encoder = build_encoder(
        config.model,
        material.selection.wavelengths_nm,
        fwhm_nm=material.selection.fwhm_nm,
        checkpoint=config.hardware.checkpointing,
    )
    return assemble_parts(config, material, encoder)


def build_windows(
    config: Train, views: CrossModalViews, material: Material
) -> tuple[Encoder, nn.Module, nn.Module]:
    """Build encoder, heads and loss of ``views=cross_modal``.

    Raises:
        ConfigError: If a window has no chosen band.
    """
    selection = material.selection
    encoder = build_window_encoder(
        config.model,
        selection.wavelengths_nm,
        views.places(selection.wavelengths_nm.tolist()),
        views.fusion,
        fwhm_nm=selection.fwhm_nm,
        checkpoint=config.hardware.checkpointing,
    )
    backbone = encoder.backbone
    assert isinstance(backbone, WindowBackbone), "made by build_window_encoder"
    fused = backbone.score is not None
    width = backbone.num_features if fused else backbone.num_features // backbone.num_windows
    heads = [
        build_head(config.head, width, unit=config.loss.normalised)
        for _ in range(backbone.num_windows + fused)
    ]
    loss = CrossModalLoss(config.loss.build(), views.intra_weight)
    return encoder, WindowHeads(heads), loss


def placed(module: M, device: torch.device) -> M:
    """Move a module to its device, kernels with their channels last.

    Convolutions are 1.1 to 1.3 times as fast with it on a CPU, and need it for half precision on a
    GPU; results differ in rounding.
    """
    module.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.to(device)


def assemble_parts(config: Train, material: Material, encoder: Encoder) -> Parts:
    """Build what stands around an encoder: views of the bands, normalisation, head and loss."""
    selection = material.selection
    views = Views(
        config.views,
        selection.bands_nm,
        material.source.size,
        axis_range_nm=selection.axis.range_nm,
        fill=material.statistics.mean[list(selection.indices)],
    )
    for hint in views.hints:
        log.warning("hint: %s", hint)
    normalisation, reduction = normalise_and_reduce(config.data.normalisation, material)
    head = build_head(config.head, encoder.num_features, unit=config.loss.normalised)
    loss = config.loss.build()
    cell_head = None
    if isinstance(config.loss, CombinedConfig):
        hidden = config.loss.local_hidden or encoder.num_features
        cell_head = CellHead(encoder.num_features, hidden, config.loss.local_dim)
    labels = training_labels(material) if config.loss.supervised else None
    return Parts(encoder, head, loss, views, normalisation, reduction, cell_head, labels)


def training_labels(material: Material) -> Tensor:
    """Return the code of each row's label, int64 ``(N,)``, for the training part alone.

    Rows of every other part have none, -1, whatever the catalogue says of them: a loss cannot see
    what it is to be tested on.
    """
    train = material.split.train
    names = sorted({label for row in train if (label := material.labels[row]) is not None})
    code = {name: number for number, name in enumerate(names)}
    found = torch.full((len(material.labels),), UNLABELLED)
    for row in train.tolist():
        if (label := material.labels[row]) is not None:
            found[row] = code[label]
    return found


def open_bank(config: Train, material: Material, device: torch.device) -> PlaneBank:
    """Bring the planes of the bands that are read to where they live while the run trains."""
    source, indices = material.source, material.selection.indices
    planes = predicted_bytes(len(source), len(indices), source.size, source.dtype.itemsize)
    residency = choose_residency(
        config.data.residency,
        planes,
        device,
        config.data.memory_share,
        jobs=config.hardware.jobs_per_device,
        processes=world()[1],
    )
    log.info("planes live in '%s': %s", residency.mode, residency.reason)
    return PlaneBank(source, indices, device, residency)


def optimisation(config: Train) -> Optimisation:
    """Return the settings of the optimizer."""
    from hyperspec.training.optimizer import Optimisation

    return Optimisation(config.lr, config.weight_decay, config.warmup_steps)


def normalise_and_reduce(
    name: str, material: Material
) -> tuple[Normalisation, FixedProjection | None]:
    """Build the normalisation of the channels, and what makes channels of bands.

    Raises:
        ConfigError: If the normalisation reads neighbouring wavelengths, but a channel has none.
    """
    selection = material.selection
    reduction = None
    if isinstance(selection, BandProjection):
        if name in ("derivative", "continuum") and selection.strategy != Binned.name:
            raise ConfigError(
                f"data.normalisation={name} compares neighbouring wavelengths, but the channels of "
                f"bands={selection.strategy} are sums of bands far apart. Take zscore or none, or "
                "bands=binned."
            )
        photons = selection.params.get(WHITE_PHOTONS)
        reduction = (
            FixedProjection(selection.matrix)
            if photons is None
            else PhotonProjection(selection.matrix, photons)
        )
    statistics = selection.statistics(material.statistics)
    return build_normalisation(name, statistics, selection.wavelengths_nm), reduction


def read_config(checkpoint: Mapping[str, Any], path: Path | str) -> Train:
    """Return the config of the run that wrote a checkpoint.

    Raises:
        ModelError: If the checkpoint carries none.
    """
    plain = checkpoint["hyperspec"].get("config")
    if plain is None:
        raise ModelError(
            f"'{path}' carries no config, so its encoder cannot be rebuilt: it was written by an "
            "earlier version. Train it anew."
        )
    try:
        config = from_plain(plain)
    except RecursionError as error:
        raise ModelError(f"The config in '{path}' is nested too deeply.") from error
    if not isinstance(config, Train):
        raise ModelError(f"What '{path}' carries as its config is none: {str(plain)[:80]!r}.")
    return config


def read_bands(checkpoint: Mapping[str, Any], path: Path | str) -> BandSelection:
    """Return the bands that a checkpoint was trained on, on their own axis.

    Raises:
        ModelError: If it carries none, or what it carries was edited or damaged.
    """
    try:
        return selection_from_dict(checkpoint["hyperspec"]["bands"])
    except Exception as error:  # plain values of somebody else raise whatever they happen to be
        raise ModelError(
            f"The bands in '{path}' cannot be read ({_reason(error)}). Take a checkpoint that "
            "hyperspec wrote."
        ) from error


def _reason(error: Exception) -> str:
    missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return missing.rstrip(".") or type(error).__name__


def load(
    config: Train,
    material: Material,
    weights: Mapping[str, Any],
    path: Path | str,
    device: torch.device,
    bank: PlaneBank | None = None,
) -> Assembled:
    """Build a config's parts and give them the weights of a checkpoint, in evaluation mode.

    ``material`` has the bands that it was trained on; ``path``, its file, is for the message.
    Without a bank one is opened.

    Raises:
        ModelError: If the weights do not fit.
    """
    model = config.model
    if isinstance(model, PretrainableConfig) and getattr(model, "norm", "") != "frozen":
        # The checkpoint holds every weight; pretrained ones need not be there. (Frozen
        # normalisation exists with weights only.)
        model = dataclasses.replace(model, weights=None)
    parts = build_parts(dataclasses.replace(config, model=model), material)
    own = open_bank(config, material, device) if bank is None else bank
    module = placed(Assembled(parts, own), device)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The weights of '{path}' do not fit its own config: {reason}") from error
    module.eval()
    return module
