"""The ``hyperspec`` command: words to calls, and nothing else.

Heavy imports happen inside the commands, so that ``hyperspec --help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hyperspec import __version__
from hyperspec.spectra.errors import HyperspecError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Args:
        arguments: Words after ``hyperspec``; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"]:
        # Hydra has a grammar of its own, so its words pass through untouched.
        from hyperspec.train import main as train

        return train(words[1:])
    parsed = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except HyperspecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hyperspec",
        description="Which bands, and how many, carry the signal: "
        "SimCLR sweeps over hyperspectral specimens.",
    )
    parser.add_argument("--version", action="version", version=f"hyperspec {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser(
        "train", help="train and evaluate; sweeps with -m or an experiment", add_help=False
    )
    _add_synth(commands)
    _add_report(commands)
    _add_ui(commands)
    return parser


def _add_synth(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    synth = commands.add_parser("synth", help="write synthetic specimens with a known answer")
    synth.add_argument("folder", type=Path, help="folder to write")
    synth.add_argument("--variant", default="planted", choices=["planted", "graded", "null"])
    synth.add_argument("--specimens", type=int, default=16, help="specimens per species (16)")
    synth.add_argument("--size", type=int, default=40, help="side of the cubes in pixels (40)")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    synth.set_defaults(command=_synth)


def _synth(words: argparse.Namespace) -> int:
    from hyperspec.cubes.synthetic import SynthSettings, synthesise

    settings = SynthSettings(
        variant=words.variant,
        num_specimens=words.specimens,
        size=words.size,
        seed=words.seed,
        overwrite=words.overwrite,
    )
    print(f"wrote {synthesise(words.folder, settings)}")
    return 0


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = commands.add_parser("report", help="compare the runs of one or several sweeps")
    report.add_argument(
        "sweeps",
        nargs="+",
        metavar="SWEEP",
        help="'latest', a run id or its beginning, a run name, or a sweep's folder",
    )
    report.add_argument("--uri", default="sqlite:///mlflow.db", help="MLflow tracking URI")
    report.add_argument("--experiment", default="hyperspec", help="MLflow experiment")
    report.add_argument("--out", type=Path, default=Path("report"), help="folder to write")
    report.set_defaults(command=_report)


def _report(words: argparse.Namespace) -> int:
    from hyperspec.sweeps.report import report

    report(words.sweeps, uri=words.uri, experiment=words.experiment, out_dir=words.out)
    return 0


def _add_ui(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ui = commands.add_parser("ui", help="open the MLflow UI")
    ui.add_argument("--uri", default="sqlite:///mlflow.db", help="MLflow tracking URI")
    ui.add_argument("--host", default="127.0.0.1")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(command=_ui)


def _ui(words: argparse.Namespace) -> int:
    from hyperspec.sweeps.ui import launch_ui

    return launch_ui(words.uri, words.host, words.port)


if __name__ == "__main__":
    sys.exit(main())
