"""``hyperspec plan``: memory and work of a run, known before it starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_config_dir, config_words, table_of
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    from hyperspec.config.schema import Train


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plan",
        help="predict the memory and work of a run",
        description="Predict peak memory and FLOP per step of `hyperspec train` with the same "
        "words, without training and without data: say whether it fits, and what to change.",
        epilog="example: hyperspec plan model=resnet50 model.norm=group bands.n=408 data.size=224 "
        "batch_size=256 hardware.micro_batch=4",
    )
    parser.add_argument(
        "hydra_words", nargs="*", metavar="KEY=VALUE", help="as for `hyperspec train`"
    )
    add_config_dir(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Predict and print."""
    from rich.console import Console

    config = composed([*config_words(words), *words.hydra_words])
    with progress("Tracing a step"):
        from hyperspec.runs.planning.memory import forecast

        found = forecast(config)
    plan, table = found.plan, table_of(["memory"], ["MB"])
    for name, size in [*plan.rows(), ("process", found.process), ("total", found.total)]:
        table.add_row(name, f"{size / 1e6:.0f}")
    Console().print(table, highlight=False)
    print(f"{plan.flop / 1e9:.4g} GFLOP per step")
    if plan.host:
        print(f"in the host's memory beside that: {plan.host / 1e6:.0f} MB of planes and masks")
    for line in found.lines():
        print(line)
    return 0


def composed(words: Sequence[str]) -> Train:
    """Return the checked config that words of `hyperspec train` make; data need not be there."""
    from omegaconf import OmegaConf

    from hyperspec.config.compose import compose_words
    from hyperspec.config.groups import to_train
    from hyperspec.config.plugins import load_from_words

    load_from_words(words)
    config = compose_words(words)
    if OmegaConf.is_missing(config.data, "root"):
        config.data.root = "no_folder_given"
    return to_train(config)
