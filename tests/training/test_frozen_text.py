"""Frozen text towers: their vectors are computed once, change nothing that is learned, and end in the checkpoint."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import coloured_people

import tiny_models
from passerby import load
from passerby.data.readers import open_dataset
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.restore import restore_dual_encoder
from passerby.models.towers.registry import text_tower, text_tower_tokenizer
from passerby.training.families import find_family
from passerby.training.recipe import load_recipe, parse_recipe
from passerby.training.run import run_recipe
from passerby.training.sentence_vectors import encoded, sentence_vectors
from passerby.training.tasks.dual_encoder import PairBatch, group_by_length
from passerby.training.tasks.frozen_text import FrozenTextTask


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(coloured_people.write(tmp_path_factory.mktemp("people") / "set"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERBY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A checkpoint whose transformer has dropout, which a frozen tower must not do."""
    folder = tmp_path_factory.mktemp("source") / "model"
    tokenizer = tiny_models.tiny_tokenizer(24)
    model = tiny_models.tiny_model(tokenizer, text="transformer", dropout=0.5)
    tiny_models.save_dual_encoder(model, tokenizer, folder, name="tiny", licence="MIT")
    return folder


def recipe(source, **sections):
    text = {"name": "passerby", "options": {"source": str(source)}}
    return parse_recipe({**coloured_people.recipe(text=text, **sections), "task": "frozen_text"})


class Recomputing(FrozenTextTask):
    """Asks the tower again for each batch, as a plain loop with a frozen tower does."""

    def fetch(self, rows):
        images, captions = rows[:, 0], rows[:, 1:].T.reshape(-1)
        texts = [self.dataset.split("train").captions[caption].text for caption in captions]
        groups, place = group_by_length(self.tokenizer.encode(texts), 4)
        with torch.no_grad():
            vectors = tuple(self.text_tower(torch.from_numpy(group)) for group in groups)
        persons = torch.from_numpy(self.train.pairs.person_of[images])
        return PairBatch(torch.from_numpy(self.train.pixels[images]), vectors, torch.from_numpy(place), persons)


def losses_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["contrastive"] for row in rows if "contrastive" in row]


def test_remembered_and_recomputed_vectors_give_the_same_losses(dataset, source, tmp_path, monkeypatch):
    wanted = recipe(source, data={"captions": 2}, optimisation={"epochs": 10})
    run_recipe(wanted, dataset, tmp_path / "remembered")
    from types import SimpleNamespace

    from passerby.training import run

    monkeypatch.setattr(run, "find_family", lambda name: SimpleNamespace(task=lambda: Recomputing))
    run_recipe(wanted, dataset, tmp_path / "recomputed")
    first, second = losses_of(tmp_path / "remembered"), losses_of(tmp_path / "recomputed")
    assert len(first) >= 2
    assert first[-1] < first[0] - 0.05  # something was learned
    assert np.abs(np.subtract(first, second)).max() < 1e-4


