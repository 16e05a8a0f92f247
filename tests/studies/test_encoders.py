"""The study of encoders: its plan, Pareto lines, budgets, the report's "Rank@K", the page, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import ConfigError
from passerby.evaluation import Features
from passerby.studies import encoders as study_module
from passerby.studies.encoders import run_encoders
from passerby.studies.encoders_cells import judged, recipe_changes
from passerby.studies.encoders_figures import cost_figure, costs, pareto
from passerby.studies.encoders_page import recommendations, write_encoders_page
from passerby.studies.encoders_plan import ENCODERS, PRESETS, PUBLISHED, plan_of
from passerby.training.recipe import load_recipe


def cell(name, r1, millions, low=None, high=None):
    profile = {
        "image_parameters": millions * 1e6, "text_parameters": 2e6, "image_multiply_adds": millions * 1e7,
        "text_multiply_adds": 3e6, "tokens": 24, "image_size": [128, 64], "counter": "counted",
        **{f"{side}_batch{batch}": {"p50_ms": millions * batch, "p95_ms": millions * batch + 1}
           for side in ("image", "text") for batch in (1, 32)},
    }  # fmt: skip
    bounds = [low if low is not None else r1 - 2, high if high is not None else r1 + 2]
    figures = {"r1": r1, "r5": r1 + 10, "r10": r1 + 20, "map": r1 - 1, "minp": r1 - 3}
    return {
        "encoder": name, "timm": ENCODERS[name], "figures": figures, "loss": 1.5,
        "intervals": {key: bounds for key in figures}, "exactly": {"1": 3.0, "5": 2.0, "10": 1.0},
        "search_s": {"1": 0.01, "5": 0.02}, "profile": profile, "queries": 40, "gallery": 20, "own_map": 9.0,
    }  # fmt: skip


CELLS = [cell("MobileNetV2", 50.0, 3), cell("MobileNetV3-Small", 40.0, 1), cell("ResNet-50", 51.0, 24)]


def test_nothing_beats_a_point_of_the_pareto_line():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [(float(x), float(y)) for x, y in rng.integers(0, 6, (7, 2))]
        line = pareto(points)
        for index, (x, y) in enumerate(points):
            beaten = any(a <= x and b >= y and (a, b) != (x, y) for a, b in points)
            if index in line:
                assert not beaten
            elif not beaten:  # a twin of one on the line
                assert any(points[other] == (x, y) for other in line)
        assert [points[one][0] for one in line] == sorted(points[one][0] for one in line)


def test_the_cheapest_that_is_not_told_from_the_best_is_recommended():
    rows = [row for row in recommendations(CELLS) if row["budget"].startswith("parameters")]
    assert [(row["take"], row["why"]) for row in rows] == [
        ("MobileNetV3-Small", "the only one"),
        ("MobileNetV2", "the best"),
        ("MobileNetV2", "cheaper, inside the interval of ResNet-50"),
    ]
    assert costs(CELLS[0]) == {"parameters": 3, "latency": 3, "multiply_adds": 30}


def test_hits_at_exactly_a_position_are_the_reports_rank():
    """Eleven pictures in a row; query q's own picture stands at place q + 1, so each place is hit once."""
    images = tuple(PersonImage(f"i{n}", Path(f"i{n}.jpg"), person_id=n) for n in range(11))
    split = Split("test", images, tuple(Caption(f"c{n}", f"i{n}", n) for n in range(11)))
    angles = np.linspace(0, 1, 11)
    pictures = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = judged(Features(pictures, np.tile(pictures[:1], (11, 1))), split)
    assert found["exactly"] == pytest.approx({"1": 100 / 11, "5": 100 / 11, "10": 100 / 11})
    assert found["figures"]["r5"] == pytest.approx(500 / 11)
    assert found["queries"] == found["gallery"] == 11


def test_the_page_shows_every_encoder_and_what_was_printed(tmp_path):
    pictures = {key: cost_figure(CELLS, key, "a label") for key in costs(CELLS[0])}
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
    report = {
        "title": "Small <encoders>", "data": "street", "plan": PRESETS["tiny"].to_dict(), "batch_size": 64,
        "cells": CELLS, "recommendations": recommendations(CELLS), "machine": {"cores": 2},
    }  # fmt: skip
    text = write_encoders_page(tmp_path, report, {**pictures, "answers": pictures["latency"]}).read_text()
    for name in ("MobileNetV2", "ResNet-50", "1.74 / 1.68 / 1.04", "ln 64 = 4.16", "Small &lt;encoders&gt;"):
        assert name in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_plans_name_encoders_and_recipes_that_are_there():
    assert len(ENCODERS) == 9
    assert set(PUBLISHED) < set(ENCODERS)
    for plan in PRESETS.values():
        assert set(plan.encoders) <= set(ENCODERS)
        json.dumps(plan.to_dict())
        for name in plan.encoders:
            recipe = load_recipe(plan.recipe, recipe_changes(plan, name))
            assert recipe.task == "frozen_text"
            assert recipe.model.image.name == f"timm:{ENCODERS[name]}"
    assert load_recipe("small-encoder", recipe_changes(PRESETS["ours"], "CoAtNet-0")).data.image_size == (224, 224)


def test_a_finished_cell_is_not_run_again_and_another_study_is_refused(tmp_path, monkeypatch):
    for done in CELLS[:2]:
        folder = tmp_path / "cells" / done["encoder"]
        folder.mkdir(parents=True)
        (folder / "cell.json").write_text(json.dumps(done))
        (folder / "answers.png").write_bytes(cost_figure(CELLS, "latency", "x"))
    monkeypatch.setattr(study_module, "_street", lambda *_: "rstpreid:here")

    class Nothing:
        name = "nothing"

        def split(self, name):
            return name

    monkeypatch.setattr(study_module, "open_dataset", lambda address: Nothing())
    from dataclasses import replace

    plan = replace(PRESETS["tiny"], encoders=("MobileNetV2", "MobileNetV3-Small"))
    monkeypatch.setattr(study_module, "plan_of", lambda preset, data: plan)
    told = []
    result = run_encoders(tmp_path, "", "tiny", lambda *given: told.append(given))
    assert [one["encoder"] for one in result.report["cells"]] == ["MobileNetV2", "MobileNetV3-Small"]
    assert result.page.is_file()
    assert run_encoders(tmp_path, "", "tiny").report["cells"] == result.report["cells"]
    monkeypatch.setattr(study_module, "plan_of", lambda preset, data: PRESETS["tiny"])
    with pytest.raises(ConfigError, match="another folder"):
        run_encoders(tmp_path, "", "tiny")


def test_presets_that_are_none_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'street'"):
        plan_of("stret", "")
    with pytest.raises(ConfigError, match="needs --data"):
        plan_of("report", "")
