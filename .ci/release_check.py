"""``make release-check``: what has to hold before a version is tagged.

Texts (version, changelog, citation, tag), frozen artefacts, pages of the reference and the site,
and the wheel and the source distribution, each built and tried in an environment of its own. Ends
with 1 where something does not hold.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Left out of the environment of what is tried: a path could lead back into the checkout.
_OWN = ("PYTHONPATH", "MLFLOW_TRACKING_URI")


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a program; return what it printed, or raise with it."""
    env = {key: value for key, value in os.environ.items() if key not in _OWN}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def version_of(root: Path = ROOT) -> str:
    """Return the version that the source has."""
    text = (root / "hyperspec/utils/version.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found is not None
    return found[1]


def texts(version: str, changelog: str, citation: str) -> Iterator[str]:
    """Yield what does not fit a version in the changelog and the citation."""
    heads = re.findall(r"(?m)^## (.+)$", changelog)
    if not any(re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", one) for one in heads):
        yield f"CHANGELOG.md has no heading '## {version} (YYYY-MM-DD)'"
    open_part = changelog.partition("## Unreleased")[2].partition("\n## ")[0]
    if "\n- " in open_part:
        yield "CHANGELOG.md has entries under Unreleased: head them with the new version"
    if not re.search(rf"(?m)^version: {re.escape(version)}$", citation):
        yield f"CITATION.cff does not say version: {version}"


def check_texts(_: Path) -> Iterator[str]:
    """Version, changelog, citation, a clean checkout, a tag that is free or here."""
    version = version_of()
    changelog, citation = (ROOT / name for name in ("CHANGELOG.md", "CITATION.cff"))
    yield from texts(version, changelog.read_text(), citation.read_text())
    if run("git", "status", "--porcelain"):
        yield "the checkout has changes that are not committed"
    tagged = run("git", "tag", "--list", f"v{version}").strip()
    if tagged and run("git", "rev-list", "-1", tagged) != run("git", "rev-parse", "HEAD"):
        yield f"the tag {tagged} is of another commit: raise the version in utils/version.py"


def check_assets(_: Path) -> Iterator[str]:
    """What the version writes is frozen."""
    folder = ROOT / "tests/assets" / version_of()
    for name in ("assets.tar.xz", "numbers.json"):
        if not (folder / name).is_file():
            yield f"{folder.relative_to(ROOT)}/{name} is missing: CONTRIBUTING.md, Frozen artefacts"


def check_docs(place: Path) -> Iterator[str]:
    """The reference is of today, and the site is built without a warning."""
    run(sys.executable, "docs/make_reference.py", "--check")
    site = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", place / "site"]
    run(sys.executable, *site)
    yield from ()


def check_wheel(place: Path) -> Iterator[str]:
    """The wheel holds the config and types, and trains outside of the checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", place, ROOT]
    run(*build)
    (wheel,) = place.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        inside = f"hyperspec/conf/{path.relative_to(ROOT / 'conf').as_posix()}"
        if inside not in names:
            yield f"the wheel lacks {inside}"
    if "hyperspec/py.typed" not in names:
        yield "the wheel lacks hyperspec/py.typed"
    try_out(wheel, place / "from_wheel")


def check_sdist(place: Path) -> Iterator[str]:
    """The source distribution holds what tests and pages need, and builds a wheel that trains."""
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", place, ROOT)
    (source,) = place.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("conf/train.yaml", "docs/README.md", "mkdocs.yml", "CITATION.cff", "Makefile"):
        if needed not in names:
            yield f"the source distribution lacks {needed}"
    try_out(source, place / "from_source")


def try_out(package: Path, folder: Path) -> None:
    """Install a package into a fresh environment that is lent its dependencies, and train."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin/python"
    lent = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (lent / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    how = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(python, "-m", "pip", "install", *how, package, cwd=folder)
    where = run(python, "-c", "import hyperspec; print(hyperspec.__file__)", cwd=folder)
    if str(folder) not in where:
        raise RuntimeError(f"{package.name} was tried from {where}")
    command = folder / "bin/hyperspec"
    run(command, "synth", "specimens", "--specimens", "4", "--size", "16", cwd=folder)
    words = ["experiment=demo", "data.root=specimens", "data.size=16", "epochs=1", "bands.n=10"]
    run(command, "train", *words, cwd=folder)


CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (
    *(check_texts, check_assets, check_docs),
    *(check_wheel, check_sdist),
)


def main() -> int:
    """Run all checks, print what does not hold, return the exit status."""
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        for check in CHECKS:
            try:
                problems = list(check(Path(place)))
            except RuntimeError as error:
                problems = [str(error)]
            print(f"{'wrong' if problems else 'holds'}: {check.__doc__}", flush=True)
            for problem in problems:
                print(f"  {problem}", flush=True)
            wrong += len(problems)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
