"""The search stage of ``bands=learned``: from all bands to a chosen set, within one run."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from hyperspec.bands import Learned
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.evaluation.metrics import leading
from hyperspec.evaluation.pictures import draw_choices
from hyperspec.models.encoder import build_search_encoder
from hyperspec.models.stems.concrete import ConcreteSelector, SelectedProjection
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import Artifact, MetricName
from hyperspec.tracking.lightning import log_now
from hyperspec.tracking.run import JobRun
from hyperspec.training.builders import assemble_parts, open_bank, optimisation, placed, read_bands
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.context import RunContext, Session
from hyperspec.training.controls import check_weights
from hyperspec.training.data import Material, facts_of
from hyperspec.training.optimizer import Optimisation, build_optimizer, build_schedule, stepped
from hyperspec.training.parts import Parts
from hyperspec.training.progressive import Carried, Stage, Start
from hyperspec.training.scorer import Scorer
from hyperspec.training.simclr import SimCLR
from hyperspec.training.trainer import fit
from hyperspec.utils.device_memory import free_memory
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import ModelError


class BandSearch(SimCLR):
    """Contrastive training of an encoder together with the selectors in front of it.

    All of its state is in the ``state_dict`` or follows from epoch and step, so that a
    checkpoint in the middle of the annealing continues it. The encoder is one of
    ``build_search_encoder``; the strategy and at least 2 epochs say how the selectors anneal,
    the seed is that of their noise, the rest is as of :class:`SimCLR`.
    """

    loss_name: ClassVar[str] = MetricName.SEARCH_LOSS
    history: Tensor

    def __init__(
        self,
        parts: Parts,
        bank: PlaneBank,
        optimisation: Optimisation,
        strategy: Learned,
        epochs: int,
        seed: int,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__(parts, bank, optimisation, micro_batch)
        self.strategy, self.epochs, self.seed = strategy, epochs, seed
        self.register_buffer("history", torch.full((epochs, len(self.selector.logits)), -1))

    def temperature(self, epoch: int) -> float:
        """Return the temperature of an epoch of the search."""
        return self.strategy.temperature(epoch, self.epochs)

    @property
    def selector(self) -> ConcreteSelector:
        """The selectors."""
        projection = self.encoder.projection
        assert isinstance(projection, SelectedProjection), "not from build_search_encoder"
        return projection.selector

    @property
    def choices(self) -> NDArray[np.intp]:
        """Bands chosen at the end of each epoch so far, shape ``(epochs, n)``."""
        kept = self.history[(self.history >= 0).all(dim=1)]
        return np.asarray(kept.cpu().numpy(), np.intp)

    def on_train_epoch_start(self) -> None:
        """Set the epoch's temperature."""
        self.selector.temperature.fill_(self.temperature(self.current_epoch))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw the step's noise, the same on every process and in every continued run."""
        key = [self.seed, self.current_epoch, batch_idx]
        self.selector.resample(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the contrastive loss and the penalty on duplicates."""
        return super().training_step(batch, batch_idx) + (
            self.strategy.duplicate_penalty * self.selector.duplicate_penalty()
        )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Keep the epoch's choice, before its checkpoint, and log how decided the selectors are."""
        if not self.trainer.is_last_batch:
            return
        selector = self.selector
        with torch.no_grad():
            likeliest = selector.logits.argmax(dim=1).tolist()
            metrics: dict[str, Tensor | int] = {
                MetricName.SEARCH_TEMPERATURE: selector.temperature,
                MetricName.SEARCH_ENTROPY: selector.entropy(),
                MetricName.SEARCH_PROBABILITY: selector.probabilities().amax(1).mean(),
                MetricName.SEARCH_DUPLICATES: len(likeliest) - len(set(likeliest)),
            }
            # The same on every process.
            log_now(self.trainer, {name: float(value) for name, value in metrics.items()})
        # A continued run may have fewer epochs than before; the last row then keeps its latest.
        place = min(self.current_epoch, len(self.history) - 1)
        self.history[place] = torch.as_tensor(selector.assignment(), device=self.history.device)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW as of :class:`SimCLR`, with a constant rate of their own for the logits."""
        logits = self.selector.logits
        others = [(name, p) for name, p in self.trained_parameters() if p is not logits]
        optimizer = build_optimizer(others, self.optimisation)
        optimizer.add_param_group({"params": [logits], "lr": self.strategy.lr, "weight_decay": 0.0})
        total = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, self.optimisation, total)
        schedule.lr_lambdas[-1] = lambda step: 1.0
        optimizer.param_groups[-1]["lr"] = self.strategy.lr  # undoes the schedule's first step
        return stepped(optimizer, schedule)


log = logging.getLogger(__name__)
SEARCH_CHECKPOINT = "search.ckpt"


@dataclass(frozen=True)
class Found:
    """The bands of a run, given or found by a search, what training starts from, what it cost."""

    data: Material
    start: Start
    spent: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def cost(self, last: Mapping[str, float]) -> dict[str, float]:
        """Return what search and the last training cost together, and the search alone."""
        if not self.spent:
            return {}
        seconds, peak = MetricName.TRAIN_SECONDS, MetricName.PEAK_MEMORY
        return {
            MetricName.SEARCH_SECONDS: self.spent[seconds],
            seconds: self.spent[seconds] + last[seconds],
            peak: max(self.spent[peak], last[peak]),
        }


def choose_bands(context: RunContext) -> Found:
    """Return the bands that a strategy has chosen, or search for those of ``bands=learned``."""
    config = context.config
    if not isinstance(config.bands, Learned):
        return Found(context.data, Start(config.epochs, config.ckpt))
    found = learn(context, config.bands)
    free_memory()  # the planes of all bands
    # From here on the run is that of any other choice of bands.
    pl.seed_everything(config.seed, workers=True, verbose=False)
    return found


def learn(context: RunContext, strategy: Learned) -> Found:
    """Search for bands, or take them from the checkpoint that the run continues.

    The context has all good bands as candidates; its session's ``search`` is of this stage.

    Raises:
        ConfigError: If there are too few epochs.
        ModelError: If the checkpoint is of another run.
    """
    config, material, run = context.config, context.data, context.run
    inner = context.session.search or Session()
    ckpt = config.ckpt if inner.ckpt is None else str(inner.ckpt)
    checkpoint = None if ckpt is None else read_checkpoint(ckpt)
    final_epochs = strategy.final_epochs(config.epochs)
    if checkpoint is not None:
        facts = checkpoint["hyperspec"]
        before = _check_continues(facts, strategy, material, config)
        if facts.get("stage") != "search":
            resumed = dataclasses.replace(material, selection=before)
            return Found(resumed, Start(final_epochs, config.ckpt))
    search = assemble_search(config, strategy, material, context.device)
    scorer = Scorer(material, search, config.evaluation)
    scorer.check_objective(config.objective)
    check_weights(config.evaluation)
    epochs = search.epochs
    stage = Stage(search, epochs, ckpt, SEARCH_CHECKPOINT)
    spent = fit(context, stage, inner.callbacks).cost
    # Kept once its scores are logged, so that a run that goes on from there logs them no more.
    logged = inner.ckpt is not None and checkpoint is not None and checkpoint["epoch"] >= epochs
    log_search(search, scorer, material, run, with_scores=not logged and world()[0] == 0)
    if inner.keep is not None and not logged:
        run.secure()
        inner.keep(context.folder / SEARCH_CHECKPOINT)
    indices = np.asarray(material.selection.indices)[search.selector.assignment()]
    chosen = strategy.chosen(material.source.axis, indices.tolist())
    log.info("bands=learned chose %s nm", np.round(chosen.wavelengths_nm, 1).tolist())
    # Candidates are in channel order, and so is the selection.
    carried = Carried(search.encoder, search.head, np.argsort(indices), search.cell_head)
    start = Start(final_epochs, carried=None if strategy.restart else carried)
    return Found(dataclasses.replace(material, selection=chosen), start, spent)


def assemble_search(
    config: Train, strategy: Learned, material: Material, device: torch.device
) -> BandSearch:
    """Build the module of the search: all bands in, selectors, the model's own stem behind them."""
    encoder = build_search_encoder(
        config.model,
        material.selection.bands_nm,
        strategy.n,
        fwhm_nm=material.selection.fwhm_nm,
        checkpoint=config.hardware.checkpointing,
    )
    parts = assemble_parts(config, material, encoder)
    search = BandSearch(
        parts,
        open_bank(config, material, device),
        optimisation(config),
        strategy,
        strategy.search_epochs(config.epochs),
        config.seed,
        config.hardware.micro_batch,
    )
    facts = facts_of(config, material)
    search.facts = {**facts, "stage": "search", "search_epochs": search.epochs}
    placed(search, device)
    return search


def log_search(
    search: BandSearch, scorer: Scorer, material: Material, run: JobRun, *, with_scores: bool
) -> None:
    """Log the soft selection's scores beside the hard one's, and the choice of each epoch.

    Leaves the selectors hard.
    """
    if with_scores:
        _log_gaps(search, scorer, run)
    search.selector.hard = True
    choices_nm = material.selection.bands_nm[search.choices]
    temperatures = [search.temperature(epoch) for epoch in range(len(choices_nm))]
    run.log_figure(draw_choices(choices_nm, temperatures), Artifact.SEARCH_PICTURE)
    header = "epoch,temperature," + ",".join(f"nm_{i}" for i in range(choices_nm.shape[1]))
    rows = [
        ",".join([str(epoch), f"{warmth:.6g}", *(f"{nm:.2f}" for nm in chosen)])
        for epoch, (warmth, chosen) in enumerate(zip(temperatures, choices_nm, strict=True))
    ]
    run.log_text("\n".join([header, *rows, ""]), Artifact.SEARCH_TABLE)


def _log_gaps(search: BandSearch, scorer: Scorer, run: JobRun) -> None:
    soft = scorer.validate()
    search.selector.hard = True
    hard = scorer.validate()
    metrics: dict[str, float] = {}
    for name in leading():
        if (key := f"val/{name}") in soft:
            metrics |= {
                MetricName.SEARCH.of(f"soft_{name}"): soft[key],
                MetricName.SEARCH.of(f"hard_{name}"): hard[key],
                MetricName.SEARCH.of(f"gap_{name}"): soft[key] - hard[key],
            }
    run.log_metrics(metrics, search.global_step)


def _check_continues(
    facts: Mapping[str, Any], strategy: Learned, material: Material, config: Train
) -> BandSelection:
    """Return the bands that a checkpoint speaks of.

    Raises:
        ModelError: If it does not belong to this run.
    """
    before = read_bands({"hyperspec": facts}, str(config.ckpt))
    known = before.params.get("n")
    problem = ""
    if before.strategy != strategy.name:
        problem = f"was trained on bands={before.strategy}, this run has bands=learned"
    elif before.axis != material.source.axis:
        found = "; ".join(before.axis.differences(material.source.axis))
        problem = f"was trained on another axis: {found}"
    elif known != strategy.n:
        problem = f"has bands.n={known}, this run has bands.n={strategy.n}"
    elif facts.get("search_epochs") not in (None, strategy.search_epochs(config.epochs)):
        problem = (
            f"anneals over {facts['search_epochs']} epochs, this run over "
            f"{strategy.search_epochs(config.epochs)} (epochs={config.epochs}, "
            f"bands.search_share={strategy.search_share:g})"
        )
    if problem:
        raise ModelError(
            f"ckpt='{config.ckpt}' {problem}. Use the same settings, or start anew with ckpt=null."
        )
    return before
