"""Which settings move the score: the shares of its variance, by functional ANOVA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hyperspec.report.charts.figure import Chart, Section, new_axes
from hyperspec.report.charts.parameters import NUM_BANDS, STRATEGY
from hyperspec.report.charts.style import NARROW, NEUTRAL, clean, words
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Summary
from hyperspec.tracking.contract import MetricName

if TYPE_CHECKING:
    import optuna

_FEWEST = 8
_ENOUGH = 40
_ENOUGH_EACH = 10  # jobs per setting: below, the forest behind the shares sees too few of each
_MOST = 400  # jobs that the forest is grown from; more change its shares little and take long
# A forest of Optuna's default size (64 trees of depth 64) takes minutes for 21 strategies at four
# numbers of bands; shares of this one differ by a point or two.
_TREES, _DEPTH = 16, 8
_SEED = 0
_BLUE = "#0072B2"
_NO_SETTINGS = ("seed", "rotation")


def section(data: SweepData, summary: Summary) -> Section | None:
    """Return the shares, or None with fewer than two settings or too few jobs to say anything."""
    table = _table(data, summary)
    shares = {} if table is None else _shares(table)
    if table is None or not shares:
        return None
    num_jobs, num_keys = len(table), table.shape[1] - 1
    enough = max(_ENOUGH, _ENOUGH_EACH * num_keys)
    first = max(shares, key=shares.__getitem__)
    title = f"Which settings matter? Most of all: {words(first)} ({100 * shares[first]:.0f}%)"
    intro = (
        f"Share of the differences in {words(summary.objective_name)} between jobs that goes back "
        "to each setting, within the values tried (functional ANOVA; Hutter et al. 2014). It says "
        "how much a setting moves the score, not which value is best."
    )
    if "seed" in shares:
        intro += " The seed, in grey, is the yardstick of chance: what lies below it moves nothing."
    if "rotation" in shares:
        intro += " The rotation, in grey too, is which specimens were tested."
    note = ""
    if num_jobs < enough:
        note = (
            f"Warning: {num_jobs} jobs for {num_keys} settings are few; take the order of the bars "
            f"as a hint (from {enough} jobs on it settles)."
        )
    return Section("importance", title, intro, (_chart(shares, num_jobs),), (), note)


def _table(data: SweepData, summary: Summary) -> pd.DataFrame | None:
    """Return one row per finished job: the varied settings and the objective."""
    jobs = data.finished
    column = f"metrics.{MetricName.OBJECTIVE}"
    if column not in jobs:
        return None
    found = {STRATEGY: jobs["strategy"], NUM_BANDS: jobs["n"]}
    found |= {name: jobs[name] for name in _NO_SETTINGS if name in jobs}
    found |= {name: jobs[f"params.{name}"].fillna("-") for name in summary.extra_names}
    varied = {key: values for key, values in found.items() if values.nunique() > 1}
    table = pd.DataFrame({**varied, column: jobs[column].astype(float)})
    table = table.loc[np.isfinite(table[column])]
    settings = [key for key in varied if key not in _NO_SETTINGS]
    if len(settings) < 2 or len(table) < _FEWEST or table[column].nunique() < 2:
        return None
    sample: pd.DataFrame = table.sample(min(_MOST, len(table)), random_state=_SEED)
    return sample


def _shares(table: pd.DataFrame) -> dict[str, float]:
    """Return the share of each setting, largest first; they sum to 1."""
    import optuna  # most reports vary too little for it

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = _study(table)
        evaluator = optuna.importance.FanovaImportanceEvaluator(
            n_trees=_TREES, max_depth=_DEPTH, seed=_SEED
        )
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    finally:
        optuna.logging.set_verbosity(level)


def _study(table: pd.DataFrame) -> optuna.Study:
    import optuna

    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    values: dict[str, list[float] | list[str]] = {}
    for key in table.columns[:-1]:
        numbers = pd.to_numeric(table[key], errors="coerce")
        if key in (STRATEGY, *_NO_SETTINGS) or numbers.isna().any() or np.isinf(numbers).any():
            texts = table[key].astype(str)
            distributions[key] = optuna.distributions.CategoricalDistribution(sorted(set(texts)))
            values[key] = texts.tolist()
        else:
            low, high = float(numbers.min()), float(numbers.max())
            distributions[key] = optuna.distributions.FloatDistribution(low, high, log=low > 0)
            values[key] = numbers.astype(float).tolist()
    study = optuna.create_study(direction="maximize")
    for row, value in enumerate(table.iloc[:, -1].astype(float)):
        params = {key: values[key][row] for key in values}
        trial = optuna.trial.create_trial(params=params, distributions=distributions, value=value)
        study.add_trial(trial)
    return study


def _chart(shares: dict[str, float], num_jobs: int) -> Chart:
    order = sorted(shares, key=shares.__getitem__)
    figure, ax = new_axes(NARROW, 0.9 + 0.34 * len(order))
    values = [100 * shares[key] for key in order]
    colours = [NEUTRAL if key in _NO_SETTINGS else _BLUE for key in order]
    bars = ax.barh([words(key) for key in order], values, color=colours, height=0.7)
    ax.bar_label(bars, [f"{value:.0f}%" for value in values], padding=3, size=9)
    ax.set_xlim(0, max(values) * 1.15)
    ax.set_xlabel("share of the variance between jobs (%)")
    clean(ax)
    told = ", ".join(f"{words(key)} {100 * shares[key]:.0f}%" for key in reversed(order))
    alt = f"Bars of how much each setting moves the score, over {num_jobs} jobs: {told}."
    return Chart("importance", alt, figure)
