"""The study of selection: its plan, means, claims, drawn queries, the page, resuming, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from passerby.data.readers import open_dataset
from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import ConfigError, DataError
from passerby.evaluation import Features
from passerby.evaluation.grounding import CHANCE
from passerby.models.compact_local import compacted, fit_projection
from passerby.models.itself import build_itself
from passerby.studies import selection as study_module
from passerby.studies.selection import place_of, run_selection
from passerby.studies.selection_cells import Answers, answers_of, validations
from passerby.studies.selection_figures import curves_figure, disagreements
from passerby.studies.selection_page import write_selection_page
from passerby.studies.selection_plan import METHODS, PRESETS, plan_of
from passerby.studies.selection_table import branches, by_word_class, claims, figures, grounding
from passerby.studies.selection_vectors import over_seeds_of, projected, smaller_vectors
from passerby.training.recipe import load_recipe


def cell(name, r1, seed=0, local=False):
    looks = {"patch": r1 / 2, "mars, no sentence": 20.0, CHANCE: 10.0}
    measured = {key: {"pointing": value, "mass": value + 1, "precision": value + 2} for key, value in looks.items()}
    return {
        "variant": name,
        "seed": seed,
        "figures": {"r1": r1, "r5": r1 + 10, "r10": r1 + 20, "map": r1 - 1, "minp": r1 - 3},
        "intervals": {key: [r1 - 5, r1 + 5] for key in ("r1", "r5", "r10", "map", "minp")},
        "branches": {key: {"r1": r1 - 2, "map": r1 - 4} for key in ("global", "local")} if local else {},
        "mix": 0.4 + 0.1 * seed if local else None,
        "curve": [{"epoch": 1.0, "r1": r1 / 2, "map": r1 / 3}, {"epoch": 2.0, "r1": r1, "map": r1 - 1}],
        "grounding": {
            "figures": measured,
            "by_class": {key: {"coat": values, "hair": values} for key, values in measured.items()},
            "phrases": {"coat": 12, "hair": 5},
        },
        "smaller": [
            {"form": "whole, int8", "floats": 48, "bytes": 48, "largest": 0.01 + seed, "mean": 0.002, "r1": r1}
        ],
        "queries": 40,
        "gallery": 20,
        "seconds": {"training": 10.0, "judging": 2.0},
    }


def cells_of(plan, gains=(0, 1, 2)):
    """Every variant a little better than the one before it, by the same amount in every seed."""
    return {
        name: [
            cell(name, 40.0 + step + gain, seed, name.startswith(("itself", "rde"))) for seed, gain in enumerate(gains)
        ]
        for step, name in enumerate(plan.variants)
    }


@pytest.mark.parametrize("name", PRESETS)
def test_every_row_has_a_variant_and_every_variant_a_recipe(name):
    plan = PRESETS[name]
    json.dumps(plan.to_dict())
    shown = {row.variant for table in plan.tables for row in table.rows}
    assert shown <= set(plan.variants)
    assert set(METHODS) <= set(plan.variants)
    for variant in plan.variants.values():
        recipe = load_recipe(variant.recipe, [*plan.changes, *variant.changes])
        if "selector=C" in " ".join(variant.changes):
            assert recipe.model.local["selector"] == "C"
    assert len(set(plan.variants.values())) == len(plan.variants)
    order = list(plan.variants)
    for name, variant in plan.variants.items():  # what is gone on from is trained before
        assert not variant.start or order.index(variant.start) < order.index(name)


def test_the_printed_figures_are_the_supplements():
    tables = {table.title.partition(":")[0]: table for table in PRESETS["published"].tables}
    assert [row.printed[0] for row in tables["Table 1"].rows] == [65.00, 65.25, 65.95]
    assert [row.printed[3] for row in tables["Table 2"].rows] == [49.12, 53.05, 47.40, 50.28]
    assert [(row.label, row.printed[0]) for row in tables["Table 3"].rows] == [
        ("A", 60.25), ("B", 66.25), ("C", 60.95), ("D", 65.65), ("MARS", 66.95),
    ]  # fmt: skip
    assert all("selector=layer" in " ".join(PRESETS["published"].variants[row.variant].changes)
               for row in tables["Table 1"].rows)  # fmt: skip


def test_means_and_intervals_are_over_the_seeds_and_by_identity_for_one():
    three = figures([cell("itself", value) for value in (50.0, 52.0, 54.0)])["r1"]
    assert three["mean"] == pytest.approx(52.0)
    reach = 4.303 * 2.0 / 3**0.5
    assert three["interval"] == pytest.approx([52 - reach, 52 + reach])
    assert figures([cell("itself", 50.0)])["r1"]["interval"] == [45.0, 55.0]


def test_claims_are_judged_seed_by_seed():
    plan = PRESETS["tiny"]
    found = {(row["above"], row["below"]): row for row in claims(cells_of(plan, (0, 10, 20)))}
    certain = found["itself", "tal-cid"]  # the same gain in every seed, though the seeds lie far apart
    assert certain["r1"]["mean"] == pytest.approx(1.0)
    assert certain["verdict"] == "holds"
    assert found["itself", "itself-none"]["verdict"] == "the other way round"
    assert {f"itself-{letter}" for letter in "ABCD"} <= {below for _, below in found}
    noisy = {"itself": [cell("itself", value) for value in (50.0, 60.0)],
             "tal-cid": [cell("tal-cid", value) for value in (55.0, 50.0)]}  # fmt: skip
    (row,) = claims(noisy)
    assert row["verdict"] == "not told from nothing"
    (row,) = claims({key: values[:1] for key, values in noisy.items()})
    assert row["verdict"] == "one seed, not told"


def test_grounding_stands_beside_r1_and_chance_comes_once():
    cells = cells_of(PRESETS["tiny"])
    rows = grounding(cells)
    assert [row["variant"] for row in rows] == [name for name in METHODS for _ in range(2)] + [""]
    assert rows[0]["r1"] == pytest.approx(43.0)  # the third of the variants
    assert rows[0]["measures"]["pointing"]["mean"] == pytest.approx(21.5)
    classes = by_word_class(cells)
    assert [row["part"] for row in classes["rows"]] == ["coat", "hair"]
    assert len(classes["columns"]) == len(classes["rows"][0]["precision"]) == len(rows)
    for found in cells.values():
        for one in found:
            one["grounding"] = None
    assert grounding(cells) == []
    assert by_word_class(cells)["rows"] == []


def test_branches_of_models_that_have_two():
    rows = {row["variant"]: row for row in branches(cells_of(PRESETS["tiny"]))}
    assert "tal-cid" not in rows
    assert rows["itself"]["mix"] == pytest.approx(0.5)
    assert set(rows["rde"]["figures"]) == {"mixed", "global", "local"}


def test_queries_are_drawn_among_those_that_models_disagree_about():
    right = np.array([[True, True], [True, False], [False, True], [False, False], [True, False]])
    answers = {
        name: Answers(np.arange(5), np.zeros((5, 3), int), np.stack([right[:, column]] * 3, axis=1))
        for column, name in enumerate("ab")
    }
    people = np.array([0, 1, 2, 3, 1])
    for seed in range(20):
        chosen = disagreements(answers, people, 2, seed)
        assert sorted(people[chosen]) == [1, 2]
    assert len(disagreements(answers, people, 9)) == 4  # one for each person, agreed ones last
    assert set(people[disagreements(answers, people, 9)[2:]]) == {0, 3}
    assert disagreements(answers, people, 2, 3) == disagreements(answers, people, 2, 3)


def test_smaller_vectors_are_those_of_a_compact_model_and_cost_what_is_said():
    rng = np.random.default_rng(0)
    model = small_itself(mix=0.3)
    with torch.no_grad():
        branches_ = torch.randn(9, 16), torch.randn(9, 24)
        whole = model.mixed(*branches_).numpy()
        projection = fit_projection(branches_[1], 5)
        expected = compacted(model, projection).mixed(*branches_).numpy()
    np.testing.assert_allclose(projected(whole, projection.numpy(), (16, 40)), expected, atol=1e-5)
    images = tuple(PersonImage(f"i{n}", Path(f"i{n}.jpg"), person_id=n) for n in range(30))
    split = Split("test", images, tuple(Caption(f"c{n}", f"i{n}", n) for n in range(30)))
    vectors = rng.normal(size=(30, 120)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = {
        row["form"]: row
        for row in smaller_vectors(Features(vectors, vectors), Features(vectors, vectors), split, (20, 120))
    }
    assert rows["whole"]["largest"] == 0
    assert 0 < rows["whole, int8"]["largest"] < 0.02
    assert (rows["whole"]["bytes"], rows["whole, int8"]["bytes"]) == (480, 120)
    narrow = rows["local branch projected to 16"]
    assert (narrow["floats"], narrow["bytes"]) == (36, 144)
    assert narrow["largest"] > rows["whole, int8"]["largest"]
    assert rows["whole"]["r1"] == 100
    assert "local branch projected to 64" not in rows  # no wider than the vectors that it would be fitted on
    assert over_seeds_of([{"smaller": [rows["whole"]]}, {"smaller": [narrow]}])[0]["largest"] == narrow["largest"]


def small_itself(**options):
    small = {"channels": 16, "layers": 2, "heads": 2}
    return build_itself(
        {
            "image": {"name": "stem_vit", "options": small},
            "text": {"name": "transformer", "options": small},
            "embedding_dim": 16,
            "local": {"dim": 24, "norm": "layer", **options},
        },
        image_size=(32, 16),
        vocabulary_size=40,
        context_length=12,
    )


def test_the_page_shows_every_table_claim_and_figure(tmp_path):
    plan = PRESETS["street"]
    cells = cells_of(plan)
    from passerby.studies.selection_table import tables

    report = {
        "title": "What <selects>", "data": "street", "plan": plan.to_dict(), "seeds": 3, "queries": 2000,
        "gallery": 1000, "tables": tables(plan, cells), "claims": claims(cells), "branches": branches(cells),
        "grounding": grounding(cells), "by_word_class": by_word_class(cells),
        "smaller": over_seeds_of(cells["itself"]), "machine": {"cores": 2},
    }  # fmt: skip
    picture = curves_figure({name: cells[name] for name in METHODS})
    assert picture.startswith(b"\x89PNG")
    drawn = dict.fromkeys(("lists", "others", "curves"), picture)
    text = write_selection_page(tmp_path, report, drawn, [("a <red> coat", picture)]).read_text()
    for words in (
        "What &lt;selects&gt;", "Table 1", "Table 2", "Table 3", "66.95 / 85.15 / 90.40 / 53.05", "holds",
        "mars, no sentence", "a &lt;red&gt; coat", "12 phrases", "from start-second",
        "street-itself optimisation.epochs=2 model.local.selector=A",
    ):  # fmt: skip
        assert words in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_study_runs_and_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "plan_of", lambda *_: replace(PRESETS["tiny"], seeds=1, pictures=2))
    told = []
    result = run_selection(tmp_path, "", "tiny", None, lambda *given: told.append(given))
    report = result.report
    assert report["seeds"] == 1
    assert len(report["cells"]) == len(PRESETS["tiny"].variants)
    assert told[-1][1] == len(report["cells"])
    assert result.page.is_file()
    assert report["grounding"], "the street has masks"
    itself = next(one for one in report["cells"] if one["variant"] == "itself")
    assert set(itself["branches"]) == {"global", "local"}
    assert itself["curve"][-1]["r1"] >= 0
    test = open_dataset(f"rstpreid:{tmp_path / 'street'}").split("test")
    answers = answers_of(place_of(tmp_path, "itself", 0))
    assert answers.images.shape == answers.right.shape == (len(test.captions), 10)
    person = {image.image_id: image.person_id for image in test.images}
    for query in range(len(test.captions)):
        asked = person[test.captions[answers.captions[query]].image_id]
        assert [test.images[row].person_id == asked for row in answers.images[query]] == list(answers.right[query])
    assert 100 * answers.right[:, 0].mean() == pytest.approx(itself["figures"]["r1"], abs=3)  # ties are counted there
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/cell.json")}
    assert run_selection(tmp_path, "", "tiny").report["cells"] == report["cells"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ConfigError, match="another folder"):
        run_selection(tmp_path, "rstpreid:elsewhere", "tiny")


def test_more_seeds_go_on_from_those_that_are_there(tmp_path, monkeypatch):
    """With cells, data and pictures made up: which cells are asked for, and what is written after each seed."""
    asked, written = [], []
    picture = curves_figure({})

    def made_up(plan, name, seed, dataset, folder, tell):
        asked.append((name, seed))
        return cell(name, 40.0 + seed, seed, name.startswith(("itself", "rde")))

    class Nothing:
        name = "nothing"

        def split(self, name):
            return name

    monkeypatch.setattr(study_module, "selection_cell", made_up)
    monkeypatch.setattr(study_module, "open_dataset", lambda address: Nothing())
    monkeypatch.setattr(study_module, "draw_lists", lambda *_, **__: picture)
    monkeypatch.setattr(study_module, "draw_attention", lambda *_: [("a coat", picture)])
    page = study_module.write_selection_page
    monkeypatch.setattr(
        study_module, "write_selection_page", lambda *given: (written.append(given[1]["seeds"]), page(*given))[1]
    )
    assert run_selection(tmp_path, "x:y", "tiny", 2).report["seeds"] == 2
    assert written == [1, 2]
    assert [name for name, seed in asked if seed == 0] == list(PRESETS["tiny"].variants)
    first = run_selection(tmp_path, "x:y", "tiny", 3).report["tables"][0]["rows"][0]
    assert first["figures"]["r1"]["seeds"] == [40, 41, 42]
    assert (tmp_path / "figures" / "attention-1.png").is_file()
    assert json.loads((tmp_path / "plan.json").read_text())["plan"]["seeds"] == 3
    with pytest.raises(ConfigError, match="another folder"):
        run_selection(tmp_path, "x:z", "tiny", 3)


def test_wrong_input(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'street'"):
        plan_of("stret", "")
    with pytest.raises(ConfigError, match="needs --data"):
        plan_of("published", "")
    with pytest.raises(ConfigError, match="0 seeds"):
        run_selection(tmp_path, "", "tiny", 0)
    with pytest.raises(DataError, match="remove"):
        answers_of(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1, "epoch": 0.5, "tal": 1.0}\n')
    assert validations(tmp_path / "log.jsonl") == []
