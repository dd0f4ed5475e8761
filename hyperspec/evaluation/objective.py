"""The numbers that sweeps and searches optimise: one, or several that contradict each other."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Collection, Mapping, Sequence

from hyperspec.evaluation.metrics import CONTROL_PREFIXES, METRICS, NUM_BANDS, leading, metric_of
from hyperspec.utils.errors import ConfigError, HyperspecError

log = logging.getLogger(__name__)
AUTO = "auto"
_FORBIDDEN = ("test/", "confounder/", *CONTROL_PREFIXES.values())  # nothing is chosen on these
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


def resolve_objective(
    requested: str | None,
    *,
    labels_available: bool,
    views_available: bool,
    evaluators: Collection[str] | None = None,
) -> str:
    """Return the name of the metric to optimise.

    Args:
        requested: A metric's name; None or ``auto`` for the default: the first leading metric that
            the data allow. That is ``val/knn_top1`` with labels, else ``val/view_retrieval_top1``
            where specimens have several views, else ``val/rankme`` with a logged warning that it
            is no accuracy.
        labels_available: Whether rows of the validation part have labels.
        views_available: Whether a specimen of the validation part has two rows.
        evaluators: Names of those that the run is scored by; None for all.

    Raises:
        ConfigError: If a metric of the test part or of a control is requested: choosing on it would
            spoil what it is there to show. If it is no score, or none of the run's evaluators
            measures it.
    """
    if requested not in (None, AUTO):
        if requested.startswith(_FORBIDDEN):
            raise ConfigError(
                f"objective is '{requested}', but nothing may be chosen on the test part or on "
                "controls: a search would fit what they are there to judge. Take a metric of the "
                "validation part, for example val/knn_top1."
            )
        _check_measured(requested, evaluators)
        return requested
    given = {"": True, "labels": labels_available, "views": views_available}
    for name in leading():
        row = METRICS[name]
        if given[row.needs] and (evaluators is None or row.evaluator in evaluators):
            if name == "rankme":
                log.warning(RANKME_WARNING)
            return f"val/{name}"
    raise ConfigError(
        f"objective is auto, but evaluation.evaluators ({', '.join(evaluators or ())}) measures "
        f"none of {', '.join(leading())} on these specimens. Name a metric."
    )


def _check_measured(name: str, evaluators: Collection[str] | None) -> None:
    row = metric_of(name)
    if not row.objective:
        raise ConfigError(
            f"objective is '{name}', which is no score of an encoder. Take for example "
            "val/knn_top1."
        )
    if evaluators is not None and row.evaluator and row.evaluator not in evaluators:
        raise ConfigError(
            f"objective is '{name}', which the evaluator '{row.evaluator}' measures; add it to "
            f"evaluation.evaluators, which has {', '.join(evaluators)}."
        )


def objective_value(
    metrics: Mapping[str, float],
    *,
    labels_available: bool,
    views_available: bool,
    requested: str | None = None,
) -> float:
    """Return the value, among a run's metrics, of the one that :func:`resolve_objective` names.

    Raises:
        ConfigError: If the run has no such metric, or it may not be chosen on.
        HyperspecError: If the value is not finite.
    """
    name = resolve_objective(
        requested, labels_available=labels_available, views_available=views_available
    )
    if name not in metrics:
        allowed = sorted(m for m in metrics if not m.startswith(_FORBIDDEN))
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        why = "" if labels_available else " (this run has no labels)"
        raise ConfigError(
            f"objective is '{name}', which this run did not measure{why}.{hint} "
            f"Available: {', '.join(allowed) or 'nothing'}."
        )
    value = float(metrics[name])
    if not math.isfinite(value):
        raise HyperspecError(f"objective '{name}' is {value}; a search cannot rank such a run.")
    return value
