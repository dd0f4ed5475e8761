"""``hyperspec views``: what an encoder is shown of one cube."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.options import AXIS_HELP, parse_axis

if TYPE_CHECKING:
    from hyperspec.transforms.config import ViewsConfig


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "views",
        help="draw random views of one cube",
        description="Prepare one cube as training does and draw random views of it.",
    )
    add = parser.add_argument
    add("cube", type=Path, metavar="CUBE")
    add("--views", default="default", metavar="NAME", help="config of the views (default)")
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="change a setting of them, such as noise_sd=0.02 or windows_nm.blue=[400,480]; can be "
        "repeated")  # fmt: skip
    add("--num", type=int, default=8, help="number of views (8)")
    add("--size", type=int, default=128, help="side of image and views in pixels (128)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="PNG", help="picture to write (CUBE_views.png here)")
    add("--axis", help=f"for a header without wavelengths: {AXIS_HELP}")
    add("--calibrate", choices=["auto", "none"], default="auto")
    add("--mask", choices=["auto", "image", "otsu", "none"], default="auto")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Prepare the cube and draw."""
    import glob

    from hyperspec.datasets.catalogue.discover import find_cubes, find_frame, frame_kind
    from hyperspec.datasets.catalogue.scan import scan
    from hyperspec.datasets.preparation.prepare import prepare
    from hyperspec.datasets.preparation.settings import PrepareSettings
    from hyperspec.inspection.contact_sheet import contact_sheet
    from hyperspec.utils.errors import CubeError

    config = views_config(words.views, words.set)
    settings = PrepareSettings(size=words.size, calibrate=words.calibrate, mask=words.mask)
    cube: Path = words.cube
    if cube.is_dir():
        raise CubeError(
            f"{cube} is a folder; give one cube's data file. A cube in several files is written as "
            "one by hyperspec.cubes.write_envi."
        )
    if not cube.is_file() or cube.suffix.lower() == ".hdr":
        raise CubeError(f"{cube} is no data file of a cube; give the file beside the header.")
    if frame_kind(cube) is not None:
        raise CubeError(f"{cube} is named like a calibration frame; give a specimen's cube.")
    folder = cube.parent
    frames: dict[str, str | None] = {"white": None, "dark": None}
    if words.calibrate == "auto":
        files, _ = find_cubes(folder, "*")
        for kind in frames:
            found = find_frame(folder, files, kind, None)
            frames[kind] = None if found is None else found.relative_to(folder).as_posix()
    axis = parse_axis(words.axis, "--axis")
    catalogue = scan(
        folder,
        pattern=glob.escape(cube.name),
        axis=axis,
        white=frames["white"],
        dark=frames["dark"],
    )
    # The pattern also takes files of this name in folders below.
    record = next((r for r in catalogue.records if r.path == cube), None)
    if record is None:
        catalogue.raise_errors()
        raise CubeError(f"{cube} cannot be read.")
    prepared = prepare(record, catalogue, settings)
    out = Path(f"{cube.stem}_views.png") if words.out is None else words.out
    contact_sheet(
        prepared.image, catalogue.axis, config, out,
        mask=prepared.mask, num_views=words.num, size=words.size, seed=words.seed,
    )  # fmt: skip
    print(f"wrote {out}")
    return 0


def views_config(name: str, overrides: list[str]) -> ViewsConfig:
    """Return the views of ``conf/views/NAME.yaml`` with single settings changed.

    Raises:
        ConfigError: If there is no such file, or a setting is unknown, of another type or outside
            its range.
    """
    import difflib

    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    from hyperspec.config.compose import config_dir
    from hyperspec.transforms.config import CrossModalViews, ViewsConfig
    from hyperspec.utils.errors import ConfigError

    path = config_dir() / "views" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise ConfigError(f"--views is {name!r}; choose one of {known}.")
    # The words of `hyperspec train` do as well.
    given = [word.removeprefix("+").removeprefix("views.") for word in overrides]
    try:
        changed = OmegaConf.from_dotlist(given)
    except MarkedYAMLError as error:
        raise ConfigError(
            f"--set {' '.join(overrides)} cannot be read: {error.problem}. Give KEY=VALUE, such as "
            "noise_sd=0.02."
        ) from error
    loaded = OmegaConf.load(path)
    assert isinstance(loaded, DictConfig)
    schema = str(loaded.pop("defaults", ""))
    base = CrossModalViews if "/schema/views/cross_modal@_here_" in schema else ViewsConfig
    config = OmegaConf.structured(base)
    unknown = [str(key) for part in (loaded, changed) for key in part if key not in config]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(config), 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(config)}."
        raise ConfigError(f"The views have no setting {unknown[0]!r}. {hint}")
    try:
        made = OmegaConf.to_object(OmegaConf.merge(config, loaded, changed))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"views.{error.full_key} cannot be set: {reason}") from error
    assert isinstance(made, ViewsConfig)
    return made
