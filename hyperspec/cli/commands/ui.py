"""``hyperspec ui``: open the MLflow UI on the runs of this folder."""

from __future__ import annotations

import argparse

from hyperspec.cli.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("ui", help="open the MLflow UI")
    parser.add_argument("--uri", default="sqlite:///mlflow.db", help="MLflow tracking URI")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from hyperspec.tracking.ui import launch_ui

    return launch_ui(words.uri, words.host, words.port)
