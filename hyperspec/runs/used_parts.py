"""Which of the parts that compute a job uses: those whose versions its result depends on."""

from __future__ import annotations

from collections.abc import Iterator

from hyperspec.bands import Learned
from hyperspec.config.schema import Train
from hyperspec.datasets.config import TilesData
from hyperspec.losses.config import CombinedConfig
from hyperspec.models import OPTIONS
from hyperspec.transforms.config import CrossModalViews, ViewsConfig
from hyperspec.utils.results_version import RESULTS

# Every job is scored by these.
_ALWAYS = ("splits", "statistics", "head", "training", "views.spatial")
_SCORES = ("evaluation.probes", "evaluation.retrieval", "evaluation.shape", "evaluation.intervals")


def parts_of(config: Train) -> dict[str, int]:
    """Return the parts that a job uses with their versions, sorted by name.

    What a plug-in brings is not in the table; its source counts instead.
    """
    return {part: RESULTS[part] for part in sorted(set(_used(config))) if part in RESULTS}


def _used(config: Train) -> Iterator[str]:
    yield from (*_ALWAYS, *_SCORES)
    yield "preparation.tiles" if isinstance(config.data, TilesData) else "preparation.folder"
    yield f"normalisation.{config.data.normalisation}"
    yield f"bands.{config.bands.name}"
    yield f"stems.{config.model.stem}"
    yield from (f"backbones.{one}" for one, kind in OPTIONS.items() if type(config.model) is kind)
    yield f"losses.{config.loss.name}"
    if isinstance(config.loss, CombinedConfig):
        yield f"losses.{config.loss.global_loss.name}"
    yield from _views(config.views)
    yield from _training(config)
    if config.evaluation.controls:
        yield "evaluation.controls"
    if config.evaluation.importance:
        yield "evaluation.importance"
    if config.evaluation.curve_strategies:
        yield "evaluation.curve"
        yield from (f"bands.{name}" for name in config.evaluation.curve_strategies)


def _views(views: ViewsConfig) -> Iterator[str]:
    if views.noise_sd > 0:
        yield "views.noise"
    widths = (views.shift_nm, views.smooth_fwhm_nm, views.erase_nm)
    if views.scales or max(*widths, views.drop_probability, views.mix_max) > 0:
        yield "views.spectral"
    if isinstance(views, CrossModalViews):
        yield "views.cross_modal"


def _training(config: Train) -> Iterator[str]:
    if config.hardware.micro_batch is not None:
        yield "training.micro_batch"
    if config.schedule:
        yield "training.schedule"
    if config.schedule or config.ckpt is not None or isinstance(config.bands, Learned):
        yield "training.growth"
    if config.model.sampling_minimum is not None:
        yield "training.band_sampling"
