"""The study of pictures in context: plans, cells, intervals, figures and page, on vectors that need no training."""

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from passerby.data.records import PersonImage, Split
from passerby.errors import ConfigError, DataError
from passerby.models.context import ContextEncoder
from passerby.models.context_config import context_config
from passerby.models.context_protocols import context_scores
from passerby.studies import context as study
from passerby.studies.context_cells import Encoded, cell, context_cell, context_scoring, rules_of, sides, stored_model
from passerby.studies.context_figures import attention_scores, draw_figures
from passerby.studies.context_page import render_context_page, write_context_page
from passerby.studies.context_plan import MODELS, PRESETS, ContextPlan, plan_of
from passerby.studies.seeds import over_seeds

WIDTH, PEOPLE, EACH = 16, 6, 5


def made_split():
    """Each person asks once and is searched by the other four pictures; one of the gallery is junk."""
    images, asks = [], []
    for person in range(PEOPLE):
        for view in range(EACH):
            name = f"{person}-{view}"
            images.append(PersonImage(name, Path(name), person, f"c{view}"))
            asks += [name] if view == 0 else []
    images.append(PersonImage("junk", Path("junk"), None, "c1", junk=True))
    return Split("test", tuple(images), query_ids=tuple(asks))


def vectors(count, seed=0):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(PEOPLE, WIDTH))
    rows = np.repeat(directions, count, axis=0) + 0.9 * rng.normal(size=(PEOPLE * count, WIDTH))
    return rows.astype(np.float32) / np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)


def made_encoded():
    test = np.concatenate([vectors(EACH), vectors(1, 3)[:1]])
    return Encoded(vectors(8, 1)[None], np.repeat(np.arange(PEOPLE), 8), test)


PLAN = ContextPlan(
    recipe="none",
    seeds=2,
    model={"k": 4, "layers": 2, "heads": 1},
    training={"epochs": 2, "set_size": 24},
    ablations={"k": (3, 4), "layers": (1, 2)},
    people=3,
)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {name: ContextEncoder(context_config(name, WIDTH, PEOPLE, k=4, layers=2, heads=1)).eval() for name in MODELS}


# -- means over seeds -------------------------------------------------------------------------------------------


def test_intervals_over_seeds_are_students():
    values = [61.0, 64.5, 62.0]
    found = over_seeds(values)
    reach = 4.303 * statistics.stdev(values) / math.sqrt(3)
    assert found.mean == pytest.approx(62.5)
    assert (found.low, found.high) == pytest.approx((62.5 - reach, 62.5 + reach))
    assert over_seeds([5.0]) == (5.0, None, None, 1)
    assert over_seeds([1.0] * 40).low == pytest.approx(1.0)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_intervals_of_nothing_are_refused(values):
    with pytest.raises(DataError, match="one finite number or more"):
        over_seeds(values)


# -- plans --------------------------------------------------------------------------------------------------------


def test_presets_are_whole_and_their_settings_are_known():
    for name, plan in PRESETS.items():
        if plan.recipe:
            from passerby.training.recipe import load_recipe

            assert load_recipe(plan.recipe, plan.changes).task == "reid"
        from passerby.training.context_stage import ContextTraining

        ContextTraining(**plan.training)
        for field, values in plan.ablations.items():
            for value in values:
                context_config("magformer", 64, 3, **{**plan.model, field: value})
        assert json.loads(json.dumps(plan.to_dict()))["recipe"] == plan.recipe, name
    assert plan_of("published", "market1501").recipe == "reid-market1501"
    assert plan_of("street", "").street is not None


@pytest.mark.parametrize(
    ("preset", "reader", "message"),
    [
        ("stret", "", "street"),
        ("published", "", "needs --data"),
        ("published", "rstpreid", "no recipe of stage 1 belongs to 'rstpreid'"),
    ],
)
def test_plans_that_cannot_be_are_refused(preset, reader, message):
    with pytest.raises(ConfigError, match=message):
        plan_of(preset, reader)


