"""What each setting of `bands=learned` met and reached, on the sets to choose on and on others.

    python experiments/learned/table.py --sweeps learned/sweeps/* --out learned

A window is met where a chosen band lies within half its width of its centre.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd

from hyperspec.report.load import load_sweep
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.design import build_design

NUM_BANDS = 10
DEFAULTS = {
    "bands.lr": 1.0,
    "bands.search_share": 0.5,
    "bands.end_temperature": 0.1,
    "bands.start_temperature": 10.0,
    "bands.duplicate_penalty": 1.0,
}
_PARTS = (("choose", "Chosen on"), ("judge", "Judged on"), ("counts", "Other counts, on"))


def windows_met(artifact_uri: str) -> int:
    """Return how many of the planted windows a run's bands meet."""
    folder = Path(unquote(urlparse(artifact_uri).path))
    content = json.loads((folder / "bands.json").read_text())
    nm = SpectralAxis.from_dict(content["axis"]).wavelengths_nm[content["indices"]]
    windows = build_design("planted").windows
    return sum(bool((abs(nm - w.centre_nm) <= w.fwhm_nm / 2).any()) for w in windows)


def jobs_of(sweeps: list[Path], uri: str | None) -> pd.DataFrame:
    """Return a row for each job: part, set, setting, seed, windows met, test k-NN."""
    rows = []
    for folder in sweeps:
        part, specimens = folder.name.partition("-")[0], folder.name.rpartition("-")[2]
        for _, job in load_sweep(uri, [str(folder)]).finished.iterrows():
            given = {key: float(job[f"params.{key}"]) for key in DEFAULTS}
            more = [f"bands.n={job['n']:g}"] if job["n"] != NUM_BANDS else []
            changed = [f"{key}={value:g}" for key, value in given.items() if value != DEFAULTS[key]]
            rows.append(
                {
                    "part": part,
                    "set": int(specimens),
                    "setting": " ".join(more + changed) or "defaults",
                    "seed": int(job["seed"]),
                    "met": windows_met(job["artifact_uri"]),
                    "knn": float(job["metrics.test/knn_top1"]),
                }
            )
    return pd.DataFrame(rows).drop_duplicates(["part", "set", "setting", "seed"])


def markdown(jobs: pd.DataFrame) -> str:
    """Return a table of the set to choose on, one of the others, and one of other counts."""
    parts = []
    for part, title in _PARTS:
        own = jobs[jobs["part"] == part]
        if own.empty:
            continue
        sets = sorted(own["set"].unique())
        of_sets = f"set{'s' * (len(sets) > 1)} {', '.join(map(str, sets))}"
        lines = [f"### {title} {of_sets}", ""]
        lines += ["| setting | windows met | mean test k-NN | by set and seed |"]
        lines += ["| --- | --- | --- | --- |"]
        means = own.groupby("setting")["knn"].mean().sort_values(ascending=False)
        for setting, mean in means.items():
            rows = own[own["setting"] == setting].sort_values(["set", "seed"])
            by_set = "; ".join(
                ", ".join(f"{v:.2f}" for v in rows[rows["set"] == one]["knn"]) for one in sets
            )
            met = f"{rows['met'].sum()} of {2 * len(rows)}"
            lines.append(f"| `{setting}` | {met} | {mean:.2f} | {by_set} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sweeps", nargs="+", type=Path, required=True, help="folders of sweeps")
    parser.add_argument("--uri", help="MLflow tracking URI")
    parser.add_argument("--out", type=Path, default=Path("learned"))
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    (words.out / "tables.md").write_text(markdown(jobs_of(words.sweeps, words.uri)), "utf-8")
    print(f"wrote {words.out / 'tables.md'}")


if __name__ == "__main__":
    main()
