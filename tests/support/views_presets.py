"""The presets of ``conf/views`` as objects, for tests of views that need no Hydra."""

from collections.abc import Iterator, Mapping
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


class _Presets(Mapping[str, ViewsConfig]):
    """Read anew for each use: configs may be changed, and one test's change is no other's."""

    names = ("none", "light", "default", "strong", "cross_modal")

    def __getitem__(self, name: str) -> ViewsConfig:
        return read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


PRESETS = _Presets()
