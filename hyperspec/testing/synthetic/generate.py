"""Writing a set of synthetic specimens: cubes, labels, reference frames and the truth."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.design import Design, build_design
from hyperspec.testing.synthetic.scene import VIEWS, Optics, Traits, render
from hyperspec.testing.synthetic.sensor import Sensor
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.testing.synthetic.truth import write_truth
from hyperspec.utils.atomic import replacing
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.progress import progress

TRUTH_FILE = "truth.json"
LABELS_FILE = "labels.csv"
COLUMNS = ("file", "species", "specimen", "view", "pigment", "uv", "red", "date")
SPOTS_COLUMNS = ("together", "layout")  # of the variant ``spots``
# Scan dates go round by specimen number, so that no species is confounded with a date.
DATES = ("140624", "150624", "170624")
# First words of spawn keys: each specimen's stream depends on its own species and number only.
SENSOR_KEY, SPECIMEN_KEY = 0, 1


@dataclass(frozen=True)
class Writer:
    """What every cube of a set needs."""

    folder: Path
    axis: SpectralAxis
    optics: Optics
    sensor: Sensor
    settings: SynthSettings

    def specimen(self, species: int, number: int) -> Iterator[dict[str, str]]:
        """Write both views of one specimen and yield their rows of the table of labels."""
        key = (SPECIMEN_KEY, species, number)
        seeds = np.random.SeedSequence(self.settings.seed, spawn_key=key).spawn(1 + len(VIEWS))
        rng = np.random.default_rng(seeds[0])
        design = self.optics.design
        factors = design.factors(species, rng)
        traits = Traits.draw(design, factors, rng)
        name, date = design.species[species].name, DATES[number % len(DATES)]
        for view, seed in zip(VIEWS, seeds[1:], strict=True):
            file = f"{name}_{number}{view}_{date}.bil"
            view_rng = np.random.default_rng(seed)
            image, _ = render(traits, self.optics, self.settings.size, view_rng, dorsal=view == "D")
            self.cube(file, self.sensor.expose(image, view_rng))
            known: dict[str, str | int | bool] = {"file": file, "species": name, "specimen": number}
            known |= {"view": view, "date": date, **factors.shown()}
            yield {key: _shown(known[key]) for key in columns(design)}

    def cube(self, file: str, counts: NDArray[np.uint16]) -> None:
        """Write counts of shape ``(lines, samples, C)`` as a BIL cube with ``.bil.hdr``."""
        write_envi(
            self.folder / file,
            counts.transpose(2, 0, 1),
            self.axis,
            interleave="bil",
            header_suffix=".bil.hdr",
            extra={"description": "{Synthetic specimen, raw counts of a simulated line scanner}"},
        )


def synthesise(root: Path, settings: SynthSettings | None = None) -> Path:
    """Write a folder of synthetic butterfly-like specimens, and return it.

    The folder appears whole or not at all: everything is written beside it first and renamed.
    It may exist when it is empty, or, with ``overwrite``, when it holds a synthetic set. It
    then holds one ``.bil`` and ``.bil.hdr`` for each view of each specimen, ``labels.csv``,
    ``white_reference.bil``, ``dark_reference.bil`` and ``truth.json``.

    Raises:
        CatalogueError: If the folder holds something that may not be replaced.
    """
    settings = settings or SynthSettings()
    root = Path(root)
    _check_target(root, settings.overwrite)
    before = root.with_name(f".{root.name}.before")
    with replacing(root) as folder:
        folder.mkdir()
        _write_set(folder, settings, build_design(settings.variant))
        if root.exists():
            root.replace(before)  # kept until the new set has its name
    shutil.rmtree(before, ignore_errors=True)
    return root


def _write_set(folder: Path, settings: SynthSettings, design: Design) -> None:
    axis = settings.axis
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(SENSOR_KEY,)))
    sensor = Sensor.build(axis.wavelengths_nm, settings.size, rng)
    writer = Writer(folder, axis, Optics(design, axis.wavelengths_nm), sensor, settings)
    writer.cube("white_reference.bil", sensor.white_frame(rng))
    writer.cube("dark_reference.bil", sensor.dark_frame(rng))
    with (folder / LABELS_FILE).open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns(design), lineterminator="\n")
        table.writeheader()
        total = len(design.species) * settings.num_specimens
        with progress("Rendering specimens", total) as advance:
            for species in range(len(design.species)):
                for number in range(1, settings.num_specimens + 1):
                    table.writerows(writer.specimen(species, number))
                    advance()
    write_truth(folder / TRUTH_FILE, settings, design, axis)


def columns(design: Design) -> tuple[str, ...]:
    """Return the columns of the table of labels."""
    return (*COLUMNS[:-1], *SPOTS_COLUMNS, COLUMNS[-1]) if design.variant == "spots" else COLUMNS


def _shown(value: str | int | bool) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _check_target(root: Path, overwrite: bool) -> None:
    if not root.exists():
        return
    if not root.is_dir():
        raise CatalogueError(f"{root} is a file; synthetic specimens need a folder of their own.")
    if not any(root.iterdir()):
        return
    if not overwrite:
        raise CatalogueError(
            f"{root} already holds files; nothing was written. Name another folder, or replace an "
            "earlier synthetic set with synth.overwrite=true."
        )
    if not (root / TRUTH_FILE).is_file():
        raise CatalogueError(
            f"{root} holds files but no {TRUTH_FILE}, so it is no synthetic set and is not "
            "replaced, even with synth.overwrite=true. Name another folder."
        )
