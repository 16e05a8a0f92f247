"""The study of attention at its smallest: cells, tables, guards and the page, on streets in four layouts."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from passerby.data.readers import open_dataset
from passerby.data.world.street import Street
from passerby.data.world.writing import write
from passerby.errors import CheckpointError, ConfigError, DataError, PasserbyError
from passerby.evaluation.protocol import find_protocol
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.reranker import build_reranker
from passerby.models.restore import load_tensors
from passerby.studies import attention, attention_cell, attention_lengths, attention_measure
from passerby.studies.attention import REPORT_QUERIES, run_attention_study
from passerby.studies.attention_guards import leak_diagnoses
from passerby.studies.attention_lengths import break_even, time_lengths
from passerby.studies.attention_measure import Second, encode_prepared, look_twice, report, trimmed, two_stages
from passerby.studies.attention_page import write_attention_page
from passerby.studies.attention_paired import COPY, PUBLISHED, ROWS_OF_PUBLISHED, paired_figures
from passerby.studies.attention_plan import MECHANISMS, PRESETS, check_candidates, find_preset, plan_cells
from passerby.studies.attention_plots import length_lines
from passerby.studies.attention_table import (
    cost_table,
    gain_lines,
    honest_table,
    markdown,
    paired_lines,
    rerank_lines,
    rows_of,
    with_interval,
)
from passerby.training.tasks.dual_encoder import DualEncoderTask
from passerby.training.tasks.pair_data import prepare

STREET = Street(train=12, val=4, test=6, train_views=2, test_views=2, size=(64, 32))
LAYOUTS = {"flickr30k": "flickr30k", "rstpreid": "rstpreid", "cuhk-pedes": "cuhk-pedes", "icfg-pedes": "icfg-pedes"}
_ONE = ("optimisation.epochs=1", "optimisation.precision=fp32", "evaluation.every=0")
ONE_EPOCH = (*_ONE, *(f"reranker.{change}" for change in _ONE))


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    root = tmp_path_factory.mktemp("streets")
    return {name: f"{name}:{write(STREET, root / name, layout=layout, workers=1)}" for name, layout in LAYOUTS.items()}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """In this process and with few repeats; processes of their own are the slow test's."""
    monkeypatch.setattr(attention_measure, "_REPEATS", 1)
    monkeypatch.setattr(attention_lengths, "_ROUNDS", 1)
    monkeypatch.setattr(attention_lengths, "LENGTHS", (16, 32))

    def here(request, place, where, say):
        attention_cell.run_cell(request, lambda activity, done, total: say(activity))

    monkeypatch.setattr(attention, "_in_a_process", here)


@pytest.fixture(scope="module")
def encoded(streets):
    """A task whose model has a re-ranker that was not trained, and its validation split."""
    dataset = open_dataset(streets["rstpreid"])
    task = DualEncoderTask(plan_cells(find_preset("tiny"), "rstpreid", 1)[0].recipe, dataset)
    towers = task.model.image_tower, task.model.text_tower
    task.model.reranker = build_reranker({"width": 16, "layers": 1}, *towers)
    with torch.no_grad():
        task.model.reranker.match.says.weight.normal_(generator=torch.Generator().manual_seed(0))
    model = task.model.eval()
    return task, model, encode_prepared(model, dataset.split("val"), task.selection)


def rules(split="val"):
    return find_protocol("text-to-image", report_split=split)


def one_tower(monkeypatch):
    preset = PRESETS["tiny"]
    few = replace(preset, backbones=dict(list(preset.backbones.items())[:1]))
    monkeypatch.setattr(attention, "find_preset", lambda _: few)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_study_works_in_every_layout(streets, name, tmp_path, monkeypatch):
    """A tower and a mechanism each; the whole table is the next test's."""
    one_tower(monkeypatch)
    monkeypatch.setattr("passerby.studies.attention_plan.MECHANISMS", ("none", "cross"))
    result = run_attention_study(streets[name], tmp_path / "study", changes=ONE_EPOCH, candidates=(4, 500), kept=8)
    plain, row = result.report["rows"]
    assert row["first_stage"] == plain["figures"]  # the same first stage, to the last digit
    assert row["seconds"] > 0
    assert [one["k"] for one in row["by_k"]] == [4, 8, 500]
    asks = "image level" if name == "flickr30k" else "identity level"
    assert asks in result.report["protocol"]
    page = result.page.read_text(encoding="utf-8")
    assert (REPORT_QUERIES[0] in page) == (name == "flickr30k")


