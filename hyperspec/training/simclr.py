"""SimCLR as a Lightning module: two views on the device, one forward per view, one loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from hyperspec.datasets.loading.packed_planes import StoredPlanes
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.losses.dense import Cells, Combined, Terms
from hyperspec.losses.grad_cache import check_batch_independent, micro_batched
from hyperspec.tracking.contract import MetricName
from hyperspec.training.embedder import Embedder
from hyperspec.training.optimizer import Optimisation, build_optimizer, build_schedule, stepped
from hyperspec.training.parts import HasParts, Parts
from hyperspec.training.rounding import Rounding
from hyperspec.transforms.augment import FoldedView, ViewParams, Views
from hyperspec.utils.device_kind import kind_of
from hyperspec.utils.distributed import averaged, own, whole, world
from hyperspec.utils.transfer import send

NUM_VIEWS = 2


def streams(embedder: Embedder, views: Views) -> bool:
    """Say whether both views can be projected straight from the planes' narrow type."""
    linear = embedder.linear and views.commutes
    return linear and kind_of(embedder.device) == "cpu" and not views.reads_pixels


def _chosen(images: Tensor, masks: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return some items of a batch that was read ahead: all of them as they are, pinned or not."""
    everything = len(chosen) == len(images)
    return (images, masks) if everything else (images[chosen], masks[chosen])


def _by_item(both: Tensor) -> Tensor:
    """Put the views of an item side by side: ``(2 m, ...)`` to ``(m, 2, ...)``."""
    return torch.stack(both.chunk(NUM_VIEWS), dim=1)


class SimCLR(HasParts, pl.LightningModule):
    """Contrastive training of an encoder on two views of each specimen image.

    Each view goes: spectral operations in reflectance, reduction of bands to channels (with
    ``bands=binned`` and its like), normalisation, projection (with a linear bias-free stem), warp,
    backbone. With that order the projection commutes with everything spatial, and the warp acts on
    few channels.

    Args:
        parts: Encoder, projection head, loss, views and normalisation.
        bank: Gives the pixels of a batch.
        optimisation: Learning rate, schedule and weight decay.
        micro_batch: Images whose graph exists at once; None for the whole batch. The gradient is
            that of the whole batch either way (GradCache, Gao et al. 2021).

    Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations".
    """

    loss_name: ClassVar[str] = MetricName.TRAIN_LOSS

    def __init__(
        self,
        parts: Parts,
        bank: PlaneBank,
        optimisation: Optimisation,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.hold(parts, bank)
        self.optimisation, self.micro_batch = optimisation, micro_batch
        self.rounding = Rounding.of(self.normalisation, self.reduction, self.views)
        self.seen: tuple[Tensor, Tensor] | None = None
        """Features and embeddings of the last batch, for what watches the training."""
        if micro_batch is not None:
            for inside in (self.encoder, self.cell_head):
                if inside is not None:
                    check_batch_independent(inside)

    @property
    def folds(self) -> bool:
        """Whether factor, normalisation and projection are one product over the bands."""
        return self.embedder.linear and self.views.commutes

    def view(
        self, images: Tensor, masks: Tensor, params: ViewParams, basis: Tensor | None = None
    ) -> Tensor:
        """Make one view ready for :meth:`Encoder.features`, with what :meth:`Views.draw` drew.

        From reflectance ``(B, C, H, W)`` and the foreground ``(B, 1, H, W)``; ``basis`` is what
        views of one batch share (:meth:`Views.noise_basis`), computed here when it is not given.

        Returns:
            Shape ``(B, k, S, S)``; k is the stem's width with a projection in front of the warp,
            else n.
        """
        affine = self.normalisation.per_band_affine
        projects = self.encoder.projects and not self.encoder.composes
        if self.folds:
            pixels = self._folded(images, masks, params, basis)
        elif self.reduction is None and affine is not None and not projects:
            return self.views.deliver(images, params, masks, affine)
        else:
            pixels = self._long_way(images, masks, params)
            if projects:
                pixels = self.encoder.project(pixels)
        return self.views.warp(pixels, params)

    def _folded(
        self, images: Tensor, masks: Tensor, params: ViewParams, basis: Tensor | None
    ) -> Tensor:
        kind = images.device.type
        # Weights that are generated or selected are sums over hundreds of bands: never in half. The
        # product with the images is, where that keeps enough digits.
        with torch.autocast(kind, enabled=False):
            matrix, scale, offset, constant = self._linear_map()
        half = torch.is_autocast_enabled(kind) and self.rounding.bears(
            torch.get_autocast_dtype(kind)
        )
        with nullcontext() if half else torch.autocast(kind, enabled=False):
            pixels = self.views.project_view(images, masks, matrix, scale, offset, params, basis)
        if constant is None:
            return pixels
        return pixels + constant[:, None, None].to(pixels.dtype) * masks

    def _linear_map(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the projection behind normalisation and reduction as a map over bands.

        Returns:
            Weight ``(k, C)``, scale and offset per band ``(C,)`` in front of it, and what is added
            to the product, ``(k,)`` or None.
        """
        weight, scale, offset = self.embedder.linear_map()
        if self.reduction is None:
            return weight, scale, offset, None
        matrix = self.reduction.fold(weight, scale)
        return matrix, torch.ones_like(matrix[0]), torch.zeros_like(matrix[0]), weight @ offset

    def _long_way(self, images: Tensor, masks: Tensor, params: ViewParams) -> Tensor:
        if self.reduction is None:
            affine = self.normalisation.per_band_affine
            pixels = self.views.spectral(images, params, masks, affine)
            return pixels if affine is not None else self.normalisation(pixels, masks)
        return self.embedder.prepare(self.views.spectral(images, params, masks), masks)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; under DDP of this process's share, compared with all."""
        loss, terms = self.compare(*self.embed_batch(batch), labels=self.labels_of(batch))  # type: ignore[misc]  # three tensors at most
        count = len(batch.rows)
        # The mean over shares in one exchange: Lightning waits for all processes at each value.
        shown = (logged := averaged({**terms, self.loss_name: loss.detach()})).pop(self.loss_name)
        self.log_dict(logged, batch_size=count)
        self.log(self.loss_name, shown, batch_size=count)
        return loss

    def labels_of(self, batch: Batch) -> Tensor | None:
        """Return the codes of a batch's labels ``(B,)``, for a loss that takes them."""
        labels = self.labels
        return None if labels is None else send(labels[batch.rows.cpu()], self.device)

    def embed_batch(self, batch: Batch) -> tuple[Tensor, ...]:
        """Augment and embed a batch, in micro-batches if they are set; see :meth:`embed_views`."""
        count = len(batch.rows)
        with self.in_turn(count):
            return micro_batched(
                lambda chosen: self.embed_views(batch, chosen), count, self.micro_batch
            )

    @contextmanager
    def in_turn(self, count: int) -> Iterator[None]:
        """Draw the views of this process's share inside, as if one process drew for all in turn.

        Every process passes over the draws of the shares before its own, and behind, each
        of ``count`` items: each specimen gets the view that one process with the same
        micro-batches would give it, and the random states of all processes stay the same.
        """
        rank, processes = world()
        self._pass_over(rank, count)
        yield
        self._pass_over(processes - rank - 1, count)

    def _pass_over(self, shares: int, count: int) -> None:
        for _ in range(shares):
            for chunk in torch.split(torch.arange(count), self.micro_batch or count):
                for _ in range(NUM_VIEWS):
                    self.views.draw(len(chunk), device=torch.device("cpu"))

    def embed_views(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, ...]:
        """Augment and embed some items: features ``(m, 2, F)`` and what :meth:`compare` needs.

        With a local term also cells ``(m, 2, D, h, w)`` and matrices ``(m, 2, 3, 3)`` from view to
        source pixels: one forward pass serves both terms.
        """
        maps, drawn = self.maps_of(batch, chosen)
        features = _by_item(self.encoder.pool(maps))
        if self.cell_head is None:
            return (features,)
        inverse = torch.stack([params.inverse for params in drawn], dim=1)
        return features, _by_item(self.cell_head(maps)), inverse

    def maps_of(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, list[ViewParams]]:
        """Augment some items and run the encoder once on both views.

        Returns:
            Feature maps of both views, ``(2 m, ...)``, first views in front, and what was drawn for
            either view.
        """
        made, drawn = self.views_of(batch, chosen)
        return self.encoder.feature_map(torch.cat(made)), drawn

    def views_of(self, batch: Batch, chosen: Tensor) -> tuple[list[Tensor], list[ViewParams]]:
        """Return both views of some items, ready for the backbone, and what was drawn."""
        if streams(self.embedder, self.views):
            return self._streamed(batch, chosen)
        if batch.images is None or batch.masks is None:
            images, masks = self.bank.batch(batch.rows[chosen], self._pixel_type())
        else:
            images, masks = _chosen(batch.images, batch.masks, chosen)
            images, masks = self.bank.to_device(images, masks, self._pixel_type())
        basis = self._noise_basis() if self.folds else None
        drawn, made = [], []
        for _ in range(NUM_VIEWS):
            drawn.append(self.views.draw(len(images), device=images.device))
            made.append(self.view(images, masks, drawn[-1], basis))
        return made, drawn

    def _noise_basis(self) -> Tensor | None:
        if not self.views.config.noise_sd:
            return None
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            weight, scale, _, _ = self._linear_map()
            return self.views.noise_basis(weight, scale)

    def _streamed(self, batch: Batch, chosen: Tensor) -> tuple[list[Tensor], list[ViewParams]]:
        """Return what :meth:`view` makes one by one, up to rounding, without a batch of bands.

        Where stem, normalisation and spectral operations are one linear map per specimen, both
        views are projected from the stored planes, see
        :mod:`hyperspec.datasets.loading.packed_planes`. In float32 also under autocast: there is
        little to save on so few channels, and reflectance keeps its digits until the backbone.
        """
        stored, masks = self._stored(batch, chosen)
        with torch.autocast("cpu", enabled=False):
            basis = self._noise_basis()
            drawn, folded = [], []
            for _ in range(NUM_VIEWS):
                drawn.append(self.views.draw(len(stored), device=masks.device))
                folded.append(self._fold(drawn[-1], basis))
            pixels = self.views.project_views(stored, masks, folded)
            made = [self.views.warp(z, params) for z, params in zip(pixels, drawn, strict=True)]
        return made, drawn

    def _stored(self, batch: Batch, chosen: Tensor) -> tuple[StoredPlanes, Tensor]:
        if batch.images is None or batch.masks is None:
            rows = batch.rows[chosen]
            return self.bank.stored(rows), self.bank.masks(rows)
        images, masks = _chosen(batch.images, batch.masks, chosen)
        return StoredPlanes(images, range(len(chosen))), masks

    def _fold(self, params: ViewParams, basis: Tensor | None) -> FoldedView:
        matrix, scale, offset, constant = self._linear_map()
        view = self.views.fold(matrix, scale, offset, params, basis=basis)
        return view if constant is None else replace(view, constant=view.constant + constant)

    def _pixel_type(self) -> torch.dtype:
        """Return the type in which views read pixels.

        Where the one thing done with them is a product that autocast shortens, they are converted
        once for both views; on the way over float32 each view would convert them anew.
        """
        kind = self.device.type
        if torch.is_autocast_enabled(kind) and self.folds and not self.views.reads_pixels:
            short = torch.get_autocast_dtype(kind)
            return short if self.rounding.bears(short) else torch.float32
        return torch.float32

    def compare(
        self,
        features: Tensor,
        cells: Tensor | None = None,
        inverse: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a whole batch, and its terms by the name they are logged under.

        Under a process group the batch is that of all processes, the arguments are this process's
        share, and the mean of the processes' losses is the batch's.

        Args:
            features: Shape ``(B, 2, F)``.
            cells: Shape ``(B, 2, D, h, w)``, for a loss with a local term.
            inverse: Maps from view to source pixels of these cells, shape ``(B, 2, 3, 3)``.
            labels: Codes of the images' labels, ``(B,)``, for a loss that takes them.
        """
        # One head over both views: its BatchNorm needs the whole batch, as in SimCLR. Each process
        # runs it on the features of all, which are small, and compares its own share.
        every = whole(features)
        embeddings: Tensor = self.head(every.transpose(0, 1).flatten(0, 1))
        self.seen = (every.detach().flatten(0, 1), embeddings.detach())
        first, second = (own(view) for view in embeddings.chunk(NUM_VIEWS))
        given = () if labels is None else (labels,)
        if cells is None or inverse is None:
            loss: Tensor = self.loss(first, second, *given)
            return loss, {}
        assert isinstance(self.loss, Combined), "cells are embedded for a loss with a local term"
        places = Cells(cells, inverse, self.views.size, self.views.source_size)
        terms: Terms = self.loss(first, second, places, *given)
        return terms.total, {
            f"{self.loss_name}_global": terms.whole.detach(),
            f"{self.loss_name}_local": terms.local.detach(),
            MetricName.PAIRED_CELLS: terms.pairs,
        }

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Give the parameters of encoder and heads with their names in these."""
        for part in (self.encoder, self.head, self.cell_head):
            if part is not None:
                yield from part.named_parameters()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay, stepped per optimizer step."""
        optimizer = build_optimizer(self.trained_parameters(), self.optimisation)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, self.optimisation, total)
        return stepped(optimizer, schedule)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the run's own facts (bands, config) travel; see training.checkpoint."""
        checkpoint["hyperspec"] = self.facts

    facts: dict[str, Any] = {}  # noqa: RUF012 - replaced whole per run, never changed in place
