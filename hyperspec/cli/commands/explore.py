"""``hyperspec explore``: the specimens of a folder as an encoder sees them, in one page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.importance import parse_regions, run_from
from hyperspec.cli.commands.words import CKPT_HELP, add_data, add_plugins, add_uri, restored_from
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    from hyperspec.inference.assessment import Embedded

_MOST = 2000  # images: of more, pictures would be too small to be looked at


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "explore",
        help="write a page to look at specimens, their spectra and their neighbours",
        description="Write one HTML file that shows every specimen of a folder where a trained "
        "encoder puts it: pictures at any of some bands, spectra, nearest neighbours, what was "
        "named wrongly. It needs no server and no network.",
    )
    add = parser.add_argument
    add("checkpoint", nargs="?", default="latest", metavar="CKPT|SWEEP",
        help=f"{CKPT_HELP}, which is the default")  # fmt: skip
    add_uri(parser)
    add("folder", nargs="?", type=Path, metavar="FOLDER", help="cubes (those of the training)")
    add_plugins(parser)
    add_data(parser)
    add("--labels-column", default="label", metavar="NAME", help="what probes name (label)")
    add("--mark", metavar="A:B,...", help="stretches in nm to shade, such as 365:381,695:705")
    add("--picture", choices=["pca", "umap"], default="umap", help="pca leaves out UMAP, which is "
        "there too where the extra 'umap' is installed")  # fmt: skip
    add("--most", type=int, default=_MOST, metavar="N",
        help=f"images that are shown ({_MOST}); whole specimens are left out evenly")  # fmt: skip
    add("--out", type=Path, default=Path("explorer.html"), metavar="HTML")
    add("--run", metavar="RUN", help="MLflow run that the page is added to, by name or id")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Read, embed and write."""
    if words.most < 3:
        raise ConfigError(f"--most is {words.most}; a map takes 3 images or more.")
    marked = [
        {"start": start, "stop": stop, "text": f"{start:g} to {stop:g} nm (--mark)"}
        for start, stop in parse_regions(words.mark)
    ]
    run_id = None if words.run is None else run_from(words, words.run)
    with progress("Reading the runs"):
        from hyperspec.report.checkpoint_lookup import read_word

        meant = read_word(words.checkpoint, words.uri)
        path, told = meant.find()
    print(f"{meant.word}: {told}" if told else f"checkpoint: {path}")
    with progress("Loading PyTorch and the encoder"):
        from hyperspec.inference.assessment import Embedded
        from hyperspec.report.explorer.page import explore
        from hyperspec.report.important_windows import important_windows

    embedded = Embedded(restored_from(words, path))
    stretches, found = important_windows(meant)
    windows: list[dict[str, Any]] = [
        {"start": one.start_nm, "stop": one.stop_nm, "text": one.text, "told": True}
        for one in stretches
    ]
    shown = explore(
        embedded,
        words.out,
        title=_title(embedded, meant.run.name if meant.run else path.parent.name),
        about=_about(embedded, told),
        windows=[*windows, *marked],
        windows_note=found,
        column=words.labels_column,
        umap=words.picture == "umap",
        most=words.most,
    )
    size = words.out.stat().st_size / 1e6
    print(f"wrote {words.out}: {shown} images, {size:.1f} MB; open it in a browser")
    if run_id is not None:
        from hyperspec.tracking.client import open_client, resolve_uri
        from hyperspec.tracking.contract import Folder

        open_client(resolve_uri(words.uri)).log_artifact(run_id, str(words.out), Folder.EXPLORER)
        print(f"added to run {run_id}")
    return 0


def _title(embedded: Embedded, name: str) -> str:
    folder = Path(embedded.restored.config.data.root)
    return f"{folder.resolve().name}, as seen by the encoder of {name}"


def _about(embedded: Embedded, told: str) -> list[str]:
    restored = embedded.restored
    material = restored.material
    sentences = [f"The encoder is {told}."] if told else []
    sentences += [
        f"It was trained on {len(restored.trained)} bands (bands={restored.trained.strategy}).",
        f"{len(material.files)} images of {len(set(material.specimens))} specimens.",
    ]
    if not restored.same_data:
        sentences.append(
            "These are not the data that the encoder was trained on, or they are split otherwise: "
            "parts are drawn anew, and it may have seen the test part."
        )
    return sentences
