"""``hyperspec views``: what an encoder is shown of one cube."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import OldFlag, add_data, words_from
from hyperspec.utils.progress import progress


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "views",
        help="draw random views of one cube",
        description="Prepare one cube as training does and draw random views of it.",
    )
    add = parser.add_argument
    add("cube", type=Path, metavar="CUBE")
    for flag in ("--views", "--set"):  # until 0.1.0
        add(flag, action=OldFlag, help=argparse.SUPPRESS)
    add("--num", type=int, default=8, help="number of views (8)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="PNG", help="picture to write (CUBE_views.png here)")
    add_data(parser, " and views=NAME views.KEY=VALUE")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Prepare the cube and draw."""
    import glob
    from dataclasses import replace

    from hyperspec.datasets.catalogue.labels import NoLabels
    from hyperspec.datasets.config import FolderData, scan_folder
    from hyperspec.datasets.preparation.preparation import PrepareSettings
    from hyperspec.utils.errors import ConfigError, CubeError

    cube = _checked(words.cube)
    with progress("Loading what draws"):
        from hyperspec.config.compose_data import compose_views
        from hyperspec.datasets.preparation.prepare import prepare
        from hyperspec.inspection.contact_sheet import contact_sheet
    data, views = compose_views(words_from(words), cube.parent, ["data.size=128"])
    if not isinstance(data, FolderData):
        raise ConfigError("data=tiles has no image per cube to draw; take data=folder.")
    only = replace(data, pattern=glob.escape(cube.name), labels=NoLabels())
    catalogue = scan_folder(only)
    # The pattern also takes files of this name in folders below.
    record = next((r for r in catalogue.records if r.path == cube), None)
    if record is None:
        catalogue.raise_errors()
        raise CubeError(f"{cube} cannot be read.")
    out = Path(f"{cube.stem}_views.png") if words.out is None else words.out
    with progress("Drawing views"):
        prepared = prepare(record, catalogue, PrepareSettings.of(data))
        contact_sheet(
            prepared.image, catalogue.axis, views, out,
            mask=prepared.mask, num_views=words.num, size=data.size, seed=words.seed,
            quantity=prepared.statistics.quantity,
        )  # fmt: skip
    print(f"wrote {out}")
    return 0


def _checked(cube: Path) -> Path:
    from hyperspec.cubes.frames import frame_kind
    from hyperspec.utils.errors import CubeError

    if cube.is_dir():
        raise CubeError(
            f"{cube} is a folder; give one cube's data file. A cube in several files is written as "
            "one by hyperspec.cubes.write_envi."
        )
    if not cube.is_file() or cube.suffix.lower() == ".hdr":
        raise CubeError(f"{cube} is no data file of a cube; give the file beside the header.")
    if frame_kind(cube) is not None:
        raise CubeError(f"{cube} is named like a calibration frame; give a specimen's cube.")
    return cube
