"""What tells jobs apart: the settings that differ, and what decides a result beside them.

Two jobs of the same parameters may be different ones: ``ckpt`` held something else, a plug-in or a
part of the package was changed in between. Their identity says so (:mod:`hyperspec.runs.identity`),
and here it becomes settings like any other, named in each row, so that nothing averages over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pandas as pd

_PREFIX = "params."
_SOURCE = "source"  # in the versions of the parts, where the package's source was changed
PLUGINS = "plugins."
# What no setting is: seeds, bookkeeping, and values that follow from the chosen bands.
_NOT_SETTINGS = {"seed", "experiment", "objective", "data.split.rotation"}
_NOT_SETTINGS |= {"bands", "bands.n", "bands.wavelengths_nm", "bands.count"}
# They follow from the specimens, which are told apart by the hash of the data.
_NOT_SETTINGS |= {"data.num_cubes", "data.num_specimens", "model.num_features"}
# Words for the same job: what `auto` measures is measured after the jobs.
_ALIKE = {"evaluation.importance": {"auto", "False"}}
_SHORT = 6  # hex digits of a hash that a reader is shown


def text_of(jobs: pd.DataFrame, column: str) -> pd.Series[str]:
    """Return a column as text, empty where the jobs lack it."""
    if column not in jobs:
        return pd.Series("", index=jobs.index, dtype=object)
    return jobs[column].astype(object).where(jobs[column].notna(), "").map(str)


@cache
def free() -> frozenset[str]:
    """Return the config keys that decide no result: paths, workers, logging."""
    from hyperspec.config.schema import Train
    from hyperspec.utils.fields import free_keys

    return frozenset(free_keys(Train))


def is_free(key: str) -> bool:
    """Say whether a config key, or the group that it belongs to, decides no result."""
    parts = key.split(".")
    return any(".".join(parts[:end]) in free() for end in range(1, len(parts) + 1))


def settings(jobs: pd.DataFrame) -> tuple[str, ...]:
    """Return the parameters, besides bands and seed, that differ between jobs.

    A parameter that follows from another one, as ``views.gain`` follows from ``views=strong``, is
    left out; so is one that equals the seed, also when it does in some strategies and is fixed in
    the others (``bands.seed=${seed}`` of ``random`` beside that of ``issc``).
    """
    columns = [c for c in jobs.columns if c.startswith(_PREFIX) and jobs[c].nunique() > 1]
    found: list[str] = []
    for key in sorted((c.removeprefix(_PREFIX) for c in columns), key=lambda k: k.count(".")):
        if key in _NOT_SETTINGS or (is_free(key) and not key.startswith(PLUGINS)):
            continue
        given = jobs.dropna(subset=[f"{_PREFIX}{key}"])
        if set(given[f"{_PREFIX}{key}"]) <= _ALIKE.get(key, set()):
            continue
        if follows_the_seed(given, key):
            continue
        if not any(_follows(given, key, cause) for cause in _causes(key, found)):
            found.append(key)
    return tuple(found)


def follows_the_seed(jobs: pd.DataFrame, key: str) -> bool:
    """Say whether a parameter equals the seed in these jobs, or is fixed where it does not."""
    if f"{_PREFIX}seed" not in jobs:
        return False
    same = jobs[f"{_PREFIX}{key}"] == jobs[f"{_PREFIX}seed"]
    fixed = jobs.groupby("strategy")[f"{_PREFIX}{key}"].transform("nunique") == 1
    return bool(same.any() and (same | fixed if key.startswith("bands.") else same).all())


def _causes(key: str, found: list[str]) -> list[list[str]]:
    group = key.split(".")[0]
    causes = [[f"{_PREFIX}{group}"]] if group in found else []
    return [*causes, ["strategy", "n"]] if group == "bands" else causes


def _follows(jobs: pd.DataFrame, key: str, cause: list[str]) -> bool:
    return bool((jobs.groupby(cause, dropna=False)[f"{_PREFIX}{key}"].nunique() <= 1).all())


def with_variants(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return the jobs with a parameter more for each thing that tells them apart beside settings.

    These are ``<part> version`` (of the parts that compute a job), ``package source``,
    ``plugins.<module>``, and ``identity`` (the sweep's name, or the first digits) where jobs of
    equal settings, data and seed have different ones and nothing that is stored says why. Files
    that count by content, such as ``ckpt``, get the hash behind their name.
    """
    kept = [_parsed(text) for text in text_of(jobs, "results")]
    found = {**_versions(kept), **_files(jobs)}
    made = jobs.copy()
    for key, values in found.items():
        made[f"{_PREFIX}{key}"] = values
    return _apart_by_sweep(made)


