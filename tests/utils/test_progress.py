"""The bar is for terminals only."""

import io
import sys

from hyperspec.utils.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_counts(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("Reading cubes", 3) as advance:
        advance()
        advance()
    text = sys.stderr.getvalue()
    assert "Reading cubes" in text
    assert "2/3" in text


def test_a_file_sees_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("Reading cubes", 3) as advance:
        advance()
    assert sys.stderr.getvalue() == ""
