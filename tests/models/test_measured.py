"""What engines were measured to take on this machine, and that `load` follows it."""

import json
import logging

import pytest

from passerby import load
from passerby.models.checkpoint import Checkpoint, read_checkpoint
from passerby.models.runtimes import measured
from passerby.models.runtimes.measured import GENERAL, engines_for, measure, remember, remembered
from passerby.models.sources import locate


@pytest.fixture(scope="module")
def street():
    return read_checkpoint(locate("street").folder)


def test_every_installed_engine_is_timed_and_the_median_counts(street, monkeypatch):
    class Engine:
        def images(self, pixels):
            assert pixels.shape == (32, 96, 48, 3)

    monkeypatch.setattr(measured, "_open", lambda name, checkpoint: Engine())
    monkeypatch.setattr(measured, "engines_for", lambda checkpoint: ["onnxruntime"])
    ticks = iter([0, 1, 1, 10, 10, 12, 12, 15, 15, 19])
    assert measure(street, clock=lambda: next(ticks)) == {"onnxruntime": 3000}


def test_real_engines(street):
    found = measure(street)
    assert set(found) == set(engines_for(street)) >= {"onnxruntime"}
    assert min(found.values()) > 0


def test_forms_decide_which_engines_read_them(street, monkeypatch):
    monkeypatch.setattr(measured, "installed", lambda package: True)
    assert engines_for(street) == ["onnxruntime", "openvino"]
    names = ("openvino/image.xml", "openvino/text.xml", "openvino/image.bin", "openvino/text.bin")
    assert engines_for(Checkpoint(street.folder, street.config, dict.fromkeys(names, ""))) == ["openvino"]
    assert engines_for(Checkpoint(street.folder, street.config, dict.fromkeys(names[:3], ""))) == []


def test_a_models_own_record_counts_before_the_general_one():
    assert remembered("abc") == {}
    remember(GENERAL, {"openvino": 1.0})
    assert remembered("abc") == remembered(GENERAL) == {"openvino": 1.0}
    remember("abc", {"openvino": 3.0, "onnxruntime": 2.0})
    assert remembered("abc")["onnxruntime"] == 2.0
    assert remembered(GENERAL) == {"openvino": 1.0}


def test_another_machine_has_a_record_of_its_own(monkeypatch):
    remember(GENERAL, {"openvino": 1.0})
    monkeypatch.setattr(measured, "_machine", lambda: "another")
    assert remembered(GENERAL) == {}


def test_load_takes_what_was_fastest(street):
    pytest.importorskip("openvino")
    mark = street.config.fingerprint
    remember(mark, {"openvino": 9.0, "onnxruntime": 3.0})
    assert load("street").runtime.name == "onnxruntime"
    remember(mark, {"openvino": 3.0, "onnxruntime": 9.0})
    assert load("street").runtime.name == "openvino"
    assert load("street", runtime="onnxruntime").runtime.name == "onnxruntime", "a wish comes first"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}', '{"a": {"b": "c"}}', "\x00"])
def test_a_damaged_record_is_told_and_replaced(content, caplog):
    remember(GENERAL, {"openvino": 1.0})
    measured._path().write_text(content)
    with caplog.at_level(logging.WARNING):
        assert remembered(GENERAL) == {}
    assert "is damaged" in caplog.text
    remember(GENERAL, {"openvino": 2.0})
    assert remembered(GENERAL) == {"openvino": 2.0}
    assert [path.name for path in measured._path().parent.iterdir()] == ["engines.json"]


def test_a_cache_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PASSERBY_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING):
        remember(GENERAL, {"openvino": 1.0})
    assert "could not be written" in caplog.text


def test_times_that_make_no_sense_are_ignored():
    measured._path().parent.mkdir(parents=True, exist_ok=True)
    measured._path().write_text(json.dumps({f"{measured._machine()} {GENERAL}": {"openvino": -1, "onnxruntime": 2}}))
    assert remembered(GENERAL) == {"onnxruntime": 2.0}