def test_the_whole_table_and_that_nothing_finished_runs_again(streets, tmp_path, monkeypatch, caplog):
    one_tower(monkeypatch)
    told = []
    with caplog.at_level(logging.WARNING):
        first = run_attention_study(
            streets["rstpreid"],
            tmp_path,
            preset="tiny",
            changes=ONE_EPOCH,
            asked=["a woman in <b>red</b>"],
            candidates=(4,),
            kept=100,
            announce=lambda done, total, remark: told.append((done, total)),
        )
    assert "100 candidates were asked for and the gallery holds 12" in caplog.text
    assert told[-1] == (4, 4)
    assert [row["mechanism"] for row in first.report["rows"]] == list(MECHANISMS)
    the_tables_keep_the_protocols_apart((tmp_path / "tables.md").read_text(encoding="utf-8"))
    the_page_needs_no_other_file(first.page.read_text(encoding="utf-8"))
    assert len(list((tmp_path / "grids").glob("*.png"))) == 4
    cells = [
        {**json.loads(path.read_text("utf-8")), "backbone": backbone, "mechanism": mechanism, "seed": int(seed)}
        for path in sorted((tmp_path / "cells").glob("*/cell.json"))
        for backbone, mechanism, seed in [path.parent.name.rsplit("-", 2)]
    ]
    unfinished = {**first.report, "cells": {"done": 4, "planned": 9}}
    assert "4 of 9 trainings are finished" in write_attention_page(tmp_path, unfinished, cells).read_text("utf-8")
    monkeypatch.setattr(attention, "_in_a_process", lambda *_: pytest.fail("a finished cell was run again"))
    again = run_attention_study(
        streets["rstpreid"],
        tmp_path,
        preset="tiny",
        changes=ONE_EPOCH,
        asked=["a woman in <b>red</b>"],
        candidates=(4,),
        kept=100,
    )
    assert json.dumps(again.report["rows"]) == json.dumps(first.report["rows"])
    with pytest.raises(ConfigError, match="cell of another study"):
        run_attention_study(streets["rstpreid"], tmp_path, preset="tiny", changes=ONE_EPOCH, candidates=(2,))


def the_tables_keep_the_protocols_apart(tables):
    honest, paired = tables.split("## Paired-batch protocol")
    assert "paired_recall" not in honest
    assert "R@1" not in paired.split("|")[1]
    assert "cannot be compared" in paired
    assert COPY in paired


def the_page_needs_no_other_file(page):
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']+""", page)
    assert "<b>red</b>" not in page
    assert "Table II, Flickr30k, as printed" in page
    assert "20.83" in page


def test_a_cell_of_an_older_version_is_still_a_cell_of_the_study():
    cell = plan_cells(find_preset("street"), "x", 1)[3]
    wanted = {"data": "x:y", "folder": "a", "start": "b", "candidates": (1, 2)}
    wanted |= {"recipe": cell.recipe.model_dump(mode="json"), "reranker": cell.reranker.model_dump(mode="json")}
    found = json.loads(json.dumps({**wanted, "folder": "c", "start": "d"}))
    del found["recipe"]["optimisation"]["clip_norm"]  # as written before there was such a key
    assert attention._same(found, wanted)
    assert not attention._same({**found, "data": "x:z"}, wanted)
    assert not attention._same({**found, "reranker": None}, wanted)
    found["recipe"]["optimisation"]["epochs"] = 99
    assert not attention._same(found, wanted)


@pytest.mark.slow
def test_a_cell_runs_in_a_process_of_its_own_and_says_what_is_wrong(streets, tmp_path, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(PasserbyError, match=r"stripe_conv-8, none, seed 0: .*multiples of 16"):
        run_attention_study(
            streets["rstpreid"], tmp_path, preset="tiny", changes=["data.image_size=[60, 30]"], candidates=(4,)
        )


# -- what is planned ------------------------------------------------------------------------------------------------


def test_nothing_but_tower_mechanism_and_seed_differs():
    cells = plan_cells(find_preset("published"), "flickr30k", 2, ["optimisation.epochs=1"])
    assert len(cells) == len({cell.key for cell in cells}) == 16
    rest = {cell.recipe.model_copy(update={"seed": 0, "model": None}).model_dump_json() for cell in cells}
    assert len(rest) == 1
    assert {cell.recipe.model.image.name for cell in cells} == {"resnet50", "fastvit_t8"}
    assert cells[0].recipe.name == "attention-flickr30k"
    assert plan_cells(find_preset("published"), "cuhk-pedes", 1)[0].recipe.name == "attention-rstpreid"
    assert {cell.seed for cell in cells[:8]} == {0}
    assert [cell.mechanism for cell in cells[:4]] == list(MECHANISMS)  # what cross stands on is there before it
    assert [cell.reranker is not None for cell in cells[:4]] == [False, False, False, True]
    assert (cells[3].recipe, cells[3].start) == (cells[0].recipe, cells[0].key)


def test_a_change_is_of_the_towers_or_of_the_re_ranker():
    cell = plan_cells(find_preset("street"), "x", 1, ["optimisation.epochs=3", "reranker.optimisation.epochs=7"])[3]
    assert (cell.recipe.optimisation.epochs, cell.reranker.optimisation.epochs) == (3, 7)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda: find_preset("steet"), ConfigError, "Did you mean 'street'"),
        (lambda: plan_cells(find_preset("tiny"), "x", 0), ConfigError, "0 seeds"),
        (lambda: plan_cells(find_preset("tiny"), "x", 1, ["optimisation.epochz=1"]), ConfigError, "epochs"),
        (
            lambda: plan_cells(find_preset("tiny"), "x", 1, ["reranker.model.widht=8"]),
            ConfigError,
            "Did you mean .width",
        ),
        (lambda: check_candidates([]), ConfigError, "candidates"),
        (lambda: check_candidates([4, 0]), ConfigError, "above zero"),
    ],
)
def test_wrong_plans_are_refused(act, error, words):
    with pytest.raises(error, match=words):
        act()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.attention=sprase", "Did you mean 'sparse'"),
        ("model.image.name=resnet5O", "Did you mean 'resnet50'"),
        ("model.text.name=distilbrt", "Did you mean 'distilbert'"),
    ],
)
def test_unknown_names_are_found_before_anything_is_trained(streets, tmp_path, change, words):
    with pytest.raises(ConfigError, match=words):
        run_attention_study(streets["rstpreid"], tmp_path, preset="tiny", changes=[change])


