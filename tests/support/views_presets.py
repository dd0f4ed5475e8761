"""The presets of ``conf/views`` as objects, for tests of views that need no Hydra."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from hyperspec.config.groups import OPTIONS
from hyperspec.transforms.config import ViewsConfig

FOLDER = Path(__file__).parents[2] / "conf" / "views"


def read(name: str) -> ViewsConfig:
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    schema = values.pop("defaults")[0].removeprefix("/schema/views/").removesuffix("@_here_")
    made: ViewsConfig = OPTIONS["views"][schema](**values)
    return made


PRESETS: Mapping[str, ViewsConfig] = {
    name: read(name) for name in ("none", "light", "default", "strong", "cross_modal")
}
