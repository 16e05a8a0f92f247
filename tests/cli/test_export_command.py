import json

import numpy as np
import pytest
from PIL import Image

from passerby.cli.app import main
from passerby.models.checkpoint import read_checkpoint
from tiny_models import save_tiny


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return end.value.code or 0, captured.out, captured.err


def test_export_tells_how_close_it_is(tmp_path, capsys):
    save_tiny(tmp_path / "c")
    (tmp_path / "people").mkdir()
    Image.fromarray(np.full((40, 20, 3), 80, np.uint8)).save(tmp_path / "people" / "a.png")
    code, out, _ = run(capsys, "export", tmp_path / "c", "--check", tmp_path / "people", "--half")
    assert code == 0
    assert "both towers as ONNX" in out
    assert "image  11 inputs" in out
    assert read_checkpoint(tmp_path / "c").exported


def test_export_as_json(tmp_path, capsys):
    save_tiny(tmp_path / "c")
    code, out, _ = run(capsys, "export", tmp_path / "c", "--out", tmp_path / "o", "--json")
    tree = json.loads(out)
    assert code == 0
    assert tree["folder"] == str(tmp_path / "o")
    assert tree["image"]["cosine"] >= 0.9999


def test_int8_beside_the_model(tmp_path, capsys, monkeypatch):
    from passerby.export import int8
    from passerby.export.original import ExportReport
    from passerby.export.parity import Parity

    save_tiny(tmp_path / "c")
    given = []

    def export_int8(model, to, out, calibrate):
        given.append((model, to, out, calibrate))
        from passerby.export.onnx import export_onnx

        whole = export_onnx(model, tmp_path / "c-int8")
        return ExportReport(whole.folder, whole.image, Parity("text", 3, 0.1, 0.99, 0.9), 5, (80.0, 79.5), "pictures")

    monkeypatch.setattr(int8, "export_int8", export_int8)
    code, out, _ = run(capsys, "export", tmp_path / "c", "--to", "openvino", "--int8", "--calibrate", "people")
    assert (code, given) == (0, [(str(tmp_path / "c"), "openvino", None, "people")])
    assert "OpenVINO in int8" in out
    assert "R@1 80.0 before, 79.5 after, on pictures" in out
    assert "ms for 32 pictures on one thread" in out
    for wrong in (("--calibrate", "people"), ("--int8", "--half"), ("--int8", "--check", "people")):
        code, _, _ = run(capsys, "export", tmp_path / "c", *wrong)
        assert code == 2


def test_wrong_use_is_told_in_one_line(tmp_path, capsys):
    save_tiny(tmp_path / "c")
    code, _, err = run(capsys, "export", tmp_path / "nowhere")
    assert code == 1
    assert err.startswith("passerby: no model")
    (tmp_path / "empty").mkdir()
    code, _, err = run(capsys, "export", tmp_path / "c", "--check", tmp_path / "empty")
    assert (code, "holds no picture" in err) == (1, True)
    code, _, err = run(capsys, "export", tmp_path / "c", "--check", tmp_path / "gone")
    assert (code, "no folder of pictures" in err) == (1, True)
    code, _, _ = run(capsys, "export", tmp_path / "c", "--to", "tflite")
    assert code == 2