def test_a_preset_without_street_needs_data(tmp_path):
    with pytest.raises(ConfigError, match="needs --data"):
        run_attention_study(None, tmp_path, preset="published")


def test_weights_of_another_shape_are_refused_with_both_shapes(encoded):
    _, model, _ = encoded
    other = build_dual_encoder({**model.config, "reranker": {"width": 32, "layers": 1}})
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"shape \(16,.*asks for \(32,"):
        load_tensors(other, weights, "the cell")


# -- what is measured -----------------------------------------------------------------------------------------------


def test_a_second_stage_of_no_weight_changes_nothing(encoded):
    _, model, split = encoded
    second = look_twice(model, split, 100)
    assert second.candidates.shape == (len(split.split.captions), len(split.split.images))
    assert (np.diff(second.first, axis=1) <= 1e-6).all()
    alone = report(split, rules(), "first", "x")
    for k in (1, 3, 8):
        same = report(split, rules(), "both", "x", two_stages(second, 0.0, k))
        assert same.figures == pytest.approx(alone.figures, nan_ok=True)


def test_both_stages_fuse_by_the_formula(encoded):
    _, model, split = encoded
    second = look_twice(model, split, 5)
    fused = second.fused(0.25, 3)
    assert fused == pytest.approx(0.75 * second.first[:, :3] + 0.25 * second.second[:, :3])
    wrong = Second(second.candidates[:2], second.first[:2], second.second[:2])
    with pytest.raises(DataError, match="the same"):
        report(split, rules(), "both", "x", two_stages(wrong, 0.5, 3))


def test_padding_is_cut_and_words_are_not():
    ids = np.array([[5, 6, 0, 0], [7, 0, 0, 0]])
    assert trimmed(ids).tolist() == [[5, 6], [7, 0]]
    assert trimmed(np.zeros((2, 3), int)).shape == (2, 1)


def test_an_honest_model_gives_the_guards_nothing_to_say(encoded):
    task, model, split = encoded
    assert leak_diagnoses(model, task.tokenizer, split, rules(), 8) == []


