"""Modules of a user's own: named, imported, composed, refused."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest
from plugin_fixture import forget, plugins_forgotten

from hyperspec import bands, losses, models
from hyperspec.cli.commands.plan import composed
from hyperspec.cli.main import main as hyperspec
from hyperspec.cli.train import main as train
from hyperspec.config import groups, plugins
from hyperspec.config.compose import compose_words, prepare_arguments
from hyperspec.config.plain import from_plain, to_plain
from hyperspec.config.schema import Train
from hyperspec.evaluation.evaluators import EVALUATORS
from hyperspec.utils.errors import ConfigError, ModelError
from hyperspec.utils.source_tree import plugin_hash

STRATEGY = '''
"""A plug-in."""
from dataclasses import dataclass
from typing import ClassVar

from hyperspec import bands, losses


@bands.register
@dataclass
class Last(bands.CountedStrategy):
    """The last n bands, less a margin."""

    name: ClassVar[str] = "last"
    margin: int = 0

    def _choose(self, wavelengths_nm, statistics):
        return range(len(wavelengths_nm) - self.n, len(wavelengths_nm))


@losses.register
@dataclass
class Scaled(losses.NtXentConfig):
    """NT-Xent under another name."""

    name: ClassVar[str] = "scaled"
'''
WORDS = ["data.root=folder", "model=tiny", "plugins=[lastbands]", "bands=last", "bands.n=7"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module in it; afterwards nothing that was registered is left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lastbands.py").write_text(STRATEGY)
    with plugins_forgotten("lastbands", "lastbands2", "mypackage", "broken", "broken2"):
        yield tmp_path


def test_a_module_beside_the_user_brings_options_with_types(here: Path) -> None:
    made = composed([*WORDS, "bands.margin=2", "loss=scaled", "loss.temperature=0.3"])
    assert (made.bands.name, made.bands.n, made.bands.margin) == ("last", 7, 2)
    assert (made.loss.name, made.loss.temperature) == ("scaled", 0.3)
    with pytest.raises(Exception, match=r"Error merging override bands\.margin=x"):
        composed([*WORDS, "bands.margin=x"])
    with pytest.raises(Exception, match=r"There is no key bands\.width"):
        composed([*WORDS, "bands.width=1"])


def test_a_plug_in_s_loss_is_a_global_term_too(here: Path) -> None:
    made = composed([*WORDS, "loss=combined", "loss/global_loss=scaled"])
    assert made.loss.global_loss.name == "scaled"


def test_an_overlay_of_the_user_names_its_plug_ins(here: Path) -> None:
    overlays = here / "mine/experiment"
    overlays.mkdir(parents=True)
    (overlays / "last.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /bands: last\nplugins: [lastbands]\n"
        "bands: {n: 3}\nhydra: {sweeper: {params: {bands.n: '3,4'}}}\n"
    )
    words = ["--config-dir=mine", "experiment=last"]
    plugins.load_from_words(words)
    assert prepare_arguments(words) == [*words, "--multirun"]
    words[:1] = ["-cd", "mine"]
    assert prepare_arguments(words) == [*words, "--multirun"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("plugins=[nothere]", "plugins names 'nothere', which cannot be imported: "
         "ModuleNotFoundError: No module named 'nothere'. Give the name of a module"),
        ("plugins=[broken]", "'broken', which cannot be imported: ZeroDivisionError: division by"),
        ("plugins=[broken2]", "ConfigError: bands=pca is hyperspec.bands.ranked.Pca already"),
        ("plugins=lastbands", "plugins=lastbands is no list; write plugins=[mypackage.module]."),
        ("plugins=a,b", "plugins=a,b is no list"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_told_without_a_traceback(
    here: Path, word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken.py").write_text("1 / 0\n")
    (here / "broken2.py").write_text(STRATEGY.replace('"last"', '"pca"'))
    assert train([word, "bands=last"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("\nerror: ")
    assert said in told
    assert "Traceback" not in told


@dataclasses.dataclass
class Nameless(bands.CountedStrategy):
    def _choose(self, wavelengths_nm, statistics):
        return range(self.n)


class Bare(Nameless):
    name = "bare"


@dataclasses.dataclass
class Abstract(bands.CountedStrategy):
    name: ClassVar[str] = "abstract"


@dataclasses.dataclass
class Unbuilt(losses.LossConfig):
    name: ClassVar[str] = "unbuilt"


@dataclasses.dataclass
class Small(models.EncoderConfig):
    name: str = "resnet34"

    def build_stages(self, wavelengths_nm):
        raise AssertionError("a plug-in that is refused is never built")


@pytest.mark.parametrize(
    ("register", "kind", "said"),
    [
        (bands.register, Nameless, "has the name ''; give `name` a word of letters"),
        (bands.register, Bare, "is no dataclass, so that its options have no names"),
        (bands.register, Abstract, "has no _choose of its own; write it"),
        (bands.register, Unbuilt, "is no option of 'bands': derive it from Strategy"),
        (losses.register, Unbuilt, "has no build of its own; write it"),
        (models.register, Small, "model=resnet34 is the package's own"),
        (models.register, "tiny", "'tiny' is no option of 'model': derive it from EncoderConfig"),
    ],
)
def test_what_is_no_option_is_refused(
    register: Callable[[object], object], kind: object, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        register(kind)
    assert said in str(error.value)


def test_a_field_that_no_config_can_hold_is_told(here: Path) -> None:
    (here / "lastbands.py").write_text(STRATEGY.replace("margin: int = 0", "margin: {int} = None"))
    with pytest.raises(ConfigError, match=r"^lastbands\.Last has a field that no config can hold"):
        composed(WORDS)


def test_a_name_that_is_taken_by_another_plug_in_is_refused(here: Path) -> None:
    (here / "lastbands2.py").write_text(STRATEGY)
    with pytest.raises(ConfigError, match=r"bands=last is lastbands\.Last already; give lastb"):
        plugins.load(["lastbands", "lastbands2"])
    plugins.load(["lastbands"])  # once more


def test_a_checkpoint_s_config_comes_back_and_imports_nothing(here: Path) -> None:
    made = composed(WORDS)
    plain = to_plain(made)
    assert plain["bands"] == {"_class": "lastbands:Last", "n": 7, "margin": 0}
    assert from_plain(plain) == made
    for table in (bands.OPTIONS, bands.STRATEGIES):
        del table["last"]
    del sys.modules["lastbands"]
    with pytest.raises(ModelError) as error:
        from_plain(plain)
    assert str(error.value) == (
        "The checkpoint was trained with lastbands:Last, a plug-in that is not loaded. Reading a "
        "checkpoint imports nothing by itself. If you trust its plug-in, name it: add --plugins "
        "lastbands to the command, or import it first in Python."
    )
    assert "lastbands" not in sys.modules
    plugins.load(["lastbands"], "--plugins")
    assert isinstance(from_plain(plain), Train)


def test_installed_plug_ins_are_options_and_a_broken_one_harms_none(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "lastbands.py").write_text(STRATEGY.replace("@bands.register\n", ""))
    installed = [
        EntryPoint("last", "lastbands:Last", "hyperspec.bands"),
        EntryPoint("gone", "nothere:Gone", "hyperspec.bands"),
        EntryPoint("scaled", "lastbands", "hyperspec.losses"),
    ]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [one for one in installed if one.group == group]
    )
    monkeypatch.syspath_prepend(str(here))
    plugins.load_installed.cache_clear()
    made = composed(["data.root=folder", "bands=last", "bands.n=2", "loss=scaled"])
    plugins.load_installed.cache_clear()
    assert (made.bands.name, made.loss.name) == ("last", "scaled")
    assert "gone = nothere:Gone (hyperspec.bands) was left out: ModuleNotFound" in caplog.text


def test_the_source_of_what_a_job_uses_counts(here: Path) -> None:
    own = composed(["data.root=folder", "model=tiny"])
    assert plugins.sources(own) == {}
    made = composed(WORDS)
    ((name, before),) = plugins.sources(made).items()
    assert name == "lastbands"
    # A comment and a docstring say nothing.
    changes = {
        STRATEGY.replace('"""A plug-in."""', "# other words"): True,
        STRATEGY.replace("margin: int = 0", "margin: int = 1"): False,
    }
    for text, same in changes.items():
        (here / "lastbands.py").write_text(text)
        plugin_hash.cache_clear()
        assert (plugins.sources(made)["lastbands"] == before) is same


def test_a_plug_in_of_a_package_counts_with_all_of_it(here: Path) -> None:
    package = here / "mypackage"
    package.mkdir()
    for name, text in {"__init__": "", "bands": STRATEGY, "helper": "A = 1"}.items():
        (package / f"{name}.py").write_text(text)
    made = composed([*WORDS[:2], "plugins=[mypackage.bands]", *WORDS[3:]])
    before = plugins.sources(made)
    assert list(before) == ["mypackage"]
    (package / "helper.py").write_text("A = 2")
    plugin_hash.cache_clear()
    assert plugins.sources(made)["mypackage"] != before["mypackage"]


EVALUATOR = """
from hyperspec.evaluation.evaluators import register_evaluator
from hyperspec.evaluation.metrics import Metric

