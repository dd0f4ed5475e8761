"""What a report says of one cohort, and what is alike in several, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hyperspec.report.carried import Carried, carried
from hyperspec.report.charts import (
    carried_windows,
    chosen_bands,
    gradient_norms,
    heatmap,
    learning_curves,
    parallel_coordinates,
    parameter_importance,
    pareto,
)
from hyperspec.report.charts.accuracy import charts, small_multiples
from hyperspec.report.charts.figure import Chart, Section, listed
from hyperspec.report.cohorts import Cohort, divide
from hyperspec.report.confounder_table import section as confounders
from hyperspec.report.load import SweepData
from hyperspec.report.paired_tests import Differences, compare
from hyperspec.report.summary import Point, Summary, setting_text, summarise
from hyperspec.report.tables import Grid, number, with_interval
from hyperspec.report.variants import settings
from hyperspec.report.verdict import Verdict, conclude

_OF_SETTINGS = ("heat", "parallel", "importance")  # keys of sections on settings
_MOST_TOLD = 6  # cohorts that sentences name, as MLflow's description has room for


@dataclass(frozen=True)
class CohortReport:
    """What a report says of jobs that may be ranked with each other.

    Args:
        cohort: The jobs.
        summary: Their settings, ranked.
        differences: Their settings compared in pairs.
        verdict: What that comes to.
        sections: Further parts of the page.
        accuracy: Charts of accuracy against bands, one per accuracy.
        strategies: Charts of single strategies, where one of all is a thicket.
    """

    cohort: Cohort
    summary: Summary
    differences: Differences
    verdict: Verdict
    sections: tuple[Section, ...]
    accuracy: tuple[Chart, ...]
    strategies: tuple[Chart, ...]

    @property
    def suffix(self) -> str:
        """What tells its files and addresses from those of other cohorts; empty for one alone."""
        return f"-{self.cohort.letter.lower()}" if self.cohort.letter else ""

    @property
    def question(self) -> str:
        """What the charts of accuracy answer; empty where they would show one point."""
        pairs = {(point.strategy, point.n) for point in self.summary.points}
        counts = {n for _, n in pairs}
        if len(pairs) < 2 and self.summary.extra_names:
            return ""
        if len(counts) == 1 and len(pairs) > 1:
            return f"Which strategy does best with {counts.pop()} bands?"
        return "How does accuracy change with the number of bands?"

    @property
    def opening_sections(self) -> tuple[list[Section], list[Section]]:
        """Sections that a study of other settings than bands opens with, and the rest."""
        own = [s for s in self.sections if s.key.startswith(_OF_SETTINGS) and not self.question]
        return own, [section for section in self.sections if section not in own]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Charts that are files of their own."""
        return *self.strategies, *(chart for part in self.sections for chart in part.charts)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict; which cohort it is of, before the first sentence."""
        first, *rest = self.verdict.sentences
        return (f"{self.cohort.title}. {first}" if self.cohort.letter else first, *rest)


def report_cohorts(data: SweepData, margin: float | None = None) -> tuple[CohortReport, ...]:
    """Rank, compare, judge and draw each cohort by itself."""
    return tuple(_report(cohort, margin) for cohort in divide(data))


def _report(cohort: Cohort, margin: float | None) -> CohortReport:
    data, summary = cohort.data, summarise(cohort.data)
    found, windows = compare(data, summary, margin), carried(data, summary)
    made = CohortReport(
        cohort,
        summary,
        found,
        conclude(data, summary, found, windows),
        tuple(sections(data, summary, windows)),
        charts(summary) if summary.points else (),
        small_multiples(summary),
    )
    return _renamed(made) if made.suffix else made


def _renamed(made: CohortReport) -> CohortReport:
    """Give charts and sections names that are unique beside those of other cohorts."""

    def own(found: Sequence[Chart]) -> tuple[Chart, ...]:
        return tuple(replace(chart, name=f"{chart.name}{made.suffix}") for chart in found)

    parts = (
        replace(part, key=f"{part.key}{made.suffix}", charts=own(part.charts))
        for part in made.sections
    )
    return replace(
        made, sections=tuple(parts), accuracy=own(made.accuracy), strategies=own(made.strategies)
    )


def sections(data: SweepData, summary: Summary, windows: tuple[Carried, ...] = ()) -> list[Section]:
    """Return the parts of the report beyond its tables, those that the sweeps have data for."""
    found = (
        carried_windows.section(data, windows),
        confounders(data, summary),
        pareto.section(data, summary),
        heatmap.section(summary),
        parallel_coordinates.section(summary),
        parameter_importance.section(data, summary),
        chosen_bands.section(data, summary),
        learning_curves.section(data, summary),
        gradient_norms.section(data, summary),
    )
    return [section for section in found if section is not None]


def opening(reports: Sequence[CohortReport]) -> str:
    """Say that not all jobs are ranked together, and in what they differ; empty where they are."""
    if len(reports) < 2:
        return ""
    kinds = [f"{one.cohort.title} ({_jobs(one.cohort.num_jobs)})" for one in reports]
    told = listed(kinds, _MOST_TOLD)
    return (
        "Not all of these jobs can be ranked with each other. There are "
        f"{len(reports)} kinds, each with a ranking and a verdict of its own: {told}."
    )


def verdicts(reports: Sequence[CohortReport]) -> tuple[str, ...]:
    """Return the verdict of each cohort, and before them that they are several if they are."""
    told = [sentence for one in reports[:_MOST_TOLD] for sentence in one.sentences]
    if len(reports) > _MOST_TOLD:
        told.append(f"The verdicts of {len(reports) - _MOST_TOLD} more kinds are in the page.")
    return tuple(filter(None, (opening(reports), *told)))


def _jobs(count: int) -> str:
    return f"{count} job{'s' * (count != 1)}"


def side_by_side(data: SweepData, reports: Sequence[CohortReport]) -> Grid:
    """Return the settings that several cohorts have, a row for each cohort, without a rank."""
    title = "The same settings side by side, not ranked"
    if len(reports) < 2:
        return Grid(title, (), (), num_text=0)
    place = {run: (one, p) for one in reports for p in one.summary.points for run in p.run_ids}
    jobs = data.finished[data.finished["run_id"].isin(list(place))]
    names = [n for n in settings(jobs) if any(n in one.summary.extra_names for one in reports)]
    keys = ["strategy", "n", *(f"params.{name}" for name in names)]
    rows: list[tuple[str, ...]] = []
    for _, group in jobs.groupby(keys, dropna=False):
        found: dict[tuple[str, ...], tuple[CohortReport, Point]] = {}
        for run in group["run_id"]:
            one, point = place[run]
            found[point.run_ids] = (one, point)
        if len({one.cohort.letter for one, _ in found.values()}) > 1:
            ordered = sorted(found.values(), key=lambda pair: pair[0].cohort.letter)
            rows += [_row(one, point, names) for one, point in ordered]
    columns = ("strategy", "bands", *names, "of", "seeds", "objective", "accuracy [95%]")
    return Grid(title, columns, tuple(rows), num_text=3 + len(names))


def _row(one: CohortReport, point: Point, names: Sequence[str]) -> tuple[str, ...]:
    summary = one.summary
    score = "-"
    if accuracies := summary.accuracies:
        metric = accuracies[0]
        score = f"{summary.part} {metric.title} {with_interval(point.scores.get(metric.key))}"
    return (
        point.strategy,
        str(point.n or "?"),
        *(setting_text(point.extra.get(name, "-")) for name in names),
        one.cohort.title,
        str(point.num_seeds),
        f"{summary.objective_name} {number(point.objective)}",
        score,
    )
