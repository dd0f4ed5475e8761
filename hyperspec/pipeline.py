"""From a checked config to one score: read, choose bands, train, evaluate, log."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import RichProgressBar

from hyperspec.bands import Binned
from hyperspec.data.bank import PlaneBank, choose_residency, predicted_bytes
from hyperspec.data.datamodule import LoaderSettings, SpecimenData
from hyperspec.data.views import Views
from hyperspec.evaluation.responses import draw_responses
from hyperspec.evaluation.signatures import Signature, draw_signatures
from hyperspec.material import Material, gather
from hyperspec.models.encoder import build_encoder
from hyperspec.models.head import build_head
from hyperspec.models.selectors import FixedProjection
from hyperspec.restore import facts_of
from hyperspec.schema import Hardware, Train
from hyperspec.scoring import Scorer
from hyperspec.spectra.errors import ConfigError, ModelError
from hyperspec.spectra.normalisation import build_normalisation
from hyperspec.spectra.pixelwise import Normalisation
from hyperspec.spectra.projection import BandProjection
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking import names
from hyperspec.tracking.logger import RunLogger
from hyperspec.tracking.run import JobRun
from hyperspec.training.callbacks import CostMeter, GradientNorm, StopOnNonFinite, Validate
from hyperspec.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from hyperspec.training.module import Parts, SimCLR
from hyperspec.training.optimisation import Optimisation

log = logging.getLogger(__name__)
CHECKPOINT = "last.ckpt"


def quieten() -> None:
    """Keep Lightning's tips and device tables out of a sweep's log, where every job repeats them.

    The one deprecation is inside Lightning's own use of torch, and nothing of ours can mend it.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")


def execute(config: Train, run: JobRun, output_dir: Path) -> float:
    """Run one experiment and log it.

    Args:
        config: The checked config.
        run: The tracked run that everything is logged to.
        output_dir: Folder of the job, where its checkpoint is written.

    Returns:
        The objective, as named by ``config.objective``.
    """
    quieten()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with _threads(config.hardware.threads):
        material = gather(config.data, config.bands)
        describe(material, config, run)
        module = assemble(config, material, _device(config.hardware))
        untrained = copy.deepcopy(module.encoder)
        scorer = Scorer(material, module, config.evaluation)
        scorer.check_objective(config.objective)
        cost = fit(config, material, module, scorer, run, output_dir)
        metrics = {**scorer.final(run, untrained), **cost}
        objective = scorer.objective(metrics, config.objective)
        run.log_metrics({**metrics, names.OBJECTIVE: objective}, module.global_step)
    return objective


def describe(material: Material, config: Train, run: JobRun) -> None:
    """Log what the run works on: bands, hashes of data and split, and pictures."""
    selection = material.selection
    run.log_dict(selection.to_dict(), "bands.json")
    run.log_figure(picture(material), "pictures/bands.png")
    if isinstance(selection, BandProjection):
        run.log_figure(draw_responses(selection), "pictures/responses.png")
    run.log_params(
        {
            "bands.indices": names.as_text(list(selection.indices)),
            "bands.wavelengths_nm": names.as_text(
                [round(float(nm), 2) for nm in selection.wavelengths_nm]
            ),
            "bands.count": str(len(selection)),
            "data.num_cubes": str(len(material.source)),
            "data.num_specimens": str(len(set(material.specimens))),
        }
    )
    run.set_tags(
        {
            names.TAG_STRATEGY: selection.strategy,
            names.TAG_NUM_BANDS: str(len(selection)),
            names.TAG_BANDS_HASH: selection.hash,
            names.TAG_SPLIT_HASH: material.split.hash,
            names.TAG_DATA_HASH: material.source.hash,
            names.TAG_NUM_CLASSES: str(len(material.classes)),
            "mlflow.runName": names.run_name(
                selection.strategy,
                len(selection),
                getattr(config.loss, "temperature", None),
                config.lr,
                config.seed,
            ),
        }
    )


def picture(material: Material) -> Figure:
    """Draw the training part's spectra per class with the chosen bands under them."""
    classes = material.statistics.classes or {"all": material.statistics.moments}
    held = [(material.labels[row], material.specimens[row]) for row in material.split.train]
    signatures = [
        Signature(
            name,
            len({key for label, key in held if label == name or not material.classes}),
            moments.mean,
            np.sqrt(np.diag(moments.covariance)),
        )
        for name, moments in sorted(classes.items())
    ]
    selection = material.selection
    return draw_signatures(
        signatures,
        material.source.axis.wavelengths_nm,
        marks_nm={selection.strategy: selection.wavelengths_nm.tolist()},
    )


