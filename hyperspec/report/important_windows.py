"""The wavelengths that a run or a sweep was found to lean on, for pages that are not its report."""

from __future__ import annotations

from dataclasses import dataclass

from hyperspec.report.checkpoint_lookup import CheckpointWord
from hyperspec.report.verdict_wavelengths import stretch_words, wavelength_sentences


@dataclass(frozen=True)
class MarkedStretch:
    """Wavelengths that stand out.

    Args:
        start_nm: Lower end.
        stop_nm: Upper end.
        text: What they are, and of which setting.
    """

    start_nm: float
    stop_nm: float
    text: str


def important_windows(meant: CheckpointWord) -> tuple[tuple[MarkedStretch, ...], str]:
    """Return the stretches that stand out, and in a sentence what is known of them.

    Of a sweep those of the setting that validation puts first, over its seeds; of a run its own.
    Nothing is measured here.
    """
    if meant.run is None:
        return (), ""  # a file alone: who named it may mark windows by hand
    from hyperspec.report.carried import carried
    from hyperspec.report.cohorts import divide
    from hyperspec.report.load import load_sweep
    from hyperspec.report.summary import summarise

    data = load_sweep(meant.uri, [meant.run.run_id])
    cohorts = divide(data)
    found = carried(data, summarise(data)) if len(cohorts) == 1 else ()
    if not found:
        return (), "Which wavelengths carry it was not measured (evaluation.importance)."
    best = found[0]
    marked = tuple(
        MarkedStretch(one.start_nm, one.stop_nm, stretch_words(one))
        for one in (best.found.stretches if best.stands_out else ())
    )
    whose = best.point.strategy + (f" {best.point.n}" if best.point.strategy != "full" else "")
    return marked, f"{wavelength_sentences(found)[0]} This is of bands={whose}."
