"""``hyperspec demo``: how many bands carry a planted signal, from nothing to a report."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.utils.errors import ConfigError

# The words are those of finished demos: with others these would be trained anew.
_SWEEPS = {"band_count": ("bands.n=10,20,50,100,200,408",), "references": ("bands=rgb,full",)}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "demo",
        help="make specimens, sweep band counts, show the answer",
        description="Make synthetic specimens whose answer is known, sweep numbers of bands, add "
        "two references (three colour bands, the whole spectrum), and draw one report over both "
        "sweeps. About five minutes on two idle CPU cores; begun again, it goes on where it ended.",
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo"), help="folder to write (demo)"
    )
    parser.add_argument(
        "--seeds", default="0", metavar="A,B,...", help="0,1,2 for intervals over seeds (0)"
    )
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Make the specimens, train, report."""
    if not re.fullmatch(r"\d+(,\d+)*", words.seeds):
        raise ConfigError(f"--seeds is {words.seeds!r}; give whole numbers such as 0,1,2.")
    from hyperspec.cli.train import main as train
    from hyperspec.report.output import report
    from hyperspec.testing.synthetic.generate import TRUTH_FILE, synthesise

    specimens = words.folder / "specimens"
    if not (specimens / TRUTH_FILE).is_file():
        print(f"wrote {synthesise(specimens)}")
    sweeps = words.folder / "sweeps" / time.strftime("%Y-%m-%d_%H-%M-%S")
    for name, own in _SWEEPS.items():
        shared = [f"seed={words.seeds}", f"data.root={specimens}"]
        place = f"hydra.sweep.dir={sweeps / name}"
        if status := train(["experiment=demo", "-m", *own, *shared, place]):
            return status
    both = [str(sweeps / name) for name in _SWEEPS]
    report(both, uri=None, out_dir=words.folder / "report")
    return 0