def assemble(config: Train, material: Material, device: torch.device) -> SimCLR:
    """Build the module that a config describes for the bands that were chosen."""
    selection, source = material.selection, material.source
    num_read = len(selection.indices)
    planes = predicted_bytes(len(source), num_read, source.size, source.dtype.itemsize)
    residency = choose_residency(config.data.residency, planes, device, config.data.memory_share)
    log.info("planes live in '%s': %s", residency.mode, residency.reason)
    views = Views(
        config.views,
        selection.bands_nm,
        source.size,
        axis_range_nm=selection.axis.range_nm,
        fill=material.statistics.mean[list(selection.indices)],
    )
    for hint in views.hints:
        log.warning("hint: %s", hint)
    encoder = build_encoder(
        config.model, selection.wavelengths_nm, checkpoint=config.hardware.checkpointing
    )
    normalisation, reduction = normalise_and_reduce(config.data.normalisation, material)
    head = build_head(config.head, encoder.num_features, unit=config.loss.unit_embeddings)
    module = SimCLR(
        Parts(encoder, head, config.loss.build(), views, normalisation, reduction),
        PlaneBank(source, selection.indices, device, residency),
        Optimisation(config.lr, config.weight_decay, config.warmup_steps),
        config.hardware.micro_batch,
    )
    module.facts = facts_of(config, material)
    return module.to(device)


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
                f"bands={selection.strategy} each span the whole axis. Take zscore or none, or "
                "bands=binned."
            )
        reduction = FixedProjection(selection.matrix)
    statistics = selection.statistics(material.statistics)
    return build_normalisation(name, statistics, selection.wavelengths_nm), reduction


def fit(
    config: Train,
    material: Material,
    module: SimCLR,
    scorer: Scorer,
    run: JobRun,
    output_dir: Path,
) -> dict[str, float]:
    """Train, write the checkpoint, and return what it cost."""
    hardware = config.hardware
    data = SpecimenData(
        module.bank,
        material.split,
        config.batch_size,
        config.seed,
        LoaderSettings(
            hardware.num_workers,
            hardware.pin_memory,
            hardware.persistent_workers,
            hardware.prefetch_factor,
        ),
    )
    if hardware.compile:
        module.encoder.backbone.compile()
    cost = CostMeter()
    on_gpu = module.device.type == "cuda"
    callbacks: list[pl.Callback] = [
        cost,
        GradientNorm(config.log_every_n_steps),
        StopOnNonFinite(material.files, config.log_every_n_steps if on_gpu else 1),
    ]
    if config.evaluation.every_n_epochs:
        callbacks.append(Validate(scorer.validate, config.evaluation.every_n_epochs))
    if sys.stderr.isatty():
        callbacks.append(RichProgressBar())
    trainer = pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        precision=hardware.precision,  # type: ignore[arg-type]  # Lightning checks the name
        max_epochs=config.epochs,
        accumulate_grad_batches=hardware.accumulate,
        gradient_clip_val=config.clip_norm,
        log_every_n_steps=min(config.log_every_n_steps, len(data.batches)),
        logger=RunLogger(run),
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=output_dir,
        enable_checkpointing=False,  # one checkpoint at the end, written below
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        use_distributed_sampler=False,  # EpochBatches shares out the batches itself
    )
    if config.ckpt is not None:
        check_same_bands(read_checkpoint(config.ckpt), module, config.ckpt)
    trainer.fit(module, datamodule=data, ckpt_path=config.ckpt)
    trainer.save_checkpoint(output_dir / CHECKPOINT)
    for name in (CHECKPOINT, f"{CHECKPOINT}.sha256"):
        run.log_artifact(output_dir / name, "checkpoints")
    return cost.metrics


def check_same_bands(checkpoint: dict[str, Any], module: SimCLR, path: str) -> None:
    """Refuse a checkpoint that was trained on other bands.

    Raises:
        ModelError: If it was; the message lists both sets.
    """
    before = BandSelection.from_dict(checkpoint["hyperspec"]["bands"])
    now = BandSelection.from_dict(module.facts["bands"])
    same = before.indices == now.indices and before.axis == now.axis
    if not (same and _same_weights(before, now)):
        differences = "; ".join(before.axis.differences(now.axis)) or "same axis"
        raise ModelError(
            f"ckpt='{path}' was trained on {len(before)} bands (bands={before.strategy}, "
            f"{before.wavelengths_nm.min():.1f}-{before.wavelengths_nm.max():.1f} nm), this run "
            f"has {len(now)} (bands={now.strategy}, {now.wavelengths_nm.min():.1f}-"
            f"{now.wavelengths_nm.max():.1f} nm; {differences}). Use the same bands, or start "
            "anew with ckpt=null."
        )


def _same_weights(one: BandSelection, other: BandSelection) -> bool:
    if isinstance(one, BandProjection) and isinstance(other, BandProjection):
        # Eigenvectors of the same data differ by rounding between machines.
        same = one.matrix.shape == other.matrix.shape
        return same and np.allclose(one.matrix, other.matrix, atol=1e-6)
    return isinstance(one, BandProjection) == isinstance(other, BandProjection)


def _device(hardware: Hardware) -> torch.device:
    if hardware.accelerator == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if hardware.accelerator == "gpu":
        raise ConfigError(
            "hardware.accelerator is gpu, but torch sees no CUDA device. Choose hardware=cpu, or "
            "install a torch build for this GPU."
        )
    return torch.device("cpu")


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use so many CPU threads inside; a process that runs several jobs gets its own back."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
