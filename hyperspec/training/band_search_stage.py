"""The search stage of ``bands=learned``: from all bands to a chosen set, within one run."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hyperspec.bands import Learned
from hyperspec.config.schema import Train
from hyperspec.evaluation.metrics import leading
from hyperspec.evaluation.responses import draw_choices
from hyperspec.models.encoder import Encoder, build_search_encoder, carry_over
from hyperspec.spectra.projection import selection_from_dict
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.run import JobRun
from hyperspec.training.band_search import BandSearch, SearchSettings
from hyperspec.training.builders import assemble_parts, open_bank, optimisation, placed
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.data import Material, facts_of
from hyperspec.training.scorer import Scorer
from hyperspec.training.session import Session
from hyperspec.training.simclr import SimCLR
from hyperspec.training.trainer import Stage, fit
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import ModelError

log = logging.getLogger(__name__)
SEARCH_CHECKPOINT = "search.ckpt"


@dataclass(frozen=True)
class Trained:
    """Encoder and head of a search, without the planes of all bands, and whose channel is whose.

    Args:
        encoder: Behind the selectors.
        head: Its projection head.
        order: Selector of each chosen band in channel order, shape ``(n,)``.
        cell_head: Its head over cells, if its loss has a local term.
    """

    encoder: Encoder
    head: nn.Module
    order: NDArray[np.intp]
    cell_head: nn.Module | None = None


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Args:
        material: The run's material with the chosen bands.
        epochs: Epochs of the training on them.
        ckpt: Checkpoint to continue that training from.
        trained: What the training goes on with; None where it starts anew.
        spent: What the search cost.
    """

    material: Material
    epochs: int
    ckpt: str | None = None
    trained: Trained | None = None
    spent: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def begin(self, module: SimCLR) -> Stage:
        """Give the module of the chosen bands what it starts from."""
        if self.trained is not None:
            carry_over(self.trained.encoder, module.encoder, self.trained.order)
            module.head.load_state_dict(self.trained.head.state_dict())
            if module.cell_head is not None and self.trained.cell_head is not None:
                module.cell_head.load_state_dict(self.trained.cell_head.state_dict())
        return Stage(self.epochs, self.ckpt)

    def cost(self, last: Mapping[str, float]) -> dict[str, float]:
        """Return what search and training cost together, and the search alone.

        Args:
            last: Cost of the training on the chosen bands.
        """
        if not self.spent:
            return {}
        seconds, peak = "cost/train_seconds", "cost/peak_memory_mb"
        return {
            "search/train_seconds": self.spent[seconds],
            seconds: self.spent[seconds] + last[seconds],
            peak: max(self.spent[peak], last[peak]),
        }


def learn(
    config: Train,
    strategy: Learned,
    material: Material,
    device: torch.device,
    run: JobRun,
    output_dir: Path,
    session: Session,
) -> Found:
    """Search for bands, or take them from the checkpoint that the run continues.

    Args:
        config: The checked config.
        strategy: Its ``bands``.
        material: Specimens with all good bands as candidates.
        device: The training device.
        run: The tracked run.
        output_dir: Folder of the job.
        session: What the sweep asks of the job; its ``search`` is of this stage.

    Raises:
        ConfigError: If there are too few epochs.
        ModelError: If the checkpoint is of another run.
    """
    inner = session.search or Session()
    ckpt = config.ckpt if inner.ckpt is None else str(inner.ckpt)
    checkpoint = None if ckpt is None else read_checkpoint(ckpt)
    if checkpoint is not None:
        facts = checkpoint["hyperspec"]
        before = _check_continues(facts, strategy, material, config)
        if facts.get("stage") != "search":
            resumed = dataclasses.replace(material, selection=before)
            return Found(resumed, strategy.final_epochs(config.epochs), config.ckpt)
    search = assemble_search(config, strategy, material, device)
    scorer = Scorer(material, search, config.evaluation)
    scorer.check_objective(config.objective)
    epochs = search.settings.epochs
    stage = Stage(epochs, ckpt, SEARCH_CHECKPOINT)
    spent = fit(config, material, search, run, output_dir, stage, inner.callbacks)
    # Kept once its scores are logged, so that a run that goes on from there logs them no more.
    logged = inner.ckpt is not None and checkpoint is not None and checkpoint["epoch"] >= epochs
    log_search(search, scorer, material, run, with_scores=not logged and world()[0] == 0)
    if inner.keep is not None and not logged:
        run.secure()
        inner.keep(output_dir / SEARCH_CHECKPOINT)
    indices = np.asarray(material.selection.indices)[search.selector.assignment()]
    chosen = strategy.chosen(material.source.axis, indices.tolist())
    log.info("bands=learned chose %s nm", np.round(chosen.wavelengths_nm, 1).tolist())
    # Candidates are in channel order, and so is the selection.
    trained = Trained(search.encoder, search.head, np.argsort(indices), search.cell_head)
    return Found(
        dataclasses.replace(material, selection=chosen),
        strategy.final_epochs(config.epochs),
        trained=None if strategy.restart else trained,
        spent=spent,
    )


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
    settings = SearchSettings(
        strategy.search_epochs(config.epochs),
        strategy.start_temperature,
        strategy.end_temperature,
        strategy.lr,
        strategy.duplicate_penalty,
        config.seed,
    )
    bank = open_bank(config, material, device)
    search = BandSearch(parts, bank, optimisation(config), settings, config.hardware.micro_batch)
    search.facts = {
        **facts_of(config, material),
        "stage": "search",
        "search_epochs": settings.epochs,
    }
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
    temperatures = [search.settings.temperature(epoch) for epoch in range(len(choices_nm))]
    run.log_figure(draw_choices(choices_nm, temperatures), "pictures/search.png")
    header = "epoch,temperature," + ",".join(f"nm_{i}" for i in range(choices_nm.shape[1]))
    rows = [
        ",".join([str(epoch), f"{warmth:.6g}", *(f"{nm:.2f}" for nm in chosen)])
        for epoch, (warmth, chosen) in enumerate(zip(temperatures, choices_nm, strict=True))
    ]
    run.log_text("\n".join([header, *rows, ""]), "evaluation/search.csv")


def _log_gaps(search: BandSearch, scorer: Scorer, run: JobRun) -> None:
    soft = scorer.validate()
    search.selector.hard = True
    hard = scorer.validate()
    metrics: dict[str, float] = {}
    for name in leading():
        if (key := f"val/{name}") in soft:
            metrics |= {
                f"search/soft_{name}": soft[key],
                f"search/hard_{name}": hard[key],
                f"search/gap_{name}": soft[key] - hard[key],
            }
    run.log_metrics(metrics, search.global_step)


def _check_continues(
    facts: Mapping[str, Any], strategy: Learned, material: Material, config: Train
) -> BandSelection:
    """Return the bands that a checkpoint speaks of.

    Raises:
        ModelError: If it does not belong to this run.
    """
    before = selection_from_dict(facts["bands"])
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
