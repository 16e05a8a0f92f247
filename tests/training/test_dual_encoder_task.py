"""The dual encoder's task: rates, tokenizers, batches, memory, validation, and what it refuses."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, processors

sys.path.insert(0, str(Path(__file__).parent))

import coloured_people

from passerby.data.readers import open_dataset
from passerby.data.records import Dataset
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.restore import restore_dual_encoder
from passerby.training.recipe import parse_recipe
from passerby.training.tasks.dual_encoder import DualEncoderTask, group_by_length, is_pretrained
from passerby.training.tasks.dual_encoder_recipe import TowerConfig


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(coloured_people.write(tmp_path_factory.mktemp("people") / "set"))


@pytest.fixture
def task(dataset):
    return DualEncoderTask(parse_recipe(coloured_people.recipe()), dataset)


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory):
    """A folder as transformers writes it: a two-layer DistilBERT with a word-level tokenizer of its own."""
    from transformers import DistilBertConfig, DistilBertModel

    folder = tmp_path_factory.mktemp("distilbert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "white", "coat", "trousers", "jacket", "jeans"]
    vocabulary = {word: index for index, word in enumerate(words)}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.save(str(folder / "tokenizer.json"))
    shape = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 32}
    DistilBertModel(DistilBertConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    return folder


def with_distilbert(folder, **sections):
    return parse_recipe(
        coloured_people.recipe(None, {"name": "distilbert", "options": {"source": str(folder)}}, **sections)
    )


def rates(task):
    """Parameter name -> factor of the learning rate, and whether it decays."""
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    groups = task.parameter_groups()
    listed = [names[id(p)] for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(names.values())  # each once
    return {names[id(p)]: (g["rate"], g.get("weight_decay") != 0.0) for g in groups for p in g["params"]}


def test_only_pretrained_towers_move_slowly(dataset, distilbert):
    found = rates(DualEncoderTask(with_distilbert(distilbert, optimisation={"tower_rate": 0.1}), dataset))
    assert {rate for name, (rate, _) in found.items() if name.startswith("text_tower.")} == {0.1}
    assert {rate for name, (rate, _) in found.items() if not name.startswith("text_tower.")} == {1.0}


def test_biases_norms_embeddings_and_temperature_do_not_decay(task):
    found = rates(task)
    assert found["image_tower.stem.0.weight"] == (1.0, True)
    assert found["text_projection.weight"] == (1.0, True)
    for name in ("log_scale", "text_tower.embedding.weight", "text_tower.norms.0.weight", "image_tower.stem.1.bias"):
        assert found[name] == (1.0, False), name


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("stripe_conv", {}, False),
        ("timm:resnet50", {}, True),
        ("resnet50", {}, True),
        ("timm", {"source": "resnet50"}, True),
        ("timm:resnet50", {"weights": "random"}, False),
        ("clip", {}, False),
        ("clip:openai/clip-vit-base-patch32", {}, True),
    ],
)
def test_who_is_pretrained(name, options, expected):
    assert is_pretrained(TowerConfig(name=name, options=options), ["stripe_conv", "timm", "clip"]) is expected


def test_a_pretrained_text_tower_brings_its_tokenizer_and_keeps_it_in_the_checkpoint(dataset, distilbert, tmp_path):
    task = DualEncoderTask(with_distilbert(distilbert), dataset)
    assert task.tokenizer.vocabulary_size == 12
    assert task.tokenizer.encode(["red coat"]).tolist() == [[2, 4, 8, 3]]
    task.save(task.model, tmp_path / "checkpoint", {})
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    ids = torch.from_numpy(checkpoint.tokenizer().encode(["red coat", "blue jeans"]))
    restored = restore_dual_encoder(checkpoint)
    torch.testing.assert_close(restored.encode_texts(ids), task.model.eval().encode_texts(ids))


def test_sentences_longer_than_the_tower_takes_are_refused(dataset, distilbert):
    tree = coloured_people.recipe(None, {"name": "distilbert", "options": {"source": str(distilbert)}})
    tree["model"]["tokenizer"] = {"context_length": 64}
    with pytest.raises(ConfigError, match=r"context_length is 64; .*distilbert takes at most 32"):
        DualEncoderTask(parse_recipe(tree), dataset)


def test_a_batch_is_what_its_rows_say(task):
    rows = task.plan(0)[0]
    batch = task.fetch(rows)
    assert batch.pixels.shape == (8, 32, 16, 3)
    for index, (image, caption) in enumerate(rows):
        assert task.train.pairs.image_of[caption] == image
        assert batch.persons[index] == task.train.pairs.person_of[image]
        ids = task.train.token_ids[caption]
        (group,) = batch.token_ids  # eight captions are too few to be parted
        shown = group[batch.place[index]].tolist()
        assert shown == ids[: len(shown)].tolist()
        assert not ids[len(shown) :].any()
    assert group.any(dim=0)[-1]  # cropped to the longest sentence


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (31, 1), (32, 2), (100, 4)])
def test_sentences_are_parted_by_length_and_found_again(count, groups):
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 30, size=count)
    ids = np.where(np.arange(40) < lengths[:, None], rng.integers(1, 9, size=(count, 40)), 0)
    parts, place = group_by_length(ids, 4)
    assert len(parts) == groups
    assert sum(part.size for part in parts) <= count * lengths.max()
    again = np.concatenate([np.pad(part, ((0, 0), (0, 40 - part.shape[1]))) for part in parts])[place]
    assert (again == ids).all()
    assert all(part[:, -1].any() for part in parts)


def test_groups_change_no_vector(task):
    task.model.eval()
    ids = np.repeat(task.train.token_ids, 4, axis=0)
    parts, place = group_by_length(ids, 4)
    pictures = torch.zeros(1, 3, *task.size)
    _, together, _ = task.model(pictures, torch.from_numpy(ids))
    _, apart, _ = task.model(pictures, [torch.from_numpy(part) for part in parts])
    assert len(parts) > 1
    torch.testing.assert_close(apart[torch.from_numpy(place)], together, rtol=1e-5, atol=1e-6)


def test_a_word_of_id_nought_shortens_no_sentence(task):
    rows = task.plan(0)[0]
    ids = np.zeros_like(task.train.token_ids)
    ids[:, [0, 2, 5]] = 7
    task.train = replace(task.train, token_ids=ids)
    assert task.fetch(rows).token_ids[0].shape[1] == 6


def test_the_memory_holds_the_latest_sentence_of_each_person(task):
    batch = task.fetch(task.plan(0)[0])
    task.model.eval()
    losses = task.losses(task.model, batch, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert losses["contrastive"].ndim == 0
    expected = task.model.encode_texts(batch.token_ids[0]).detach()[batch.place]
    torch.testing.assert_close(task.memory[batch.persons], expected, rtol=1e-5, atol=1e-6)
    others = [person for person in range(12) if person not in batch.persons.tolist()]
    assert not task.memory[others].any()
    fresh = task.state()
    task.memory.zero_()
    task.restore(fresh)
    assert task.memory[batch.persons].any()


@torch.no_grad()
def test_validation_equals_a_loop_over_queries(task):
    selection = task.validate(task.model.eval())
    split = task.selection
    images = task.model.encode_images((torch.from_numpy(np.array(split.pixels)).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
    texts = task.model.encode_texts(torch.from_numpy(split.token_ids))
    first, precisions = [], []
    for caption, scores in enumerate(texts @ images.T):
        person = split.pairs.person_of[split.pairs.image_of[caption]]
        hits = [split.pairs.person_of[index] == person for index in scores.argsort(descending=True)]
        first.append(hits[0])
        places = [place for place, hit in enumerate(hits, start=1) if hit]
        precisions.append(np.mean([(found + 1) / place for found, place in enumerate(places)]))
    assert selection.figures["r1"] == pytest.approx(100 * np.mean(first), abs=1e-3)
    assert selection.figures["map"] == pytest.approx(100 * np.mean(precisions), abs=1e-3)
    assert selection.value == selection.figures["map"]


def test_a_set_without_selection_split_is_trained_on_all_the_same(dataset):
    task = DualEncoderTask(
        parse_recipe(coloured_people.recipe()), Dataset("only", dataset.root, {"train": dataset.split("train")})
    )
    assert task.validate(task.model) is None


def test_pictures_without_identity_are_refused(dataset):
    train = dataset.split("train")
    nameless = replace(train, images=(replace(train.images[0], person_id=None), *train.images[1:]))
    with pytest.raises(DataError, match="has no identity to train on"):
        DualEncoderTask(parse_recipe(coloured_people.recipe()), Dataset("x", dataset.root, {"train": nameless}))


def test_a_state_of_other_captions_is_refused(task):
    state = task.state()
    state["data"] = state["data"].flip(0)
    with pytest.raises(CheckpointError, match="other pictures or captions"):
        task.restore(state)
