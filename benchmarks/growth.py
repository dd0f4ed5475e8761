"""Does an encoder go on seeing the same after it was given more bands?

Trains each stem and backbone for a few epochs on synthetic specimens with m bands, grows it to n,
and compares the embeddings of the test part before and after: `plain` interpolates the stem's
weights over nm and scales them by m/n, `kept` is what `hyperspec train` does.

    python benchmarks/growth.py [--stems ...] [--models ...] [--epochs 20]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import record
import torch
from hydra import compose, initialize_config_dir

from hyperspec.bands import Uniform
from hyperspec.config import groups
from hyperspec.config.schema import Train
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.builders import assemble
from hyperspec.training.data import Material, gather
from hyperspec.training.growth import Growth, grow_into
from hyperspec.training.simclr import SimCLR

STEPS = ((20, 50), (9, 408))
CONF = Path(__file__).resolve().parents[1] / "conf"


def configured(root: Path, words: list[str]) -> Train:
    groups.register()
    with initialize_config_dir(str(CONF)):
        config = compose("train", ["experiment=demo", f"data.root={root}", "bands.n=9", *words])
    return groups.to_train(config)


def train(config: Train, material: Material) -> SimCLR:
    import pytorch_lightning as pl

    from hyperspec.training.datamodule import SpecimenData
    from hyperspec.training.trainer import quieten

    quieten()
    torch.manual_seed(config.seed)
    module = assemble(config, material, torch.device("cpu"))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=config.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, SpecimenData(module.bank, material.split, config.batch_size, config.seed))
    return module.eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stems", default="projection,inflate,wavelength,attention")
    parser.add_argument("--models", default="tiny,resnet18")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--specimens", type=int, default=20)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--extra", nargs="*", default=[])
    words = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = words.root or synthesise(
            Path(folder) / "specimens", SynthSettings(num_specimens=words.specimens, size=32)
        )
        cache = words.root.parent / "cache" if words.root else Path(folder) / "cache"
        for model in words.models.split(","):
            for stem in words.stems.split(","):
                for few, many in STEPS:
                    given = [f"model={model}", f"model.stem={stem}", f"epochs={words.epochs}"]
                    config = configured(root, [*given, f"data.cache_dir={cache}", *words.extra])
                    few_bands = gather(config.data, Uniform(few))
                    trained = train(config, few_bands)
                    row = {"model": model, "stem": stem, "from": few, "to": many}
                    for rule in ("plain", "kept"):
                        there = gather(config.data, Uniform(many))
                        torch.manual_seed(1)
                        grown = assemble(config, there, torch.device("cpu"))
                        old = few_bands.selection
                        found = grow_into(grown, there, trained, old, plain=rule == "plain")
                        row |= {f"{rule}_{key}": value for key, value in summary(found).items()}
                    rows.append(row)
                    show(row)
    print(f"wrote {record.write('growth', {'rows': rows, **record.context(('torch', 'numpy'))})}")
    return 0


def summary(found: Growth) -> dict[str, float]:
    return {"cosine": found.cosine, "centred": found.centred_cosine, "head": found.head_cosine}


def show(row: dict[str, object]) -> None:
    cells = [f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()]
    print(" | ".join(cells), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
