"""``hyperspec bands``: what each strategy picks, and what speaks for it."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.bands.diagnostics import Pick, as_override
from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.filter_list import choose_filters
from hyperspec.cli.commands.words import (
    AXIS_HELP,
    add_data,
    add_plugins,
    add_uri,
    data_from,
    load_plugins,
    parse_axis,
    table_of,
    translate,
    words_of,
    write_text,
)
from hyperspec.utils.errors import BandError, ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from hyperspec.bands import Strategy
    from hyperspec.evaluation.signatures import Signature
    from hyperspec.spectra.axis import SpectralAxis
    from hyperspec.spectra.statistics import SpectralStatistics
    from hyperspec.training.data import Material


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "bands",
        help="show which bands the strategies pick, with evidence",
        description="Choose bands by several strategies from the training part of a folder (or, "
        "without a folder, by strategies that need no data) and compare the choices.",
        epilog="Redundancy: mean absolute correlation of the chosen bands. Coverage: share of the "
        "axis within one mean spacing of a chosen band. Stability: Nogueira's measure over "
        "bootstrap resamples of specimens, 1 for the same bands each time, about 0 for chance. "
        "Shift: how far the nearest pick of a resample lies from a pick.",
    )
    add = parser.add_argument
    add("folder", type=Path, nargs="?", metavar="FOLDER")
    add("--strategy", default="uniform,random,pca,ocf,opbs", metavar="A,B,...",
        help="strategies (uniform,random,pca,ocf,opbs); 'all' for every one that fits, 'classic' "
        "for those that it leaves out (variance, pca, entropy, lcmv_bcc, "
        "mutual_information)")  # fmt: skip
    add("--n", default="10,20", metavar="N,M,...", help="numbers of bands (10,20)")
    add("--option", action="append", default=[], metavar="NAME.KEY=VALUE",
        help="a strategy's own parameter, such as fisher.pairs=max; may be repeated")  # fmt: skip
    add("--axis", help=f"without a folder: {AXIS_HELP}")
    add("--filters", type=Path, metavar="CSV",
        help="choose among the filters of a catalogue, and print the list to order")  # fmt: skip
    add("--resamples", type=int, default=20, help="bootstrap resamples for stability (20); 0: none")
    add("--seed", type=int, default=0, help="seed of the resamples")
    add("--out", type=Path, default=Path("bands.png"), metavar="PNG", help="picture (bands.png)")
    add("--csv", type=Path, metavar="FILE", help="write a row per chosen band")
    add("--json", type=Path, metavar="FILE", help="write a list with one object per choice")
    add("--consensus", action="store_true", help="print one list of windows: how many choices pick "
        "in each, how steadily, and whether a sweep's encoders lean on it (--sweep)")  # fmt: skip
    add("--window", type=float, default=20.0, metavar="NM", help="width of these windows (20)")
    add("--sweep", metavar="SWEEP", help="sweep whose report tells what its encoders lean on")
    add_uri(parser)
    add_plugins(parser)
    add_data(parser, own=["--axis"])
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Choose, print, draw and write."""
    from rich.console import Console

    from hyperspec.bands.diagnostics import gather_evidence

    if words.resamples == 1 or words.resamples < 0:
        raise ConfigError(
            f"--resamples is {words.resamples}; give 0 for none, or 2 and more to compare."
        )
    if not words.window > 0:
        raise ConfigError(f"--window is {words.window:g}; give a width above 0 nm, such as 20.")
    if words.sweep is not None and not words.consensus:
        raise ConfigError("--sweep is read for --consensus alone; add that, or leave it out.")
    load_plugins(words)
    check_names(words.strategy, "--strategy")
    console = Console()
    if not console.is_terminal:
        console.width = 140  # a file has no edge
    axis, material = _read(words)
    statistics = None if material is None else material.statistics
    if words.filters is not None:
        return choose_filters(words, axis, statistics)
    strategies = build_strategies(words.strategy, words.n, words.option, statistics)
    specimens = []
    if material is not None and words.resamples and any(s.needs_statistics for s in strategies):
        specimens = specimen_statistics(material)
    with progress("Choosing bands") as advance:
        picks = gather_evidence(
            strategies,
            axis,
            statistics,
            specimens,
            num_resamples=words.resamples,
            seed=words.seed,
            step=lambda what: advance(text=what),
        )
    print_picks(picks, console)
    if words.consensus:
        from hyperspec.cli.commands.consensus_table import print_consensus

        print_consensus(picks, axis, words, console)
    if words.json is not None:
        write_text(words.json, json.dumps([pick.to_dict() for pick in picks], indent=1) + "\n")
    if words.csv is not None:
        write_text(words.csv, to_csv(picks))
    with progress("Drawing"):
        figure = draw(picks, axis, material)
        words.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(words.out, dpi=150, metadata={"Software": None})
    print(f"wrote {words.out}")
    return 0


def _read(words: argparse.Namespace) -> tuple[SpectralAxis, Material | None]:
    if words.folder is None:
        axis = parse_axis(words.axis, "--axis")
        if axis is None:
            raise ConfigError(
                "hyperspec bands was given neither FOLDER nor --axis. Give a folder of cubes, or "
                f"--axis ({AXIS_HELP}) for strategies that need no data."
            )
        return axis, None
    if words.axis is not None:
        translate(words, "--axis", words.axis)
    data = data_from(words, words.folder)
    with progress("Reading the specimens"):
        from hyperspec.bands import Full
        from hyperspec.training.data import gather

        material = gather(data, Full())
    return material.source.axis, material


