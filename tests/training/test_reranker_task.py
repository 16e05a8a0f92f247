"""A re-ranker on a finished first stage: which pairs it is shown, that nothing else moves, and that runs go on."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))

import coloured_people

from passerby.data.readers import open_dataset
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.metrics.second_stage import WEIGHTS, second_stage_scores
from passerby.models.checkpoint import read_checkpoint
from passerby.models.reranker import rerank
from passerby.models.restore import restore_dual_encoder
from passerby.training import first_stage as first_stage_module
from passerby.training.first_stage import first_stage
from passerby.training.picture_views import shown, view_draws
from passerby.training.recipe import AugmentationConfig, load_recipe, parse_recipe
from passerby.training.run import _some_idle, run_recipe
from passerby.training.tasks.pair_data import normalise, prepare, unchanged
from passerby.training.tasks.reranker import RerankerTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coloured_people.write(tmp_path_factory.mktemp("people") / "set")


@pytest.fixture(scope="module")
def start(data, tmp_path_factory):
    """A finished first stage."""
    folder = tmp_path_factory.mktemp("first") / "run"
    run_recipe(parse_recipe(coloured_people.recipe(optimisation={"epochs": 2})), open_dataset(data), folder)
    return folder


def tree(start, **sections):
    found = {
        "name": "miniature",
        "task": "reranker",
        "start": {"checkpoint": str(start), "views": 3},
        "data": {"neighbours": 2},
        "model": {"width": 16, "heads": 2, "layers": 1},
        "objective": {"negatives": 3},
        "optimisation": {"epochs": 6, "batch_size": 8, "learning_rate": 0.02, "ema": 0.5, "precision": "fp32"},
        "evaluation": {"every": 2, "candidates": 5},
    }
    for name, section in sections.items():
        found[name] = {**found[name], **section} if isinstance(found.get(name), dict) else section
    return found


def task_of(start, data, **sections):
    return RerankerTask(parse_recipe(tree(start, **sections)), open_dataset(data))


@pytest.fixture(scope="module")
def task(start, data):
    found = task_of(start, data)
    with torch.no_grad():
        found.model.match.says.weight.normal_(generator=torch.Generator().manual_seed(0))
    found.model.eval()
    return found


@pytest.fixture(scope="module")
def whole(start, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return run_recipe(parse_recipe(tree(start)), open_dataset(data), folder)


def weights(folder):
    return load_file(Path(folder) / "checkpoint" / "model.safetensors")


# -- what is planned ------------------------------------------------------------------------------------------------


def test_each_sentence_meets_its_picture_and_pictures_of_others(task):
    plan = task.plan(0)
    assert plan.shape == (3, 8, 2 + 3)
    pairs, count = task.train.pairs, len(task.train.pixels)
    seen = set()
    for step in plan:
        own = set((step[:, 1] % count).tolist())
        for caption, picture, *others in step.tolist():
            assert pairs.image_of[caption] == picture % count
            person = pairs.person_of[picture % count]
            assert all(pairs.person_of[other % count] != person for other in others)
            assert len(set(others)) == 3
            assert {other % count for other in others} <= own  # so each picture's tokens are read once
            seen.add(picture % count)
    assert seen == set(range(count))
    assert plan.max() < 3 * count
    assert np.array_equal(plan, task.plan(0))
    assert not np.array_equal(plan, task.plan(1))


def test_what_the_first_stage_confuses_is_shown_more_often(task):
    step = np.stack([np.arange(8), np.flatnonzero(np.r_[True, np.diff(task.train.pairs.image_of) > 0])[:8]], axis=1)
    logits = task.first.logit_scale.item() * task.seen.texts[step[:, 1]] @ task.seen.images[step[:, 0]].T
    persons = task.train.pairs.person_of[step[:, 0]]
    times = np.zeros((8, 8))
    generator = torch.Generator().manual_seed(0)
    one = replace_negatives(task, 1)
    for _ in range(400):
        for row, picture in enumerate(RerankerTask._negatives(one, step, generator)[:, 0]):
            times[row, picture] += 1
    for row in range(8):
        others = persons != persons[row]
        expected = np.where(others, np.exp(logits[row] - logits[row].max()), 0)
        np.testing.assert_allclose(times[row] / 400, expected / expected.sum(), atol=0.1)


def replace_negatives(task, count):
    class Fewer:
        first, seen, train = task.first, task.seen, task.train
        recipe = parse_recipe(tree("x", objective={"negatives": count}))

    return Fewer()


def test_batches_with_few_others_have_few_negatives(start, data):
    assert task_of(start, data, objective={"negatives": 50}).plan(0).shape[2] <= 2 + 7


def test_a_part_holds_what_both_towers_made(task):
    rows = task.plan(0)[1][:5]
    batch = task.fetch(rows)
    order, _ = task.seen.sentences(rows[:, 0], 4)
    views = view_draws(len(task.train.pixels), 2, 0)
    assert sum(len(words) for words, _ in batch.sentences) == len(rows)
    assert len(batch.tokens) == len(np.unique(rows[:, 1:]))
    with torch.inference_mode():
        for place, row in zip(batch.places, rows[order], strict=True):
            for at, wanted in zip(place, row[1:], strict=True):
                version, picture = divmod(int(wanted), len(task.train.pixels))
                pixels = np.array(task.train.pixels[picture : picture + 1])
                images = unchanged(pixels, task.first.preprocessing, CPU)
                if version:
                    draws = torch.from_numpy(views[version - 1, picture : picture + 1])
                    seen = shown(torch.from_numpy(pixels), draws, task.recipe.augmentation)
                    images = normalise(seen, task.first.preprocessing)
                tokens = task.first.project_images(images)[1][0]
                torch.testing.assert_close(batch.tokens[at].float(), tokens, rtol=2e-3, atol=2e-3)
        words = [(words[row], mask[row]) for words, mask in batch.sentences for row in range(len(words))]
        for (said, mask), caption in zip(words, rows[order, 0], strict=True):
            ids = torch.from_numpy(task.train.token_ids[caption : caption + 1])
            _, tokens, counted = task.first.project_texts(ids)
            assert int(mask.sum()) == int(counted.sum())
            torch.testing.assert_close(said[mask].float(), tokens[counted], rtol=2e-3, atol=2e-3)


def test_the_loss_is_that_of_one_pair_at_a_time(task):
    batch = task.fetch(task.plan(0)[0])
    with torch.no_grad():
        found = task.losses(task.model, batch, torch.Generator(), CPU)["matching"]
        maps, places, expected = task.model.image_maps(batch.tokens.float()), iter(batch.places), []
        for words, mask in batch.sentences:
            for row in range(len(words)):
                states = task.model.text_states(words[row : row + 1, mask[row]].float())
                seen = torch.ones(1, states.shape[1], dtype=torch.bool)
                logits = torch.cat([task.model.score(states, seen, maps[None, at][:, None])[0] for at in next(places)])
                expected.append(-logits.log_softmax(0)[0])
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_it_begins_by_knowing_nothing_and_leaves_no_parameter_idle(start, data):
    fresh = task_of(start, data)
    loss = fresh.losses(fresh.model, fresh.fetch(fresh.plan(0)[0]), torch.Generator(), CPU)["matching"]
    assert loss.item() == pytest.approx(math.log(4), rel=1e-5)
    assert not _some_idle(fresh)


# -- what comes of it -----------------------------------------------------------------------------------------------


def test_the_first_stage_is_kept_to_the_last_bit(start, whole):
    before, after = weights(start), weights(whole.folder)
    assert {name for name in after if not name.startswith("reranker.")} == set(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert after["reranker.match.says.weight"].abs().sum() > 0
    first, both = (restore_dual_encoder(read_checkpoint(run / "checkpoint")) for run in (start, whole.folder))
    images, ids = torch.rand(2, 3, 32, 16), torch.tensor([[3, 4, 5], [6, 7, 0]])
    with torch.inference_mode():
        assert torch.equal(first.encode_images(images), both.encode_images(images))
        assert torch.equal(first.encode_texts(ids), both.encode_texts(ids))
    assert both.preprocessing == first.preprocessing


def test_it_learns_and_is_judged_with_the_first_stage(whole):
    rows = [json.loads(line) for line in (whole.folder / "log.jsonl").read_text().splitlines()]
    losses = [row["matching"] for row in rows if "matching" in row]
    assert losses[-1] < math.log(4) - 0.1
    assert whole.best["map"] >= whole.best["first_map"]
    assert whole.best["weight"] in (0.0, *WEIGHTS)
    metrics = read_checkpoint(whole.folder / "checkpoint").config.metrics
    assert metrics["val_weight"] == whole.best["weight"]


def test_the_figures_are_those_of_searching_and_re_ranking(task):
    """At every weight, against `rerank` and average precision by hand."""
    figures = task.selection.figures(task.model)
    prepared = prepare(task.dataset.split("val"), task.tokenizer, task.first.preprocessing)
    persons, model = prepared.pairs.person_of, task.first
    asked = persons[prepared.pairs.image_of]
    model.reranker = task.model
    try:
        with torch.inference_mode():
            images, tokens = model.project_images(unchanged(prepared.pixels, model.preprocessing, CPU))
            vectors = torch.nn.functional.normalize(images, dim=1)
            ids = torch.from_numpy(prepared.token_ids)
            first = (model.logit_scale * model.encode_texts(ids) @ vectors.T).numpy()
            maps = task.model.image_maps(tokens.half().float()).half()
            both = {}
            for weight in WEIGHTS:
                found = rerank(model, ids, vectors, maps, 5, weight)
                both[weight] = second_stage_scores(first, found.candidates.numpy(), found.scores.numpy())
    finally:
        model.reranker = None
    by_hand = {
        weight: mean_average_precision(scores, asked, persons) for weight, scores in {0.0: first, **both}.items()
    }
    assert figures["first_map"] == pytest.approx(by_hand[0.0], abs=0.2)
    assert figures["map"] == pytest.approx(max(by_hand.values()), abs=0.2)
    assert by_hand[figures["weight"]] == pytest.approx(max(by_hand.values()), abs=0.2)


def mean_average_precision(scores, asked, persons):
    values = []
    for row, person in zip(scores, asked, strict=True):
        hits = np.flatnonzero(persons[np.argsort(-row, kind="stable")] == person) + 1
        values.append(np.mean([(number + 1) / rank for number, rank in enumerate(hits)]))
    return 100 * float(np.mean(values))


def test_without_a_selection_split_the_last_one_is_kept(start, data, tmp_path):
    recipe = parse_recipe(tree(start, evaluation={"selection_split": "none"}, optimisation={"epochs": 1}))
    assert run_recipe(recipe, open_dataset(data), tmp_path / "run").best == {}
    assert restore_dual_encoder(read_checkpoint(tmp_path / "run" / "checkpoint")).reranker is not None


# -- runs that go on, and several processes -------------------------------------------------------------------------


def test_stopped_and_resumed_is_the_same_to_the_last_bit(start, data, whole, tmp_path):
    def stop(at):
        if at.step >= 9:
            raise KeyboardInterrupt

    recipe = parse_recipe(tree(start))
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, open_dataset(data), tmp_path / "run", stop, save_every_s=0.0)
    again = run_recipe(recipe, open_dataset(data), tmp_path / "run")
    assert 0 < again.resumed_at < again.steps
    assert again.best == whole.best
    assert all(torch.equal(weights(whole.folder)[name], value) for name, value in weights(again.folder).items())


def test_a_run_goes_on_with_its_own_first_stage_and_data(task, start, data):
    state = task.state()
    task.restore(state)
    other = {**state, "first": torch.zeros_like(state["first"])}
    with pytest.raises(CheckpointError, match="another model than the run was begun on"):
        task.restore(other)
    with pytest.raises(CheckpointError, match="begun on other pictures or captions"):
        task.restore({**state, "data": torch.zeros_like(state["data"])})


def test_two_processes_come_to_the_same_re_ranker_as_one(start, data, tmp_path):
    content = tree(start, model={"dropout": 0.0})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "passerby"]
    command += ["train", str(tmp_path / "recipe.yaml"), "--data", data, "--out", str(tmp_path / "two"), "--json"]
    shared = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert shared.returncode == 0, shared.stderr
    alone = run_recipe(parse_recipe(content), open_dataset(data), tmp_path / "one")
    assert json.loads(shared.stdout)["steps"] == alone.steps
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    # What moves all keys alike, or all pictures of a sentence, the softmax cancels: its gradient is rounding, no more.
    cancelled = ("match.norm_tokens.bias", "match.key_value.bias", "attention.qkv.bias")
    for name, value in one.items():
        if not name.endswith(cancelled):
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-4, msg=name)
    assert one["reranker.match.says.weight"].abs().max() > 1e-3


# -- what the first stage makes of a split --------------------------------------------------------------------------


def test_tokens_are_computed_once(task, data, monkeypatch):
    split = open_dataset(data).split("val")
    prepared = prepare(split, task.tokenizer, task.first.preprocessing)
    told = []
    kept = first_stage(task.first, "some", split, prepared, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    monkeypatch.setattr(task.first, "project_images", lambda _: pytest.fail("pictures were read again"))
    monkeypatch.setattr(task.first, "project_texts", lambda _: pytest.fail("captions were read again"))
    again = first_stage(task.first, "some", split, prepared)
    assert np.array_equal(again.pictures, kept.pictures)
    assert isinstance(again.words, np.memmap)
    with pytest.raises(pytest.fail.Exception):
        first_stage(task.first, "another", split, prepared)
    changes = AugmentationConfig()
    with pytest.raises(pytest.fail.Exception):
        first_stage(task.first, "some", split, prepared, views=2, changes=changes)


def test_sentences_come_shortest_first_and_padded_for_themselves(task):
    captions = np.array([3, 0, 7, 1, 4])
    order, groups = task.seen.sentences(captions, 2)
    lengths = np.diff(task.seen.starts)[captions]
    assert np.array_equal(lengths[order], np.sort(lengths))
    assert [len(words) for words, _ in groups] == [3, 2]
    for (words, mask), part in zip(groups, np.split(captions[order], [3]), strict=True):
        assert words.shape[:2] == mask.shape
        assert words.shape[1] == np.diff(task.seen.starts)[part].max()
        for row, caption in enumerate(part):
            length = task.seen.starts[caption + 1] - task.seen.starts[caption]
            said = task.seen.words[task.seen.starts[caption] : task.seen.starts[caption + 1]]
            assert np.array_equal(words[row, :length].numpy(), said)
            assert not words[row, length:].any()
            assert not mask[row, length:].any()


def test_tokens_beyond_half_precision_and_damaged_files_are_said(task, data, monkeypatch, tmp_path):
    split = open_dataset(data).split("val")
    prepared = prepare(split, task.tokenizer, task.first.preprocessing)
    whole = task.first.project_images
    monkeypatch.setattr(task.first, "project_images", lambda images: (whole(images)[0], 1e6 * whole(images)[1]))
    with pytest.raises(DataError, match="beyond the range of half precision"):
        first_stage(task.first, "loud", split, prepared)
    monkeypatch.setattr(task.first, "project_images", whole)
    monkeypatch.setattr(first_stage_module, "cache_root", lambda: tmp_path)
    first_stage(task.first, "cut", split, prepared)
    for path in (tmp_path / "first-stages").glob("*/words.npy"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot be read: .*remove the folder"):
        first_stage(task.first, "cut", split, prepared)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_the_shipped_recipes_name_no_first_stage(data):
    for name in ("reranker", "reranker-street"):
        with pytest.raises(ConfigError, match="names no first stage"):
            RerankerTask(load_recipe(name), open_dataset(data))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"widht": 8}}, "Did you mean 'width'"),
        ({"objective": {"negatives": 0}}, "greater than or equal to 1"),
        ({"start": {"views": 0}}, "greater than or equal to 1"),
    ],
)
def test_wrong_recipes(sections, words):
    content = tree("x")
    for name, section in sections.items():
        content[name] = {**content[name], **section}
    with pytest.raises(ConfigError, match=words):
        parse_recipe(content)


def test_wrong_first_stages(start, data, tmp_path):
    with pytest.raises(ConfigError, match="cannot be cut into 3 heads"):
        task_of(start, data, model={"heads": 3})
    with pytest.raises(CheckpointError, match="no model"):
        task_of(tmp_path / "nowhere", data)
    clip = tmp_path / "clip"
    clip.mkdir()
    (clip / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ConfigError, match="CLIP of another library"):
        task_of(clip, data)
    with pytest.raises(CheckpointError, match="re-ranker is saved"):
        task_of(start, data).save(torch.nn.Linear(1, 1), tmp_path / "x", {})


def test_a_re_ranker_that_was_there_is_trained_anew(whole, data):
    again = task_of(whole.folder, data)
    assert again.first.reranker is None
    assert not again.model.match.says.weight.any()
