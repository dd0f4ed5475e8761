"""The description of a sweep's parent run in MLflow: what it asks, how to read it, what came out.

Markdown, as MLflow's UI shows it at the top of the run's page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.report.load import SweepData

# What the UI's own charts need to answer a study's question; columns of every job.
HOW_TO_READ = """\
In the list of runs, select this sweep's jobs and press *Compare*, or open *Chart*:
- how many bands: scatter or line, x `bands.count`, y `test/knn_top1`, grouped by `bands`
- which temperature and rate: contour, x `loss.temperature`, y `lr`, z `objective`
- what matters: parallel coordinates over `bands.count`, `loss.temperature`, `lr`, `objective`
- which strategy: table grouped by `bands`, or box plot of `test/knn_top1` by `bands`"""


def opening(config: DictConfig, study: str, command: str, space: Mapping[str, str]) -> str:
    """Describe a sweep before its jobs; ``space`` is what it varies or sets, as typed."""
    asked = question(config)
    parts = [f"Study **{study}**: {asked}" if asked else f"Study **{study}**."]
    parts.append("```\n" + command + "\n```")
    if space:
        shown = {key: value.replace("|", "\\|") for key, value in space.items()}
        rows = [f"| `{key}` | `{value}` |" for key, value in shown.items()]
        parts.append("\n".join(["| setting | values |", "|---|---|", *rows]))
    ending = "The report is under *Artifacts*, `report/report.html`, when the sweep has ended."
    return "\n\n".join([*parts, HOW_TO_READ, ending])


def closing(
    before: str,
    data: SweepData,
    experiment_id: str,
    model_uri: str | None,
    verdict: Sequence[str] = (),
) -> str:
    """Return the description of a sweep that has ended: question and outcome, then the rest.

    It takes the place of the one ``before``, says the sentences of the verdict first, and names the
    leading job's model when that was logged.
    """
    run_id = data.sweeps[0].run_id
    page = f"#/experiments/{experiment_id}/runs"
    lines = [f"**{_counts(data)}.** [Report]({page}/{run_id}/artifacts/report/report.html)"]
    from hyperspec.report.cohorts import best_job

    best = best_job(data)
    if best is not None:
        lines.append(
            f"Single job that validation likes most, a candidate and no more: "
            f"[{best['name']}]({page}/{best['run_id']}), objective "
            f"{best['metrics.objective']:.3f}{_tested(best)}."
        )
    if model_uri is not None:
        lines.append(f'Its encoder embeds new cubes: `mlflow.pyfunc.load_model("{model_uri}")`.')
    # The page shows some three lines at first: what was asked, and what came out.
    asked, _, rest = before.split("\n\nThe report is under")[0].partition("\n\n")
    return "\n\n".join(filter(None, [asked, " ".join(verdict), *lines, rest]))


def question(config: DictConfig) -> str:
    """Return what the chosen experiment's overlay asks in its first comment; empty without."""
    choice = OmegaConf.select(config, "hydra.runtime.choices.experiment")
    for source in OmegaConf.select(config, "hydra.runtime.config_sources") or ():
        path = Path(str(source.path)) / "experiment" / f"{choice}.yaml"
        if source.schema == "file" and path.is_file():
            found = re.search(
                r"^# Question:\s*(.+(?:\n#\s{2,}.+)*)", path.read_text(encoding="utf-8"), re.M
            )
            return " ".join(re.sub(r"\n#\s*", " ", found[1]).split()) if found else ""
    return ""


def _counts(data: SweepData) -> str:
    states = data.jobs["status"].value_counts().to_dict()
    words = {"FINISHED": "finished", "FAILED": "failed", "PRUNED": "stopped early"}
    words |= {"KILLED": "interrupted", "RUNNING": "still running"}
    said = [f"{states[key]} {word}" for key, word in words.items() if states.get(key)]
    return f"{len(data.jobs)} job{'s' * (len(data.jobs) != 1)}: {', '.join(said)}"


def _tested(best: pd.Series) -> str:
    from hyperspec.evaluation.metrics import columns

    for metric in columns():
        name = f"metrics.test/{metric.name}"
        value, low, high = (best.get(f"{name}{end}") for end in ("", "_low", "_high"))
        if value is not None and value == value:  # not NaN
            known = low is not None and low == low
            ends = f" [{low:.2f}, {high:.2f}]" if known else " (no interval)"
            return f", test {metric.title} {value:.3f}{ends}"
    return ""