def _parsed(text: str) -> dict[str, str]:
    """Read ``bands.uniform=1 losses.nt_xent=1``."""
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def _versions(kept: list[dict[str, str]]) -> dict[str, list[str | None]]:
    """Return the versions of those parts of which there are several; None where one is not used."""
    known = [one for one in kept if one]
    found: dict[str, list[str | None]] = {}
    for part in sorted({part for one in known for part in one} - {_SOURCE}):
        if len({one[part] for one in known if part in one}) > 1:
            found[f"{part} version"] = [one.get(part) for one in kept]
    if len({one.get(_SOURCE, "") for one in known}) > 1:
        shown = [one.get(_SOURCE, "")[:_SHORT] or "as released" for one in kept]
        found["package source"] = [
            text if one else None for text, one in zip(shown, kept, strict=True)
        ]
    if 0 < len(known) < len(kept):
        found["versions"] = ["kept" if one else "not kept (0.1.0)" for one in kept]
    return found


def _files(jobs: pd.DataFrame) -> dict[str, list[str | None]]:
    """Return what is read besides the cubes, named by its content where that is known."""
    kept = [_parsed(text) for text in text_of(jobs, "contents")]
    found: dict[str, list[str | None]] = {}
    for key in sorted({key for one in kept for key in one}):
        if len({one.get(key, "") for one in kept}) < 2:
            continue
        paths = text_of(jobs, f"{_PREFIX}{key}")
        found[key] = [_content(path, one.get(key)) for path, one in zip(paths, kept, strict=True)]
        first: dict[str, str] = {}  # the same content under two names is the same
        for place, one in enumerate(kept):
            if key in one:
                found[key][place] = first.setdefault(one[key], str(found[key][place]))
    return found


def _content(path: str, digest: str | None) -> str | None:
    name = path.rpartition("/")[2]
    return f"{name} {digest[:_SHORT]}".strip() if digest else path or None


def _apart_by_sweep(jobs: pd.DataFrame) -> pd.DataFrame:
    """Keep apart what differs in identity though nothing that is stored says in what."""
    finished = jobs[text_of(jobs, "status") == "FINISHED"]
    who = text_of(finished, "settings_hash").where(
        text_of(finished, "settings_hash") != "", text_of(finished, "identity")
    )
    finished, who = finished[who != ""], who[who != ""]
    if len(finished) < 2:
        return jobs
    named = [f"{_PREFIX}{key}" for key in settings(finished)]
    setting = ["strategy", "n", *named, *_present(finished, "data_hash", "params.objective")]
    cell = [*setting, *_present(finished, "split_hash", "seed", "rotation")]
    several = who.groupby([finished[c] for c in cell], dropna=False).transform("nunique") > 1
    if not several.any():
        return jobs
    groups = [finished[column] for column in setting]
    mixed = several.groupby(groups, dropna=False).transform("any")
    by_sweep = (
        who.groupby([*(finished[c] for c in cell), finished["sweep_id"]], dropna=False)
        .transform("nunique")
        .groupby(groups, dropna=False)
        .transform("max")
    )
    names = finished["sweep"].where(by_sweep == 1, who.str[:_SHORT])
    if finished[mixed].groupby("sweep")["sweep_id"].nunique().max() > 1:  # sweeps of one name
        names = names + " " + finished["sweep_id"].str[:_SHORT]
    return jobs.assign(**{f"{_PREFIX}identity": names[mixed].reindex(jobs.index)})


def _present(jobs: pd.DataFrame, *columns: str) -> Iterator[str]:
    return (column for column in columns if column in jobs)
