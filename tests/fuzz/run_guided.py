"""Let atheris look for files that lead where no other has led, in one target of `make fuzz`.

    python tests/fuzz/run_guided.py header --examples 10000 --seed 1

It keeps what reaches new branches of the package and changes that further, so that it comes by what
no drawing by chance does. libFuzzer ends the process: with 0 when no example failed. One that does,
as in run_fuzz.py, is kept like there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "support"))

with atheris.instrument_imports(include=["hyperspec"], enable_loader_override=False):
    from fuzz_targets import TARGETS, keep, timed

LONGEST_S, MOST_MB = 60, 2000  # of the clock; torch and MLflow alone have 600 MB


def main() -> None:
    """Look for examples in one target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        prepared = TARGETS[words.target](Path(folder))
        names, known = sorted(prepared.seeds), Path(folder) / "known"
        known.mkdir()
        for place, name in enumerate(names):
            (known / name).write_bytes(bytes([place]) + prepared.seeds[name])

        def test(data: bytes) -> None:
            if not data:
                return
            example = names[data[0] % len(names)], data[1:]  # the first byte says which file it is
            try:
                timed(prepared, example)
            except BaseException:
                print("kept:", keep(words.target, example), flush=True)
                raise

        options = [
            *(f"-runs={words.examples}", f"-seed={words.seed}", f"-timeout={LONGEST_S}"),
            *(f"-rss_limit_mb={MOST_MB}", "-max_len=20000", "-print_final_stats=1", "-verbosity=0"),
            f"-artifact_prefix={folder}/",
        ]
        atheris.Setup([sys.argv[0], *options, str(known)], test)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
