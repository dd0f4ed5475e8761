"""The numbers that sweeps and searches optimise: one, or several that contradict each other."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Collection, Mapping, Sequence

from hyperspec.evaluation.metrics import (
    CONTROL_PREFIXES,
    METRICS,
    NUM_BANDS,
    leading,
    measured,
    metric_of,
    score_of,
)
from hyperspec.utils.errors import ConfigError, HyperspecError

log = logging.getLogger(__name__)
AUTO = "auto"
# Nothing is chosen on these: the test part, what is held out, and what shows their worth.
_FORBIDDEN = (
    *("test/", "held_out/", "random_split/", "inflation/", "confounder/"),
    *CONTROL_PREFIXES.values(),
)
_NEEDS = {
    "labels": "labels (data.labels)",
    "views": "two named views of a specimen",
    "images": "two images of a specimen",
}
RANKME_WARNING = (
    "objective=auto resolves to val/rankme: there are no labels and each specimen has one view. "
    "RankMe counts the directions that an embedding uses; it is no accuracy, and a higher value "
    "is not in itself a better encoder."
)


def objective_names(requested: object) -> tuple[str, ...]:
    """Return what ``objective`` names, one metric or a list of them, as a tuple.

    Raises:
        ConfigError: If it is neither, empty, or names a metric twice.
    """
    listed = isinstance(requested, Sequence) and not isinstance(requested, str)
    given = requested if isinstance(requested, Sequence) and listed else [requested or AUTO]
    names = [name for name in given if isinstance(name, str) and name]
    if len(names) < len(given) or not names:
        raise ConfigError(
            f"objective is {requested!r}; give the name of a metric, for example val/knn_top1, or "
            f"a list of names, for example [val/knn_top1,{NUM_BANDS}]."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"objective names {twice[0]} twice: {names}. Name each metric once.")
    return tuple(names)


def check_objective(
    requested: object,
    evaluators: Collection[str],
    *,
    windows: Collection[str] = (),
    every_n_epochs: int = 0,
    labels: bool = True,
) -> None:
    """Refuse what no run with these settings measures, before any data are read.

    Args:
        requested: ``objective`` of the config, a name or a list of them.
        evaluators: Names of those that the run is scored by.
        windows: Names of its windows of wavelengths.
        every_n_epochs: Epochs between its scores while training; 0 for none.
        labels: Whether the data may have labels.

    Raises:
        ConfigError: With the nearest names and all that there are.
    """
    names = measured(evaluators, windows, every_n_epochs)
    known = {row.evaluator for row in METRICS.values()}
    for name in objective_names(requested):
        if name == AUTO:
            continue
        _check_allowed(name, evaluators)
        _check_needs(name, labels=labels)
        # An evaluator whose metrics have no rows may measure anything of the validation part.
        if name.startswith("val/") and not known.issuperset(evaluators):
            continue
        plain = score_of(name) if name.startswith("val/") else name  # ends of intervals count too
        if plain not in names:
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(
                f"objective is '{name}', which no job of this config measures. {hint}There are "
                f"{', '.join(names)}."
            )


def auto_candidates(evaluators: Collection[str] | None = None) -> list[str]:
    """Return what ``auto`` may stand for, by what the data have: the best that they allow."""
    found: list[str] = []
    for row in (METRICS[name] for name in leading()):
        if evaluators is None or row.evaluator in evaluators:
            found.append(row.name)
            if not row.needs:
                break
    return found


def resolve_objective(
    requested: str | None,
    *,
    labels_available: bool,
    views_available: bool,
    images_available: bool = True,
    evaluators: Collection[str] | None = None,
) -> str:
    """Return the name of the metric to optimise.

    Args:
        requested: A metric's name; None or ``auto`` for the default: the first leading metric that
            the data allow. That is ``val/knn_top1`` with labels, else ``val/view_retrieval_top1``
            where specimens have several views, else ``val/rankme`` with a logged warning that it
            is no accuracy.
        labels_available: Whether rows of the validation part have labels.
        views_available: Whether a specimen of the validation part has two named views.
        images_available: Whether one of them has two rows of any kind.
        evaluators: Names of those that the run is scored by; None for all.

    Raises:
        ConfigError: If a metric of the test part or of a control is requested: choosing on it would
            spoil what it is there to show. If it is no score, none of the run's evaluators
            measures it, or the validation part lacks what it needs.
    """
    has = {"labels": labels_available, "views": views_available, "images": images_available}
    if requested is not None and requested != AUTO:
        _check_allowed(requested, evaluators)
        _check_needs(requested, **has)
        return requested
    for name in auto_candidates(evaluators):
        if has.get(METRICS[name].needs, True):
            if name == "rankme":
                log.warning(RANKME_WARNING)
            return f"val/{name}"
    raise ConfigError(
        f"objective is auto, but evaluation.evaluators ({', '.join(evaluators or ())}) measures "
        f"none of {', '.join(leading())} on these specimens. Name a metric."
    )


def _check_allowed(name: str, evaluators: Collection[str] | None) -> None:
    """Refuse what must not be chosen on, what is no score, and a score without its evaluator."""
    if name.startswith(_FORBIDDEN):
        raise ConfigError(
            f"objective is '{name}', but nothing may be chosen on the test part, on held-out "
            "labels or on controls: a search would fit what they are there to judge. Take a metric "
            "of the validation part, for example val/knn_top1."
        )
    row = metric_of(score_of(name))
    if not row.objective:
        raise ConfigError(
            f"objective is '{name}', which is no score of an encoder. Take for example "
            "val/knn_top1."
        )
    if evaluators is not None and row.evaluator and row.evaluator not in evaluators:
        also = " with evaluation.linear=true" if row.evaluator == "linear" else ""
        raise ConfigError(
            f"objective is '{name}', which the evaluator '{row.evaluator}' measures; add it to "
            f"evaluation.evaluators{also}. This config is scored by {', '.join(evaluators)}."
        )


def _check_needs(name: str, **has: bool) -> None:
    """Refuse a score of the validation part that lacks what it needs."""
    row = metric_of(score_of(name))
    if not has.get(row.needs, True):
        able = [f"val/{one}" for one in leading() if has.get(METRICS[one].needs, True)]
        raise ConfigError(
            f"objective is '{name}', which needs {_NEEDS[row.needs]}, and the specimens of the "
            f"validation part have none. Take for example {able[0] if able else NUM_BANDS}, or "
            "objective=auto."
        )


def objective_value(
    metrics: Mapping[str, float],
    *,
    labels_available: bool,
    views_available: bool,
    images_available: bool = True,
    requested: str | None = None,
) -> float:
    """Return the value, among a run's metrics, of the one that :func:`resolve_objective` names.

    Raises:
        ConfigError: If the run has no such metric, or it may not be chosen on.
        HyperspecError: If the value is not finite.
    """
    name = resolve_objective(
        requested,
        labels_available=labels_available,
        views_available=views_available,
        images_available=images_available,
    )
    if name not in metrics:
        allowed = sorted(m for m in metrics if not m.startswith(_FORBIDDEN))
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"objective is '{name}', which this run did not measure.{hint} "
            f"Available: {', '.join(allowed) or 'nothing'}."
        )
    value = float(metrics[name])
    if not math.isfinite(value):
        raise HyperspecError(f"objective '{name}' is {value}; a search cannot rank such a run.")
    return value
