"""The search of ``bands=learned``: SimCLR behind concrete selectors that anneal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from hyperspec.datasets.loading.plane_cache import Batch, PlaneBank
from hyperspec.models.stems.concrete import ConcreteSelector, SelectedProjection
from hyperspec.tracking.contract import MetricName
from hyperspec.training.optimizer import Optimisation, build_optimizer, build_schedule
from hyperspec.training.simclr import Parts, SimCLR
from hyperspec.utils.distributed import world


@dataclass(frozen=True)
class SearchSettings:
    """How the selectors anneal.

    Args:
        epochs: Epochs of the search, at least 2.
        start_temperature: Temperature of the first epoch.
        end_temperature: Temperature of the last epoch, above 0.
        lr: Learning rate of the logits.
        duplicate_penalty: Weight of the penalty on bands that several selectors want.
        seed: Seed of the selectors' noise.
    """

    epochs: int
    start_temperature: float
    end_temperature: float
    lr: float
    duplicate_penalty: float
    seed: int

    def temperature(self, epoch: int) -> float:
        """Return the temperature of an epoch, 0 to ``epochs`` - 1: a geometric fall.

        Source: Balin, Abid, Zou 2019, "Concrete Autoencoders", section 3: T0 (TB / T0)^(b / B).
        """
        done = min(epoch / max(self.epochs - 1, 1), 1.0)
        factor: float = (self.end_temperature / self.start_temperature) ** done
        return self.start_temperature * factor


class BandSearch(SimCLR):
    """Contrastive training of an encoder together with the selectors in front of it.

    All of its state is in the ``state_dict`` or follows from epoch and step, so that a checkpoint
    in the middle of the annealing continues it.

    Args:
        parts: As of :class:`SimCLR`; the encoder is one of ``build_search_encoder``.
        bank: Gives all bands.
        optimisation: Of the encoder.
        settings: Of the selectors.
        micro_batch: As of :class:`SimCLR`.
    """

    loss_name: ClassVar[str] = MetricName.SEARCH_LOSS
    history: Tensor

    def __init__(
        self,
        parts: Parts,
        bank: PlaneBank,
        optimisation: Optimisation,
        settings: SearchSettings,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__(parts, bank, optimisation, micro_batch)
        self.settings = settings
        rows = len(self.selector.logits)
        self.register_buffer("history", torch.full((settings.epochs, rows), -1))

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
        self.selector.temperature.fill_(self.settings.temperature(self.current_epoch))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw the step's noise, the same on every process and in every continued run."""
        key = [self.settings.seed, self.current_epoch, batch_idx]
        self.selector.resample(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the contrastive loss and the penalty on duplicates."""
        return super().training_step(batch, batch_idx) + (
            self.settings.duplicate_penalty * self.selector.duplicate_penalty()
        )

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's choice and log how decided the selectors are."""
        selector = self.selector
        with torch.no_grad():
            likeliest = selector.logits.argmax(dim=1).tolist()
            self.log_dict(
                {
                    MetricName.SEARCH_TEMPERATURE: selector.temperature.clone(),
                    MetricName.SEARCH_ENTROPY: selector.entropy(),
                    MetricName.SEARCH_PROBABILITY: selector.probabilities().amax(1).mean(),
                    MetricName.SEARCH_DUPLICATES: float(len(likeliest) - len(set(likeliest))),
                },
                sync_dist=world()[1] > 1,  # the same everywhere; else Lightning warns
            )
        # A continued run may have fewer epochs than before; the last row then keeps its latest.
        place = min(self.current_epoch, len(self.history) - 1)
        self.history[place] = torch.as_tensor(selector.assignment(), device=self.history.device)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW as of :class:`SimCLR`, with a constant rate of their own for the logits."""
        logits = self.selector.logits
        named: list[tuple[str, Any]] = [
            *self.encoder.named_parameters(),
            *self.head.named_parameters(),
            *(self.cell_head.named_parameters() if self.cell_head else ()),
        ]
        optimizer = build_optimizer(
            [(k, p) for k, p in named if p is not logits], self.optimisation
        )
        optimizer.add_param_group({"params": [logits], "lr": self.settings.lr, "weight_decay": 0.0})
        total = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, self.optimisation, total)
        schedule.lr_lambdas[-1] = lambda step: 1.0
        optimizer.param_groups[-1]["lr"] = self.settings.lr  # undoes the schedule's first step
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"},
        }