def test_the_checkpoint_holds_the_tower_as_it_came(dataset, source, tmp_path):
    run_recipe(recipe(source, optimisation={"epochs": 2}), dataset, tmp_path / "run")
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoint")
    assert checkpoint.config.model["text"]["name"] == "transformer"
    before = restore_dual_encoder(read_checkpoint(source)).text_tower.state_dict()
    after = restore_dual_encoder(checkpoint).text_tower.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    vectors = load(tmp_path / "run", runtime="torch").encode_texts(["a red coat", "blue jeans"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_only_the_rest_learns(dataset, source):
    task = FrozenTextTask(recipe(source), dataset)
    learned = {id(p) for group in task.parameter_groups() for p in group["params"]}
    names = {name.split(".")[0] for name, p in task.model.named_parameters() if id(p) in learned}
    assert names == {"image_tower", "image_projection", "text_projection", "log_scale"}
    batch = task.fetch(task.plan(0)[0])
    model = task.model.train()
    sum(task.losses(model, batch, torch.Generator().manual_seed(0), torch.device("cpu")).values()).backward()
    assert all(p.grad is None for p in task.text_tower.parameters())
    assert all(p.grad is not None for p in model.parameters())


def test_validation_sees_what_a_search_will_see(dataset, source, tmp_path):
    task = FrozenTextTask(recipe(source), dataset)
    model = task.model.eval()
    with torch.inference_mode():
        task.save(model, tmp_path / "checkpoint", {})
        captions = [caption.text for caption in dataset.split("val").captions]
        found = model.encode_texts(torch.from_numpy(task.selection.token_ids))
    searched = load(tmp_path / "checkpoint", runtime="torch").encode_texts(captions)
    np.testing.assert_allclose(found.numpy(), searched, atol=1e-5)


def test_vectors_are_computed_once_and_again_when_anything_changes(source, cache, monkeypatch):
    from passerby.training import sentence_vectors as module

    calls = []
    monkeypatch.setattr(module, "encoded", lambda *given: calls.append(1) or encoded(*given))
    tower, tokenizer = text_tower("passerby", source=str(source)), tiny_models.tiny_tokenizer(24)
    words = ["a red coat", "blue jeans", "a man"]
    first = sentence_vectors(tower, tokenizer, words)
    assert np.array_equal(sentence_vectors(tower, tokenizer, words), first)
    assert len(calls) == 1
    assert [path.suffix for path in (cache / "sentences").iterdir()] == [".npy"]
    assert np.array_equal(sentence_vectors(tower, tokenizer, words[::-1]), first[::-1])
    sentence_vectors(tower, tiny_models.tiny_tokenizer(5), words)
    with torch.no_grad():
        next(tower.parameters()).normal_()
    changed = sentence_vectors(tower, tokenizer, words)
    assert len(calls) == 4
    assert not np.allclose(changed, first)


def test_encoding_in_blocks_is_encoding_one_by_one(source):
    tower, tokenizer = text_tower("passerby", source=str(source)), tiny_models.tiny_tokenizer(24)
    words = [" ".join(["red coat, blue jeans"] * (1 + number % 4)) for number in range(300)]
    found = encoded(tower, tokenizer.encode(words))
    with torch.no_grad():
        single = [tower(torch.from_numpy(tokenizer.encode([word]))).numpy()[0] for word in words[:8]]
    np.testing.assert_allclose(found[:8], single, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_cache_is_named(source, cache, content):
    tower, tokenizer = text_tower("passerby", source=str(source)), tiny_models.tiny_tokenizer(24)
    sentence_vectors(tower, tokenizer, ["a man"])
    (path,) = (cache / "sentences").iterdir()
    if content is None:
        np.save(path, np.zeros((2, 2), np.float32))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"cached vectors .*remove the file"):
        sentence_vectors(tower, tokenizer, ["a man"])


def test_a_cache_that_cannot_be_written_is_named(source, cache):
    cache.write_text("a file stands in the way")
    tower, tokenizer = text_tower("passerby", source=str(source)), tiny_models.tiny_tokenizer(24)
    with pytest.raises(DataError, match="PASSERBY_CACHE"):
        sentence_vectors(tower, tokenizer, ["a man"])


def test_what_cannot_be_frozen_is_refused(dataset, source):
    plain = {**coloured_people.recipe(), "task": "frozen_text"}
    with pytest.raises(ConfigError, match=r"'conv' with random weights.*passerby:street"):
        FrozenTextTask(parse_recipe(plain), dataset)
    with pytest.raises(ConfigError, match="only its vector is kept"):
        recipe(source, model={**coloured_people.recipe()["model"], "attention": "self"})
    wanted = recipe(source, model={"attention": {"image": "self"}})
    assert wanted.model.attention == {"image": "self"}


def test_the_stored_tower_brings_its_tokenizer_and_refuses_what_is_no_dual_encoder(source, tmp_path):
    assert text_tower_tokenizer(f"passerby:{source}", 24).to_json() == tiny_models.tiny_tokenizer(24).to_json()
    with pytest.raises(ConfigError, match="needs the option 'source'"):
        text_tower("passerby")
    with pytest.raises(CheckpointError, match="no model 'stret'"):
        text_tower("passerby:stret")
    shipped = text_tower("passerby:street")
    assert shipped.name == "conv"


@pytest.mark.parametrize("name", ["small-encoder", "small-encoder-report", "small-encoder-street"])
def test_the_recipes_are_of_the_family(name):
    wanted = load_recipe(name)
    assert wanted.task == "frozen_text"
    assert isinstance(wanted, find_family("frozen_text").recipe())


def test_an_epoch_of_remembered_vectors_costs_less_than_one_that_computes_them(dataset, source):
    """The tower of eight layers is what weighs; a generous margin, since machines are busy."""
    tower = text_tower("transformer", vocabulary_size=120, context_length=24, channels=128, layers=8, heads=4)
    spent = {}
    for kind in (FrozenTextTask, Recomputing):
        task = kind(recipe(source, data={"captions": 2}), dataset)
        task.text_tower = tower.eval()
        started = time.process_time()
        for rows in task.plan(0):
            task.fetch(rows)
        spent[kind] = time.process_time() - started
    assert spent[FrozenTextTask] < spent[Recomputing]
