"""``hyperspec ui``: open the MLflow UI on the runs of this folder."""

from __future__ import annotations

import argparse
import os
import sys

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_uri


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("ui", help="open the MLflow UI")
    add_uri(parser)
    parser.add_argument("--host", default="127.0.0.1", help="interface (127.0.0.1)")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from hyperspec.tracking.ui import launch_ui

    # A terminal without a screen would get a browser of text.
    screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    browser = screen and sys.stdout.isatty() and not words.no_browser
    return launch_ui(words.uri, words.host, words.port, browser=browser)
