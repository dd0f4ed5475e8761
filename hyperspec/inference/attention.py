"""What the stem ``attention`` weighs: a curve over wavelengths, kept with the run."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from hyperspec.evaluation.pictures import new_axes
from hyperspec.models.stems.wavelength import BandAttention
from hyperspec.tracking.contract import Artifact
from hyperspec.tracking.run import JobRun
from hyperspec.training.data import Material
from hyperspec.training.embedder import Embedder

QUANTILES = (0.05, 0.95)


def log_attention(material: Material, embedder: Embedder, run: JobRun) -> None:
    """Keep the bands' weights on the test part as a picture and a table; nothing for other stems.

    Writes ``pictures/attention.png`` and ``evaluation/attention.csv`` (wavelength, mean, 5% and 95%
    quantile over the part's images). A weight of 1 leaves a band as it is, as at the start of
    training; the range is 0 to 2.
    """
    weights = attention_weights(embedder, torch.from_numpy(material.split.test))
    if weights is None:
        return
    nm = torch.as_tensor(material.selection.wavelengths_nm)
    low, high = (weights.quantile(q, dim=0) for q in QUANTILES)
    order = nm.argsort()  # a list of bands may come in any order
    columns = [column[order] for column in (nm, weights.mean(0), low, high)]
    run.log_figure(draw_attention(*columns), Artifact.ATTENTION_PICTURE)
    lines = [
        f"{at:.2f},{mean:.6f},{least:.6f},{most:.6f}"
        for at, mean, least, most in zip(*(column.tolist() for column in columns), strict=True)
    ]
    header = "wavelength_nm,weight,weight_q05,weight_q95"
    run.log_text("\n".join([header, *lines, ""]), Artifact.ATTENTION_TABLE)


@torch.no_grad()
def attention_weights(embedder: Embedder, rows: Tensor) -> Tensor | None:
    """Return the weight of each band in each image, without augmentation.

    Args:
        embedder: A run's embedder.
        rows: Row numbers in its bank, shape ``(N,)``.

    Returns:
        Shape ``(N, n)`` on the CPU, 0 to 2; None if the stem is another one.
    """
    first = next(iter(embedder.encoder.backbone.stages))
    if not isinstance(first, BandAttention):
        return None
    parts = [
        first.band_weights(embedder.prepare(*embedder.bank.batch(some))).float().cpu()
        for some in torch.split(rows, embedder.at_once())
    ]
    return torch.cat(parts)


def draw_attention(nm: Tensor, mean: Tensor, low: Tensor, high: Tensor) -> Figure:
    """Draw the mean weight over ascending wavelengths and the range over images, ``(n,)`` each.

    ``low`` and ``high`` are quantiles over images; wavelengths are in nanometres.
    """
    figure, axes = new_axes(8, 3.5)
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
    axes.fill_between(
        nm.numpy(), low.numpy(), high.numpy(), alpha=0.25, linewidth=0, label="5 to 95% of images"
    )
    marker = "o" if len(nm) <= 60 else None
    axes.plot(nm.numpy(), mean.numpy(), color="tab:blue", marker=marker, markersize=3, label="mean")
    axes.set(xlabel="wavelength (nm)", ylabel="weight of the band (1: as it is)")
    axes.legend(frameon=False)
    return figure
