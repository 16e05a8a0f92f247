"""Curves: a picture comes out of every honest log, and a damaged log is named line by line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from passerby.errors import DataError, MissingExtraError
from passerby.training.curves import _label_heights, _lines, _Panel, _panels, draw_curves


def training_rows(steps=40):
    return [
        {"step": s, "epoch": s / 20, "lr": 0.002, "images_per_s": 900.0, "contrastive": 3.0 / s}
        for s in range(10, steps + 1, 10)
    ]


VALIDATION = {"step": 20, "epoch": 1, "val_r1": 35.2, "val_map": 40.1, "val_r5": 70.0}


def write_log(folder, rows):
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_draws_a_picture_with_ink_in_every_panel(tmp_path):
    rows = [*training_rows(), VALIDATION, {**VALIDATION, "step": 40, "val_r1": 50.0}]
    out = draw_curves(write_log(tmp_path, rows), tmp_path / "new" / "curves.png")
    assert out == tmp_path / "new" / "curves.png"
    pixels = np.asarray(Image.open(out).convert("RGB"), np.int16)  # (H, W, 3)
    height, width = pixels.shape[:2]
    assert width > 1000
    for quarter in (pixels[: height // 2], pixels[height // 2 :]):
        for half in (quarter[:, : width // 2], quarter[:, width // 2 :]):
            coloured = (half.max(-1) - half.min(-1)) > 60
            assert coloured.sum() > 300


@pytest.mark.parametrize(
    ("rows", "titles"),
    [
        (training_rows(), ["loss", "learning rate", "speed, images/s"]),
        ([VALIDATION], ["validation, %"]),
        ([{"step": 1, "lr": 0.1}], ["learning rate"]),
        ([{"step": 1, "loss_$a_{": 2.0, "lr": float("nan")}], ["loss"]),
    ],
)
def test_only_panels_with_figures_appear(tmp_path, rows, titles):
    path = write_log(tmp_path, rows)
    assert [panel.title for panel in _panels(rows, path)] == titles
    assert Image.open(draw_curves(path, tmp_path / "curves.png")).format == "PNG"


def test_lines_hold_the_logged_values_in_order(tmp_path):
    loss, validation, *_ = _panels([*training_rows(), VALIDATION], tmp_path)
    assert loss.lines[0].name == "contrastive"
    assert loss.lines[0].steps == (10, 20, 30, 40)
    assert loss.lines[0].values == (0.3, 0.15, 0.1, 0.075)
    assert [(line.name, line.last) for line in validation.lines] == [("R@1", "35.2"), ("mAP", "40.1")]


def test_labels_of_lines_that_meet_stay_apart():
    class Axes:
        def get_ylim(self):
            return (0.0, 10.0)

    rows = [{"step": 1, "a": 5.0, "b": 5.0, "c": 5.1}]
    heights = _label_heights(Axes(), _Panel("", _lines(rows, [("a", "a", ""), ("b", "b", ""), ("c", "c", "")])))
    assert np.diff(sorted(heights)).min() > 0.1
    assert np.mean(heights) == pytest.approx(0.503, abs=1e-3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ('{"step": 10, "lr": 1}\n{"step": 2', "line 2"),
        ('{"lr": 1}', "line 1"),
        ('{"step": "ten"}', "line 1"),
        ("[1, 2]", "line 1"),
        ('{"step": 1, "epoch": 2}', "nothing to draw"),
    ],
)
def test_wrong_logs_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / "log.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        draw_curves(path, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_a_log_of_bytes_and_no_log_are_refused(tmp_path):
    with pytest.raises(DataError, match="no log at"):
        draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="line 1"):
        draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"passerby\[viz\]"):
        draw_curves(write_log(tmp_path, training_rows()), tmp_path / "curves.png")