# -- cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "transductive"), [("gallery", False), ("transductive", True)])
def test_scoring_is_the_protocol_of_the_encoder(models, protocol, transductive):
    queries, gallery = vectors(1, 5), vectors(3)
    scoring = context_scoring(models["magformer"], "magformer", protocol)
    found = np.concatenate(list(scoring.blocks(queries, gallery, np.full(len(queries), -1))))
    np.testing.assert_allclose(found, context_scores(models["magformer"], queries, gallery, protocol), atol=1e-5)
    assert scoring.transductive == transductive


def test_a_cell_is_computed_once_and_its_model_can_be_read_again(tmp_path):
    calls = []
    split, encoded = made_split(), made_encoded()
    work = (PLAN, "magformer", {"k": 3}, 0, encoded, split, tmp_path / "cell")
    first = context_cell(*work, lambda *told: calls.append(told))
    assert [row["protocol"] for row in first["rows"]] == ["A", "B"]
    assert len(first["losses"]) == 2
    assert calls
    assert context_cell(*work, lambda *_: pytest.fail("it was computed again")) == first
    model = stored_model(tmp_path / "cell")
    assert model.settings.k == 3
    assert cell(tmp_path / "new" / "cell.json", lambda: {"a": 1}) == cell(tmp_path / "new" / "cell.json", dict)


def test_queries_must_be_told_from_the_gallery():
    with pytest.raises(DataError, match="does not say which pictures ask"):
        rules_of(Split("test", made_split().images))
    asks, searched = sides(made_encoded(), made_split())
    assert len(asks) == PEOPLE
    assert len(searched) == PEOPLE * (EACH - 1)  # neither queries nor junk


# -- figures and page -----------------------------------------------------------------------------------------------


def test_attention_scores_are_those_of_lists_and_sum_to_one(models):
    gallery = vectors(4)
    layers = attention_scores(models["magformer-mid"], gallery)
    assert len(layers) == 2
    for maps, heads in layers:
        assert maps.min() >= 0
        assert maps.sum() == pytest.approx(len(gallery), abs=1e-3)  # one map: each row sums to one
        np.testing.assert_array_equal(maps, heads)
    maps, heads = attention_scores(models["magformer"], gallery)[0]
    assert maps.sum() == pytest.approx(2 * len(gallery), abs=1e-3)
    share = 1 - float(models["magformer"].layers[0].difference())
    assert heads.sum() == pytest.approx(share * len(gallery), abs=1e-3)  # of a difference a row keeps 1 - lambda


def test_all_figures_are_drawn(models, tmp_path):
    losses = {name: [[3.0, 2.5, 2.0 + place], [3.1, 2.6, 2.1]] for place, name in enumerate(MODELS)}
    encoded, split = made_encoded(), made_split()
    drawn = draw_figures(models, encoded.test, split, sides(encoded, split), losses, PLAN, tmp_path)
    assert set(drawn) == {"losses", "people", "scores", "differences"}
    for name, content in drawn.items():
        assert content[:4] == b"\x89PNG"
        assert (tmp_path / f"{name}.png").read_bytes() == content


def row(model, protocol, value):
    figure = {"mean": value, "interval": [value - 1, value + 1], "seeds": [value]}
    return {
        "model": model,
        "protocol": protocol,
        "scoring": "x",
        **dict.fromkeys(("r1", "r5", "r10", "map", "minp"), figure),
    }