def build_strategies(
    names: str,
    counts: str,
    options: Sequence[str],
    statistics: SpectralStatistics | None,
    option: str = "--strategy",
) -> list[Strategy]:
    """Return one strategy per name and number of bands; those without an n once.

    Args:
        names: Names with commas between them, ``all`` (but for the classic ones) or ``classic``.
        counts: Numbers of bands with commas between them.
        options: ``name.key=value`` of strategies' own parameters.
        statistics: Of the training part; with None ``all`` means those that need none. Words for
            several leave out what needs labels where there are none.
        option: Where the names come from, for messages.

    Raises:
        ConfigError: If a name, number or option is none.
    """
    from dataclasses import fields

    from hyperspec.bands import STRATEGIES

    several, chosen = names in ("all", "classic"), check_names(names, option)
    if several:
        classic = names == "classic"
        chosen = [n for n, s in STRATEGIES.items() if n != "list" and s.classic == classic]
    sizes = [_whole(word) for word in words_of(counts, "--n")]
    given = _options(options)
    unused = sorted(set(given) - set(chosen))
    if unused:
        raise ConfigError(f"--option sets {unused[0]}, which is not among --strategy={names}.")
    made: list[Strategy] = []
    for name in chosen:
        kind = STRATEGIES[name]
        if several and _unfit(kind, statistics):
            continue
        own = {f.name for f in fields(kind)}
        wrong = sorted(set(given.get(name, {})) - own | ({"n"} & set(given.get(name, {}))))
        if wrong:
            allowed = ", ".join(sorted(own - {"n"})) or "nothing"
            raise ConfigError(f"--option sets {name}.{wrong[0]}; bands={name} takes {allowed}.")
        for extra in [{"n": n} for n in sizes] if "n" in own else [{}]:
            values = {**extra, **given.get(name, {})}
            try:
                made.append(kind(**values))
            except TypeError as error:
                raise BandError(f"bands={kind.name} cannot be made of {values}: {error}") from error
    return made


def check_names(names: str, option: str) -> list[str]:
    """Return the names of strategies of an option, or its one word for several.

    Raises:
        ConfigError: If one is none.
    """
    from hyperspec.bands import STRATEGIES
    from hyperspec.config.option_list import nearest

    chosen = words_of(names, option)
    wrong = [name for name in chosen if name not in STRATEGIES]
    if wrong and names not in ("all", "classic"):
        near = nearest(wrong[0], STRATEGIES)
        raise ConfigError(
            f"{option} holds '{wrong[0]}'{f' (did you mean {near}?)' if near else ''}; choose from "
            f"{', '.join(STRATEGIES)}, all or classic."
        )
    return chosen


def _unfit(kind: type[Strategy], statistics: SpectralStatistics | None) -> bool:
    if statistics is None:
        return kind.needs_statistics
    return kind.supervised and len(statistics.classes) < 2


def _options(texts: Sequence[str]) -> dict[str, dict[str, object]]:
    import ast

    found: dict[str, dict[str, object]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, field = key.partition(".")
        if not (equals and dot and name and field):
            raise ConfigError(
                f"--option is {text!r}; give NAME.KEY=VALUE, such as pca.explained=0.99."
            )
        try:
            parsed = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed = {"true": True, "false": False, "null": None}.get(value, value)
        found.setdefault(name, {})[field] = parsed
    return found


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ConfigError(f"--n holds {word!r}; give whole numbers such as 5,10,20.") from None


def specimen_statistics(material: Material) -> list[SpectralStatistics]:
    """Return the statistics of each specimen of the training part, all its views together."""
    rows: dict[tuple[str, str | None], list[int]] = {}
    for row in material.split.train.tolist():
        rows.setdefault((material.specimens[row], material.labels[row]), []).append(row)
    return [
        material.source.statistics(members, [label] * len(members))
        for (_, label), members in sorted(rows.items(), key=lambda item: item[1])
    ]


def signatures_of(material: Material) -> list[Signature]:
    """Return the mean spectrum of each class of the training part; spreads would hide the marks."""
    import numpy as np

    from hyperspec.evaluation.signatures import Signature

    held = [(material.labels[row], material.specimens[row]) for row in material.split.train]
    classes = material.statistics.classes or {"all": material.statistics.moments}
    return [
        Signature(
            name,
            len({key for label, key in held if label == name or not material.classes}),
            moments.mean,
            np.full_like(moments.mean, np.nan),
        )
        for name, moments in sorted(classes.items())
    ]


_SHOWN = 12  # wavelengths of one choice that the table shows


def print_picks(picks: Sequence[Pick], console: Console) -> None:
    """Print the table, and each choice as words for `hyperspec train`."""
    numbers = ("n", "redundancy", "coverage", "stability [95%]", "shift nm", "seconds")
    table = table_of(["strategy"], numbers)
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


def draw(picks: Sequence[Pick], axis: SpectralAxis, material: Material | None) -> Figure:
    """Draw class mean spectra with the picks as marks under them; the marks alone without data."""
    from hyperspec.evaluation.pictures import draw_marks
    from hyperspec.evaluation.signatures import draw_signatures

    marks = {label(pick): pick.selection.wavelengths_nm.tolist() for pick in picks}
    if material is None:
        return draw_marks(marks, axis.range_nm)
    return draw_signatures(
        signatures_of(material),
        axis.wavelengths_nm,
        marks_nm=marks,
        quantity=material.statistics.quantity,
    )