def test_the_guards_pass_over_pictures_that_nobody_describes(encoded):
    """A test of 500 sentences leaves half of a gallery of 1,000 undescribed, the first picture among them."""
    task, model, whole = encoded
    split = replace(whole.split, captions=whole.split.captions[len(whole.split.captions) // 2 :])
    half = encode_prepared(model, split, prepare(split, task.tokenizer, model.preprocessing))
    assert half.prepared.pairs.image_of.min() > 0
    assert leak_diagnoses(model, task.tokenizer, half, rules(), 8) == []


def test_equal_rows_of_the_gallery_stop_the_study(encoded):
    _, model, split = encoded
    pixels = np.array(split.prepared.pixels)
    pixels[1] = pixels[0]
    with pytest.raises(DataError, match="the first two that are equal"):
        encode_prepared(model, split.split, replace(split.prepared, pixels=pixels))


def test_copying_the_picture_stands_at_the_ceiling(encoded):
    task, _, split = encoded
    own, copy = paired_figures(split, task.recipe, 8, "model")
    assert copy["name"] == COPY
    for key, ceiling in copy["ceilings"].items():
        assert copy[key] == pytest.approx(ceiling)
        assert own[key] <= ceiling + 1e-9
    assert copy["diagnoses"]
    assert own["loss"] is None


def test_the_reports_tables_are_whole():
    assert set(PUBLISHED) == set(ROWS_OF_PUBLISHED)
    assert [len(rows) for rows in PUBLISHED.values()] == [6, 12, 4]
    for rows in PUBLISHED.values():
        assert all(row["r1"] is None or row["r1"] <= row["r5"] <= row["r10"] <= 1 for row in rows)


def test_where_blocks_break_even():
    rows = [{"length": 100, "dense": 1.0, "blocked": 2.0}, {"length": 200, "dense": 3.0, "blocked": 2.0}]
    assert break_even(rows) == 150
    assert break_even(rows[1:]) is None
    found = time_lengths((16, 32), 4, clock=iter(range(1000)).__next__)
    assert [row["length"] for row in found["rows"]] == [16, 32]
    assert length_lines(found).startswith(b"\x89PNG")


# -- what is tabled -------------------------------------------------------------------------------------------------


def cell_of(seed, r1, reranked):
    figures = {"r5": 60.0, "r10": 70.0, "map": 40.0}
    intervals = {key: [1.0, 99.0] for key in ("r1", *figures)}
    cost = {"p50_ms": 2.0, "p95_ms": 3.0, "cpu_ms": 1.0}
    paired = {
        "batch": 8, "loss": 1.5, "loss_floor": 0.69, "name": "model", "ceilings": {}, "chance": {}, "diagnoses": []
    }  # fmt: skip
    for k in (1, 5, 10):
        paired |= {f"paired_recall@{k}": 10.0 * k}
        paired["ceilings"][f"paired_recall@{k}"], paired["chance"][f"paired_recall@{k}"] = 50.0, 5.0
    return {
        "backbone": "A",
        "mechanism": "cross",
        "seed": seed,
        "training": {
            "train_loss": {"matching": 1.0},
            "peak_bytes": 5e8,
            "epoch_s": 10.0,
            "epoch_cpu_s": 20.0,
            "epochs": 2.5,
            "seconds": 30.0,
        },
        "loss": {"val": 2.0, "test": 2.5},
        "latency": cost,
        "reranked_latency": cost,
        "model_bytes": 1_000_000,
        "parameters": 250_000,
        "first": {"r1": r1, **figures, "intervals": intervals},
        "reranked": {"r1": reranked, **figures, "intervals": intervals},
        "alone": {"r1": r1, **figures, "intervals": intervals},
        "weight": 0.5,
        "by_k": [{"k": 64, "used": 12, "r1": reranked, **figures, "ceiling": 90.0, **cost, "four_galleries": cost}],
        "paired": {"val": [paired, paired]},
    }


def test_means_over_seeds_have_students_interval():
    (row,) = rows_of([cell_of(0, 40, 43), cell_of(1, 42, 44), cell_of(2, 44, 48)])
    assert row["first_stage"]["r1"] == pytest.approx((42, 42 - 4.303 * 2 / 3**0.5, 42 + 4.303 * 2 / 3**0.5), abs=1e-2)
    assert row["gain"]["r1"][0] == pytest.approx(3)
    head, lines = honest_table([row])
    assert [line[1] for line in lines] == ["cross, re-ranked"]
    assert lines[0][6:] == ["1.00 (matching)", "–", "–"]
    assert len(lines[0]) == len(head)
    head, costs = cost_table([row])
    assert costs[0][1:] == ["cross, re-ranked", "2.0", "3.0", "1.0", "500", "10.0 (20.0)", "+30 (+50)"]
    assert len(costs[0]) == len(head)
    assert rerank_lines([row])[1][0][1] == "64 (the gallery holds 12)"
    head, lines = gain_lines([row])
    assert [line[1] for line in lines] == ["R@1", "R@5", "R@10", "mAP"]
    assert lines[0][4] == "+3.0 (+0.5 to +5.5)"  # the differences are 3, 2 and 4
    assert lines[3][4] == "+0.0"
    assert with_interval((-0.01, -0.01, -0.01), signed=True) == "+0.0"
    assert len(lines[0]) == len(head)


def test_one_seed_has_the_bootstraps_interval():
    (row,) = rows_of([cell_of(0, 40, 43)])
    assert row["figures"]["r1"] == (43, 1.0, 99.0)
    assert with_interval(row["figures"]["r1"]) == "43.0 (1.0 to 99.0)"
    assert with_interval((4.0, 4.0, 4.0)) == "4.0"


def test_paired_figures_stand_beside_their_ceiling_and_floor():
    head, lines = paired_lines([cell_of(0, 40, 43), cell_of(1, 40, 43)])
    assert len(lines) == 1  # the first seed's
    assert lines[0][4] == "10.00 (50.00, 5.00)"
    assert lines[0][-1] == "1.50 (0.69)"
    assert markdown(head, lines, 3).splitlines()[1].startswith("|---|---|---|---:|")
