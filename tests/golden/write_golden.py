"""Write the golden numbers anew: `python tests/golden/write_golden.py` (or `make golden`).

Numbers that moved are written only where the version of a part that they go through was raised in
``hyperspec/utils/results_version.py``. When all agree, the hash of the source is noted there: from
then on jobs of this checkout and of the one before are the same jobs.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import warnings
from pathlib import Path

import torch

# Threads change the order of sums, and half a hundred small runs are slower with many.
import hyperspec  # noqa: F401 - before what imports torchvision

sys.path.insert(0, str(Path(__file__).parent))

import golden_record
import golden_runs
import golden_training

from hyperspec.utils.results_version import RESULTS, SOURCE_TREE
from hyperspec.utils.source_tree import files_hash, tree_hash

RUNS = {**golden_runs.RUNS, **golden_training.RUNS}


def main() -> int:
    """Compute all, refuse what moved without a raised version, write the rest."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Lightning's, of loaders and of checkpoints
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    kept = golden_record.read()
    written, refused = {}, []
    for name, run in RUNS.items():
        begun = time.monotonic()
        found = run.compute()
        print(f"{name}: {len(found)} numbers, {time.monotonic() - begun:.1f} s", flush=True)
        why = golden_record.refusal(kept.get(name), run, found, RESULTS)
        if why is not None:
            refused.append(f"{name}: {why}")
        elif not _same(kept.get(name), run, found):
            kept.pop(name, None)
        written[name] = kept.get(name) or golden_record.record(run, found, RESULTS)
    if refused:
        print("\nNothing was written.\n" + "\n".join(refused))
        return 1
    golden_record.FILE.write_text(json.dumps(written, indent=1) + "\n")
    note_source()
    return 0


def _same(kept: dict[str, object] | None, run: golden_record.Run, found: dict[str, float]) -> bool:
    """Say whether what is kept still holds, so that its last digits stay as they were written."""
    if kept is None:
        return False
    fresh = golden_record.record(run, found, RESULTS)
    numbers = kept["numbers"]
    assert isinstance(numbers, dict)
    same = not golden_record.moved(numbers, found, run.tolerance)
    return same and kept["versions"] == fresh["versions"]


def note_source() -> None:
    """Note the hashes of the source that gave the numbers."""
    file, text = golden_record.TABLE, golden_record.TABLE.read_text()
    hashes = {"SOURCE_TREE": tree_hash(), "SOURCE_FILES": files_hash()}
    for name, now in hashes.items():
        text = re.sub(rf'^{name} = ".*"$', f'{name} = "{now}"', text, flags=re.MULTILINE)
    file.write_text(text)
    if hashes["SOURCE_TREE"] != SOURCE_TREE:
        print(f"The source is {hashes['SOURCE_TREE']} now; it was {SOURCE_TREE or 'not noted'}.")


if __name__ == "__main__":
    sys.exit(main())
