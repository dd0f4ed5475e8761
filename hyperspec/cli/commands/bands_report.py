"""Picks of several strategies as a table, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hyperspec.bands.diagnostics import Pick, as_override

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from hyperspec.evaluation.signatures import Signature
    from hyperspec.spectra.axis import SpectralAxis

_SHOWN = 12  # wavelengths of one choice that the table shows


def print_picks(picks: Sequence[Pick], console: Console) -> None:
    """Print the table, and each choice as words for `hyperspec train`."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    for name in ("n", "redundancy", "coverage", "stability [95%]", "shift nm", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("nm", no_wrap=True)  # whole in the lines below
    for pick in picks:
        table.add_row(*_cells(pick))
    console.print(table, highlight=False)
    print("\nTo train on one of these sets:")
    for pick in picks:
        # Plain print: a wrapped line could not be pasted.
        print(f"  # {label(pick)}\n  {as_override(pick.selection)}")


def label(pick: Pick) -> str:
    """Return a short name of a choice, such as ``pca 10``."""
    return f"{pick.selection.strategy} {len(pick.selection)}"


def _cells(pick: Pick) -> list[str]:
    found = pick.stability
    nm = [f"{value:.0f}" for value in pick.selection.wavelengths_nm]
    if len(nm) > _SHOWN:
        nm = [*nm[: _SHOWN - 2], f"... {nm[-1]}"]
    agreement = "-"
    if found is not None:
        agreement = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    return [
        pick.selection.strategy,
        str(len(pick.selection)),
        "-" if pick.redundancy is None else f"{pick.redundancy:.3f}",
        f"{pick.selection.coverage:.2f}",
        agreement,
        "-" if pick.shift_nm is None else f"{pick.shift_nm:.1f}",
        f"{pick.seconds:.3f}",
        " ".join(nm),
    ]


def to_csv(picks: Sequence[Pick]) -> str:
    """Return a row per chosen band: the choice's evidence beside each of its bands."""
    text = io.StringIO()
    columns = ("strategy", "n", "index", "wavelength_nm", "redundancy", "coverage", "stability",
               "stability_low", "stability_high", "shift_nm", "seconds")  # fmt: skip
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for pick in picks:
        whole = {k: v for k, v in pick.to_dict().items() if k in columns}
        for index, nm in zip(pick.selection.indices, pick.selection.wavelengths_nm, strict=True):
            writer.writerow({**whole, "index": index, "wavelength_nm": round(float(nm), 4)})
    return text.getvalue()


def draw(picks: Sequence[Pick], axis: SpectralAxis, signatures: Sequence[Signature]) -> Figure:
    """Draw class mean spectra with the picks as marks under them; the marks alone without data.

    Args:
        picks: The choices, one line of marks each.
        axis: The axis that they were chosen from.
        signatures: Spectra of the training part, may be empty.
    """
    from hyperspec.evaluation.pictures import draw_marks
    from hyperspec.evaluation.signatures import draw_signatures

    marks = {label(pick): pick.selection.wavelengths_nm.tolist() for pick in picks}
    if not signatures:
        return draw_marks(marks, axis.range_nm)
    return draw_signatures(signatures, axis.wavelengths_nm, marks_nm=marks)
