"""Every overlay and every option of every group composes and passes its own checks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from views_presets import PRESETS

from hyperspec.bands import OPTIONS
from hyperspec.config import config_dir, groups, schema
from hyperspec.config.compose import prepare_arguments
from hyperspec.datasets.config import FolderData
from hyperspec.spectra.eyes import EYES
from hyperspec.utils.errors import ConfigError, HyperspecError

CONF = config_dir()
GROUPS = {
    group: sorted(p.stem for p in (CONF / group).glob("*.yaml"))
    for group in ("data", "bands", "model", "loss", "views", "hardware", "tracking")
}
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))
SEARCHES = sorted(p.stem for p in (CONF / "search").glob("*.yaml"))
# What cannot be had together.
CONTRADICTIONS = [
    ("views=cross_modal", other)
    for other in (
        *("loss=combined", "bands=learned", "bands=pca_projection", "bands=nmf_projection"),
        *("bands=receptors", "bands=filters"),
    )
]
# What an option needs besides its name.
NEEDS = {"bands=list": ["bands.nm=[450,700]"], "tracking=server": ["tracking.uri=http://x:1"]}


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF)):
        yield


def composed(*overrides: str, hydra: bool = False) -> DictConfig:
    return compose("train", ["data.root=folder", *overrides], return_hydra_config=hydra)


@pytest.mark.parametrize(
    "words", [[f"{group}={option}"] for group, options in GROUPS.items() for option in options]
)
def test_every_option_composes_and_validates(words: list[str]) -> None:
    groups.to_train(composed(*words, *NEEDS.get(words[0], [])))


# Options with a setting in their name, such as bands=uniform/10.
NAMED = sorted(str(p.relative_to(CONF / "bands"))[:-5] for p in (CONF / "bands").glob("*/*.yaml"))


@pytest.mark.parametrize("option", NAMED)
def test_options_with_a_setting_in_their_name_differ_in_it_alone(option: str) -> None:
    group, _, setting = option.partition("/")
    made = groups.to_train(composed(f"bands={option}")).bands
    plain = groups.to_train(composed(f"bands={group}")).bands
    expected = {
        "uniform": lambda: {"n": int(setting)},
        "receptors": lambda: {"eye": setting},
        "filters": lambda: dict(
            zip(("n", "width_nm"), map(float, setting.split("x")), strict=True)
        ),
    }[group]()
    assert asdict(made) == {**asdict(plain), **expected}


def test_every_eye_is_an_option() -> None:
    assert [name for name in NAMED if name.startswith("receptors/")] == sorted(
        f"receptors/{eye}" for eye in EYES
    )


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("hardware", GROUPS["hardware"])
def test_every_experiment_fits_every_hardware(experiment: str, hardware: str) -> None:
    made = groups.to_train(composed(f"experiment={experiment}", f"hardware={hardware}"))
    assert asdict(made.hardware) == alone(hardware), "an overlay sets nothing of hardware"


@cache
def alone(hardware: str) -> dict[str, object]:
    return asdict(groups.to_train(composed(f"hardware={hardware}")).hardware)


def covering_rows() -> list[dict[str, str]]:
    """Rows in which every pair of options of two groups occurs, found greedily.

    All combinations of all groups would be tens of thousands; no check looks at more than two.
    """
    wanted = {
        ((one, first), (other, second))
        for one, other in itertools.combinations(GROUPS, 2)
        for first in GROUPS[one]
        for second in GROUPS[other]
    }
    rows = []
    while wanted:
        row = dict(min(wanted))
        for group, options in GROUPS.items():
            if group not in row:
                # The option that covers most of what is still wanted with the row so far.
                gains = [
                    sum(tuple(sorted(pair, key=order)) in wanted for pair in pairs(row, group, o))
                    for o in options
                ]
                row[group] = options[gains.index(max(gains))]
        wanted -= set(itertools.combinations(sorted(row.items(), key=order), 2))
        rows.append(row)
    return rows


def order(item: tuple[str, str]) -> int:
    return list(GROUPS).index(item[0])


def pairs(row: dict[str, str], group: str, option: str) -> list[tuple[tuple[str, str], ...]]:
    return [((known, row[known]), (group, option)) for known in row]


def words_against(row: dict[str, str], *pair: str) -> bool:
    return {f"{group}={option}" for group, option in row.items()} >= set(pair)


@pytest.mark.slow
def test_every_pair_of_options_composes_and_validates() -> None:
    rows = covering_rows()
    for row in rows:
        words = [f"{group}={option}" for group, option in row.items()]
        needs = [need for word in words for need in NEEDS.get(word, [])]
        if any(words_against(row, *pair) for pair in CONTRADICTIONS):
            with pytest.raises(ConfigError, match="views=cross_modal does not go with this config"):
                groups.to_train(composed(*words, *needs))
            words = [word for word in words if word != "views=cross_modal"]
        made = groups.to_train(composed(*words, *needs))
        assert made.bands.name == row["bands"]
        assert made.model.name.startswith(row["model"])
    assert len(rows) >= len(GROUPS["bands"]) * len(GROUPS["model"])


def test_the_groups_hold_what_the_code_has() -> None:
    assert GROUPS["bands"] == sorted(OPTIONS)
    assert GROUPS["views"] == sorted(PRESETS)


@pytest.mark.parametrize("name", GROUPS["views"])
def test_views_files_hold_the_presets(name: str) -> None:
    assert asdict(groups.to_train(composed(f"views={name}")).views) == asdict(PRESETS[name])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_overlays_say_what_they_ask_and_stay_short(name: str) -> None:
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    for word in ("# Question:", "# Command:", "# Jobs:", "# Expected:"):
        assert word in text
    settings = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(settings) <= 25


def test_the_reference_setting_is_the_missions() -> None:
    made = groups.to_train(composed("experiment=full_spectrum"))
    assert made.bands.name == "full"
    assert (made.model.name, getattr(made.model, "weights", None)) == ("resnet50", "DEFAULT")
    assert isinstance(made.data, FolderData)
    assert (made.data.size, made.batch_size, made.epochs, made.lr) == (224, 4, 200, 5e-4)
    assert getattr(made.loss, "temperature", None) == 0.1
    assert made.data.axis is not None
    assert made.data.axis.count == 408
    # 348.3931 nm + 1.1332 nm per band
    step = (made.data.axis.stop_nm - made.data.axis.start_nm) / 407
    assert step == pytest.approx(1.1332, abs=1e-6)


def test_low_memory_saves_memory() -> None:
    made = groups.to_train(composed("experiment=full_spectrum", "hardware=low_memory"))
    assert made.hardware.checkpointing
    assert made.hardware.accumulate > 1
    assert "16" in made.hardware.precision


@pytest.mark.parametrize("search", sorted({*SEARCHES} - {"race"}))
@pytest.mark.parametrize("experiment", ["band_count", "temperature_lr", "strategies"])
def test_searches_keep_the_space_and_follow_the_metric(search: str, experiment: str) -> None:
    config = composed(f"experiment={experiment}", f"search={search}", hydra=True)
    sweeper = OmegaConf.to_container(config.hydra.sweeper)
    assert isinstance(sweeper, dict)
    assert sweeper["params"]
    assert sweeper["direction"] == "auto"
    # Each overlay has a study of its own: another search does not count as its trials.
    own = "" if search == "tpe" else f"-{search.removeprefix('tpe_')}"
    assert sweeper["study_name"] == f"${{hydra:runtime.choices.experiment}}{own}-v1"
    assert sweeper["storage"].startswith("sqlite:///")


@pytest.mark.parametrize("experiment", ["band_count", "temperature_lr", "strategies"])
def test_a_race_keeps_the_grid(experiment: str) -> None:
    plain, race = (
        OmegaConf.to_container(
            composed(f"experiment={experiment}", *more, hydra=True).hydra.sweeper
        )
        for more in ([], ["search=race"])
    )
    assert isinstance(plain, dict)
    assert isinstance(race, dict)
    assert race["params"] == plain["params"]
    assert race["first"] == 2


def test_overlays_with_a_space_become_a_multirun() -> None:
    GlobalHydra.instance().clear()
    assert prepare_arguments(["experiment=band_count"])[-1] == "--multirun"
    assert prepare_arguments(["experiment=demo"]) == ["experiment=demo"]
    assert prepare_arguments(["-m", "bands.n=1,2"]) == ["-m", "bands.n=1,2"]


def test_experiments_combine() -> None:
    GlobalHydra.instance().clear()
    assert prepare_arguments(["experiment=[demo,band_count]"])[-1] == "--multirun"


def test_a_search_without_a_space_is_refused() -> None:
    GlobalHydra.instance().clear()
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.params is empty"):
        prepare_arguments(["experiment=demo", "search=tpe"])


def test_a_fixed_searched_key_is_refused() -> None:
    GlobalHydra.instance().clear()
    with pytest.raises(ConfigError, match=r"bands\.n is fixed on the command line"):
        prepare_arguments(["experiment=band_count", "search=tpe", "bands.n=10"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["bands.n=0"], r"bands\.n is 0, but bands=uniform chooses 1 band at least"),
        (["loss.temperature=0"], r"loss\.temperature=0 is out of range"),
        (["batch_size=1"], r"batch_size is 1, but .* a batch of one has no negatives"),
        (["epochs=0"], "epochs is 0; give a whole number of at least 1"),
        (["seed=-1"], "seed is -1"),
        (["clip_norm=0"], "clip_norm is 0.0"),
        (["hardware.micro_batch=65"], r"hardware\.micro_batch is 65, above batch_size=64"),
        (["hardware.micro_batch=0"], r"hardware\.micro_batch is 0"),
        (["views=cross_modal", "views.fusion=attention"], "set model.stem=wavelength instead of"),
        (["views=cross_modal", "loss.queue_size=4"], r"loss\.queue_size would mix the embeddings"),
        (["views=cross_modal", "~views.windows_nm.uv", "~views.windows_nm.nir"], r"has 1 window"),
        (["views=cross_modal", "views.windows_nm.uv=[400,300]"], r"windows_nm\.uv is \[400"),
        (["hardware.check_micro_batch=true"], r"hardware\.check_micro_batch is true, but"),
        (["loss=combined", "loss.global_weight=-1"], r"loss\.global_weight=-1 is out of range"),
        (["hardware.accelerator=tpu"], r"hardware\.accelerator is 'tpu'"),
        (["evaluation.k=0"], r"evaluation\.k is 0"),
        (["views.rotation_deg=200"], r"views\.rotation_deg is 200"),
        (["model.norm=frozen"], r"model\.norm=frozen keeps"),
    ],
)
def test_values_outside_their_range_are_refused(words: list[str], text: str) -> None:
    with pytest.raises(HyperspecError, match=text):
        groups.to_train(composed(*words))


def test_missing_values_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no value for data\.root"):
        groups.to_train(compose("train", []))


@pytest.mark.parametrize(
    ("words", "count", "text"),
    [
        (["lr=1e-2"], 1, "lr=0.01 is outside 1e-4 to 1e-3"),
        (["loss.temperature=0.5"], 1, r"loss.temperature=0.5 is outside 0.05 to 0.2"),
        (["epochs=5"], 1, "epochs=5 is outside 200 to 500"),
        (["evaluation.resamples=100"], 1, "evaluation.resamples=100 has no effect any more"),
        ([], 0, ""),
    ],
)
def test_unusual_values_give_a_hint_of_one_line(words: list[str], count: int, text: str) -> None:
    found = schema.hints(groups.to_train(composed(*words)))
    assert len(found) == count
    assert all(text in hint and "\n" not in hint for hint in found)
