"""``hyperspec sync``: send what runs have to say to a store that was away."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.utils.progress import progress


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "sync", help="send runs that wait on disk to the tracking store that was away"
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(".hyperspec/outbox"),
        help="outbox, or a folder that has one (.hyperspec/outbox)",
    )
    parser.add_argument("--uri", help="send there instead of to the address that each run names")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Send; return 1 when runs are left or the store refuses a part of one."""
    from hyperspec.tracking.cleanup import send_outbox
    from hyperspec.tracking.client import resolve_uri
    from hyperspec.utils.errors import TrackingError

    inside = words.folder / ".hyperspec" / "outbox"
    outbox = inside if inside.is_dir() else words.folder
    if not outbox.is_dir():
        raise TrackingError(
            f"There is no outbox at {words.folder}: no run of this folder has waited for its "
            "store. Name another folder: hyperspec sync FOLDER."
        )
    uri = None if words.uri is None else resolve_uri(words.uri)
    with progress("Sending runs"):
        found = send_outbox(outbox.absolute(), uri=uri, sent=print)
    aside = f", {len(found.refused)} lines refused" if found.refused else ""
    print(f"{len(found.sent)} runs sent, {len(found.waiting)} left in {outbox}{aside}")
    for one in found.waiting:
        print(f"  left: {one.name}: {one.reason}")
    if found.busy:
        print(f"  {found.busy} runs are still written by their processes, which send them")
    for line in found.refused:
        print(f"  refused: {line} (kept in {outbox.parent / 'refused'})")
    return 1 if found.waiting or found.refused else 0