@register_evaluator("norm", metrics=[Metric("norm", evaluator="norm")])
def run(embeddings):
    return {"norm": float((embeddings.part.matrix**2).mean())}
"""


def test_an_evaluator_is_named_counted_and_asked_for(here: Path, evaluator_tables: None) -> None:
    (here / "lastbands.py").write_text(EVALUATOR)
    words = ["data.root=folder", "model=tiny", "plugins=[lastbands]"]
    made = composed([*words, "evaluation.evaluators=[knn,norm]", "objective=val/norm"])
    assert list(plugins.sources(made)) == ["lastbands"]
    plain = to_plain(made)
    del EVALUATORS["norm"]
    forget("lastbands")
    with pytest.raises(ModelError, match=r"names 'norm'; .* add --plugins lastbands to the"):
        from_plain(plain)
    assert "lastbands" not in sys.modules
    plugins.load(["lastbands"])
    assert from_plain(plain) == made


def test_the_command_that_shows_picks_takes_plug_ins(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bands", "--axis", "400:500:11", "--strategy", "last", "--n", "2"]
    assert hyperspec([*words, "--plugins", "lastbands", "--csv", "picks.csv"]) == 0
    assert "last" in (here / "picks.csv").read_text()
    assert hyperspec([*words, "--plugins", "nothere"]) == 2
    assert "error: --plugins names 'nothere', which cannot be imp" in capsys.readouterr().err


def test_an_option_of_the_package_needs_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Third(bands.CountedStrategy):
        """Without a file in conf/bands."""

        name: ClassVar[str] = "third"

    Third.__module__ = bands.Uniform.__module__
    monkeypatch.setitem(groups.OPTIONS["bands"], "third", Third)
    words = ["data=folder", "data.root=x", "bands=third", "bands.n=3"]
    assert compose_words(words).bands.n == 3