def report(lift=2.0, title="Pictures in context"):
    usual = [{"protocol": letter, "r1": 50.0, "map": 40.0} for letter in "AB"]
    return {
        "title": title,
        "data": "<b>market1501</b>",
        "plan": PLAN.to_dict(),
        "rules": "across cameras",
        "protocols": {"-": "alone", "A": "transductive", "B": "gallery"},
        "counts": {"queries": 1234},
        "table": [row("alone", "-", 40.0), row("magformer", "A", 47.0), row("magformer", "B", 40.0 + lift)],
        "lifts": [
            {
                "model": "magformer",
                "protocol": "B",
                "r1": [lift, lift - 1, lift + 1, 2],
                "map": [lift, lift - 1, lift + 1, 2],
            }
        ],
        "ablations": [{"field": "k", "value": 4, "usual": True, "seconds": 1.0, "rows": usual}],
        "machine": {"cpu": "some", "cores": 2, "load": 0.1},
        "passerby": "0.1",
        "python": "3.11",
        "seconds": {"total": {"wall": 10.0, "cpu": 9.0}},
    }


def test_the_page_says_what_was_found_whichever_way_it_went(tmp_path):
    better, worse, unsure = (render_context_page(report(lift), {}) for lift in (2.0, -3.0, 0.5))
    assert "raises mAP by 2.0 points" in better
    assert "lowers mAP by 3.0 points" in worse
    assert "not told from nothing" in unsure
    assert "not told from nothing" not in better
    assert "&lt;b&gt;market1501&lt;/b&gt;" in better
    assert "<script" not in better
    for words in ("1,234", "alone (-)", "protocol A", "protocol B", "41.0 to 43.0"):
        assert words in better
    path = write_context_page(tmp_path, report(), {})
    assert path.read_text() == better


def test_a_page_takes_pictures_alone(tmp_path):
    with pytest.raises(DataError, match="PNG or JPEG"):
        write_context_page(tmp_path, report(), {"losses": b"GIF89a"})


# -- the whole -----------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Stage 1 that needs no pictures, and a data set that has none."""
    rows = {
        "alone": [{"protocol": "-", "scoring": "dot product", **FIGURES}],
        "k-reciprocal": [{"protocol": letter, "scoring": "re", **FIGURES} for letter in "AB"],
    }
    encoded = made_encoded()
    trained = []

    def stage1(plan, seed, dataset, folder, tell):
        trained.append(seed)
        tell("stage 1", 1, 1)
        return encoded, rows

    class Data:
        name = "market1501"

        def split(self, name):
            return made_split()

    monkeypatch.setattr(study, "stage1", stage1)
    monkeypatch.setattr(study, "open_dataset", lambda address: Data())
    monkeypatch.setattr(study, "plan_of", lambda preset, reader: PLAN)
    return trained


FIGURES = {
    **dict.fromkeys(("r1", "r5", "r10", "map", "minp"), 50.0),
    "intervals": {key: [40.0, 60.0] for key in ("r1", "r5", "r10", "map", "minp")},
}


def test_a_study_runs_and_runs_again_without_training(quick, tmp_path, monkeypatch):
    told = []
    first = study.run_context(tmp_path / "out", "market1501:x", "street", announce=lambda *one: told.append(one))
    assert quick == [0, 1]
    assert told[-1][:2] == (10, 10)  # 2 seeds of stage 1 and three models, two ablations that are not the usual
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(one["model"], one["protocol"]) for one in found["table"]] == [
        ("alone", "-"),
        *(("k-reciprocal", letter) for letter in "AB"),
        *((name, letter) for name in MODELS for letter in "AB"),
    ]
    assert [(one["field"], one["value"], one["usual"]) for one in found["ablations"]] == [
        ("k", 3, False),
        ("k", 4, True),
        ("layers", 1, False),
        ("layers", 2, True),
    ]
    assert "Figure 4" in first.page.read_text()

    from passerby.training import context_stage

    monkeypatch.setattr(context_stage, "train_context", lambda *_, **__: pytest.fail("it was trained again"))
    again = study.run_context(tmp_path / "out", "market1501:x", "street")
    assert again.report["table"] == first.report["table"]
    with pytest.raises(ConfigError, match="a study of other data"):
        study.run_context(tmp_path / "out", "market1501:elsewhere", "street")
    with pytest.raises(ConfigError, match="0 seeds"):
        study.run_context(tmp_path / "out", "market1501:x", "street", seeds=0)
