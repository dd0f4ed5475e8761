"""Print every requirement at its declared lower bound, for `pip install -c`.

    python .ci/lowest.py > build/lowest.txt

Of the package's own requirements and of the extras that its tests run; what the tools of the tests
themselves need at least is not asked.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
EXTRAS = ("importance", "umap", "matlab", "zarr", "slurm", "ray", "postgres")


def lowest() -> list[str]:
    """Return ``name==bound`` of each requirement that names a bound."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]
    wanted += [one for one in extras["dev"] if one.startswith("xarray")]  # it stands on pandas
    found = [re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", one) for one in wanted]
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    print(*lowest(), sep="\n")
