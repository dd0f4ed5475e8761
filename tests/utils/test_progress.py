"""What is shown of long work, where, and when it is not."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest

from hyperspec.cli.main import main
from hyperspec.utils import progress as module
from hyperspec.utils.progress import OWN_VIEW, QUIET, progress, take_flag


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is wanted, at once; the tests are quiet otherwise."""
    monkeypatch.delenv(QUIET, raising=False)
    monkeypatch.delenv(OWN_VIEW, raising=False)
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_silent", False)


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    assert holds()


@pytest.mark.usefixtures("shown")
def test_elsewhere_than_on_a_terminal_each_step_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    with progress("Reading", 4) as advance:
        advance(2, "so far")
        wait_for(lambda: "\n" in err.getvalue())
        with progress("Packing"):
            wait_for(lambda: "Packing" in err.getvalue())
    first, second = err.getvalue().splitlines()
    assert first.startswith("Reading 2/4  so far, left 0 s ...")
    assert second == "Packing ..."


@pytest.mark.usefixtures("shown")
def test_what_is_over_at_once_is_not_worth_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 1000.0)
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    with progress("Reading"):
        time.sleep(0.05)
    assert not err.getvalue()


@pytest.mark.usefixtures("shown")
def test_a_process_that_was_silent_for_long_says_what_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 1000.0)
    monkeypatch.setattr(module, "_silent", True)
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    with progress("Reading"):
        wait_for(lambda: "Reading" in err.getvalue())
    with progress("Packing"):
        time.sleep(0.05)
    assert err.getvalue() == "Reading ...\n"


@pytest.mark.usefixtures("shown")
def test_on_a_terminal_the_inner_step_takes_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(err, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    with progress("Looking"), progress("Reading", 3) as advance:
        advance(2)
        wait_for(lambda: "2/3" in err.getvalue())
    assert module._screen is None
    assert "Looking" in err.getvalue()


@pytest.mark.parametrize("name", [QUIET, OWN_VIEW])
@pytest.mark.usefixtures("shown")
def test_nothing_is_shown_where_it_is_not_wanted(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "1")
    with progress("Reading", 1) as advance:
        advance()
        assert module._screen is None
    assert capsys.readouterr().err == ""


def test_any_command_takes_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(QUIET, "")
    assert take_flag(["train", "--quiet", "bands.n=5"]) == ["train", "bands.n=5"]
    assert module.is_quiet()
    for command in ("check", "demo", "report"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--quiet" in capsys.readouterr().out
