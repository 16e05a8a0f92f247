"""What training asks of its process: the collector passes over what was there before, and is itself again after."""

import ctypes
import gc

from passerby.training.memory import keep_freed_memory, long_lived


def test_objects_from_before_are_passed_over_only_inside():
    before = gc.get_freeze_count()
    with long_lived():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0


def test_the_collector_is_itself_again_after_an_error():
    try:
        with long_lived():
            raise ValueError
    except ValueError:
        pass
    assert gc.get_freeze_count() == 0


def test_another_c_library_is_no_error(monkeypatch):
    class Foreign:
        """A C library without mallopt."""

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Foreign())
    assert not keep_freed_memory()


def test_glibc_understands():
    assert keep_freed_memory() is hasattr(ctypes.CDLL(None), "mallopt")
