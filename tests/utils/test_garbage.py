"""The search for cycles: off while libraries are imported, blind to them afterwards."""

import gc
import weakref

import pytest

from hyperspec.utils import garbage


class Loop:
    """Held by itself alone, once nobody else does."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(garbage, "_aside", set())
    yield
    gc.unfreeze()


def test_garbage_is_collected_before_and_what_comes_is_never_looked_at():
    old = weakref.ref(Loop())
    with garbage.set_aside("some"):
        assert old() is None
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= 1000
    assert not any(found is kept for found in gc.get_objects())


def test_once_per_name_and_after_an_error_too():
    with pytest.raises(ImportError), garbage.set_aside("some"):
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
    with garbage.set_aside("some"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_who_switched_the_search_off_keeps_it_off():
    gc.disable()
    try:
        with garbage.set_aside("some"):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
