"""ITSELF as a model: selection against loops, one vector equal to the mixed score, saved, restored, searched with."""

import numpy as np
import pytest
import torch

from itself_models import SENTENCES, clip_tokenizer, save_itself, tiny_itself
from passerby import load
from passerby.errors import CheckpointError, ConfigError
from passerby.models.alignment import Moment, TwoBranches, pair_features_of
from passerby.models.checkpoint import read_checkpoint
from passerby.models.itself import Itself, build_itself
from passerby.models.itself_options import COMPAT, LocalOptions
from passerby.models.restore import restore_model
from passerby.nn.attention_rows import WatchedLayers, mean_attention
from passerby.nn.token_selection import SELECTORS, default_layers
from tiny_models import tiny_model


def pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 24, 3), dtype=np.uint8)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def rolled_out(tower, run, share, causal):
    """The whole rollout of a middle and the last layer, discarding entry by entry."""
    layers = tower.attention_layers()
    with WatchedLayers(layers, default_layers(len(layers))) as seen, torch.no_grad():
        run()
    maps = [mean_attention(*seen.query_key(layer), None, causal).numpy() for layer in default_layers(len(layers))]
    whole = []
    for b in range(len(maps[0])):
        result = np.eye(maps[0].shape[1])
        for one in maps:
            flat = one[b].ravel().copy()
            for place in np.argsort(flat, kind="stable")[: int(share * flat.size)]:
                flat[place] = flat[place] if place == 0 else 0
            step = (flat.reshape(one[b].shape) + np.eye(len(result))) / 2
            result = step / step.sum(axis=1, keepdims=True) @ result
        whole.append(result)
    return np.stack(whole)


def test_patches_are_those_of_the_whole_rollout():
    model = tiny_itself()
    images = torch.randn(3, 3, 48, 24)
    rows = rolled_out(model.image_tower, lambda: model.image_tower.tokens(images), 0.25, causal=False)[:, 0]
    selected = model.select_patches(images, 0.4)
    assert selected.places.shape == (3, 7)  # of 6 x 3 patches
    for row, places in zip(rows, selected.places.tolist(), strict=True):
        best = 1 + np.argsort(-row[1:], kind="stable")[:7]
        assert places == best.tolist()


def test_words_are_those_of_the_whole_rollout_and_never_start_end_or_padding(tmp_path):
    tokenizer = clip_tokenizer(tmp_path)
    model = tiny_itself(tokenizer.vocabulary_size)
    ids = torch.from_numpy(tokenizer.encode(SENTENCES))
    whole = rolled_out(model.text_tower, lambda: model.text_tower.tokens(ids), 0.25, causal=True)
    selected = model.select_words(ids, 0.3)
    assert selected.places.shape[1] == 4  # of the 14 words that a sentence may have
    for index, length in enumerate((ids != 0).sum(dim=1).tolist()):
        end = int(ids[index].argmax())
        best = 1 + np.argsort(-whole[index, end, 1:end], kind="stable")[:4]
        taken = selected.places[index][selected.taken[index]].tolist()
        assert taken == best.tolist()
        assert len(taken) == min(4, length - 2)


def test_cropping_and_grouping_change_no_vector(tmp_path):
    tokenizer = clip_tokenizer(tmp_path)
    model = tiny_itself(tokenizer.vocabulary_size)
    ids = torch.from_numpy(tokenizer.encode(SENTENCES))
    padded = torch.nn.functional.pad(ids, (0, 16 - ids.shape[1]))
    with torch.no_grad():
        together = model.sentence_branches(padded)
        apart = model.sentence_branches([padded[:1, :], padded[1:2, :4], padded[2:]])
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", ["clip", "transformer"])
@pytest.mark.parametrize("selector", [name for name in SELECTORS if name != "layer"])
def test_every_selector_gives_finite_gradients_that_do_not_depend_on_cropping(selector, text):
    model = tiny_itself(local={"selector": selector}, text=text).train()
    ids = torch.tensor([[50, 3, 4, 5, 6, 59], [50, 7, 59, 0, 0, 0]])
    images = torch.randn(2, 3, 48, 24)
    found = []
    for width in (6, 16):
        model.zero_grad()
        given = torch.nn.functional.pad(ids, (0, width - 6))
        features = pair_features_of(model, images, [given], torch.arange(2))
        assert features.local_images is not None
        (features.local_images * features.local_texts).sum().backward()
        found.append(model.text_tower.embedding.weight.grad.clone())
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert model.image_tower.patches.weight.grad.abs().sum() > 0
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)


def test_a_sentence_without_words_is_its_end_token():
    model = tiny_itself()
    ids = torch.tensor([[50, 59, 0, 0], [50, 3, 4, 59]])
    selected = model.select_words(ids)
    assert selected.places[0][selected.taken[0]].tolist() == [1]
    assert model.encode_texts(ids).isfinite().all()
    nothing = tiny_itself(text="transformer")
    assert nothing.encode_texts(torch.tensor([[0, 0], [3, 4]])).isfinite().all()


@pytest.mark.parametrize("mix", [0.0, 0.32, 0.5, 1.0])
def test_one_dot_product_is_the_mixed_score(mix, tmp_path):
    tokenizer = clip_tokenizer(tmp_path)
    model = tiny_itself(tokenizer.vocabulary_size)
    model.set_mix(mix)
    images, ids = torch.randn(4, 3, 48, 24), torch.from_numpy(tokenizer.encode(SENTENCES))
    with torch.no_grad():
        whole_i, local_i = (part.numpy() for part in model.picture_branches(images))
        whole_t, local_t = (part.numpy() for part in model.sentence_branches(ids))
        pictures, sentences = model.encode_images(images).numpy(), model.encode_texts(ids).numpy()
    expected = mix * unit(whole_t) @ unit(whole_i).T + (1 - mix) * unit(local_t) @ unit(local_i).T
    np.testing.assert_allclose(sentences @ pictures.T, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(pictures, axis=1), 1, atol=1e-6)
    both = {"global": (0, 20), "local": (20, 52)}
    absent = {0.0: "global", 1.0: "local"}.get(mix)  # zero in every vector, so nothing can be said of it
    assert model.branches == {name: columns for name, columns in both.items() if name != absent}


def test_saved_restored_and_searched_with(tmp_path):
    model, tokenizer = save_itself(tmp_path / "model", tmp_path)
    again = restore_model(read_checkpoint(tmp_path / "model"))
    assert isinstance(again, Itself)
    assert again.config == model.config
    images = pixels(3)
    retriever = load(tmp_path / "model", runtime="torch", device="cpu")
    assert retriever.dim == 52
    assert retriever.branches == model.branches
    mean, std = np.array(model.preprocessing.mean), np.array(model.preprocessing.std)
    tensors = torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        np.testing.assert_allclose(retriever.encode_images(list(images)), model.encode_images(tensors), atol=1e-5)
        ids = torch.from_numpy(tokenizer.encode(SENTENCES))
        np.testing.assert_allclose(retriever.encode_texts(SENTENCES), model.encode_texts(ids), atol=1e-5)


def test_schedules_go_by_the_moment_and_tests_by_the_ratio():
    model = tiny_itself(local={"schedule": "step", "start": 1.0, "end": 0.2, "until_epochs": 2, "ratio": 0.5})
    images, ids, place = torch.randn(2, 3, 48, 24), torch.tensor([[50, 3, 59], [50, 4, 59]]), torch.arange(2)
    seen = []
    real = model.select_patches
    model.select_patches = lambda images, ratio=None: seen.append(ratio) or real(images, ratio)
    for step in (0, 9, 19, 500):
        model.pair_features(images, [ids], place, Moment(step, 10), False)
    model.picture_branches(images)
    assert seen[0] > seen[1] > seen[2] == pytest.approx(0.2)
    assert seen[3] == pytest.approx(0.2)
    assert seen[4] is None
    assert real(images).places.shape[1] == 9
    assert isinstance(model, TwoBranches)
    assert model.local_dim == 32


@pytest.mark.parametrize("text", ["clip", "transformer"])
@pytest.mark.parametrize(
    "local",
    [{"discard_among": "row", "discard": 0.5}, {"discard_among": "nonzero", "discard": 0.5}, {"diversity": 0.5}],
)
def test_later_options_choose_other_tokens_whatever_the_padding(local, text):
    plain, other = tiny_itself(text=text), tiny_itself(local=local, text=text)
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(8, 3, 48, 24, generator=generator)
    ids = torch.randint(3, 50, (8, 12), generator=generator)
    ids[:, 0], ids[:, -1] = 50, 59
    if local.get("discard_among") != "nonzero":  # attention to pictures has no zeros
        assert _sets(plain.select_patches(images, 0.4)) != _sets(other.select_patches(images, 0.4))
    assert _sets(plain.select_words(ids, 0.3)) != _sets(other.select_words(ids, 0.3))
    padded = torch.nn.functional.pad(ids, (0, 4))
    assert _sets(other.select_words(padded, 0.3)) == _sets(other.select_words(ids, 0.3))
    assert other.select_patches(images, 0.4).places.shape == plain.select_patches(images, 0.4).places.shape
    assert build_itself(other.config).config == other.config


def _sets(selected):
    return [set(row[taken].tolist()) for row, taken in zip(selected.places, selected.taken, strict=True)]


def test_later_options_leave_what_was_saved_without_them_as_it_is():
    first = {
        "dim": 32, "selector": "mars", "layers": [], "discard": 0.25, "normalisation": "l1", "ratio": 0.4,
        "schedule": "none", "start": 0.65, "end": 0.5, "until_epochs": 10.0, "pooling": "max", "norm": "batch",
        "mix": 0.5, "compat": [], "compact": None,
    }  # fmt: skip
    assert tiny_itself().config["local"] == first, "another mapping would be another fingerprint"
    assert tiny_itself(local={"diversity": 0.0, "discard_among": "map"}).config["local"] == first
    assert tiny_itself(local={"diversity": 0.25}).config["local"] == {**first, "diversity": 0.25}
    assert LocalOptions.from_dict(first) == LocalOptions(dim=32)


def test_tokens_for_losses_on_tokens():
    model = tiny_itself()
    ids = torch.tensor([[50, 3, 59], [50, 4, 59]])
    features = pair_features_of(model, torch.randn(2, 3, 48, 24), [ids], torch.tensor([1, 0]), tokens=True)
    assert features.image_tokens.shape == (2, 19, 20)
    torch.testing.assert_close(features.image_tokens[:, 0], features.images)
    (group,) = features.text_tokens
    assert group.rows.tolist() == [1, 0]
    torch.testing.assert_close(group.tokens[:, 2][torch.tensor([1, 0])], features.texts)


def test_the_release_selects_by_the_last_layer_at_test_only():
    released = tiny_itself(local={"compat": ["last_layer_test"]})
    plain = tiny_itself(local={"selector": "last"})
    mars = tiny_itself()
    images = torch.randn(4, 3, 48, 24)
    assert released.select_patches(images).places.tolist() == plain.select_patches(images).places.tolist()
    assert released.train().select_patches(images).places.tolist() == mars.select_patches(images).places.tolist()


def test_padding_enters_the_statistics_only_where_it_is_asked_for():
    ids = torch.tensor([[50, 3, 4, 59], [50, 7, 59, 0]])
    plain, padded = tiny_itself(), tiny_itself(local={"compat": ["padded_statistics"]})
    plain.train(), padded.train()
    ours, theirs = plain.select_words(ids, 0.65), padded.select_words(ids, 0.65)
    assert ours.counted.sum() == 3
    assert theirs.counted.sum() == 2 * 9  # every row that is taken, words or not
    assert [sorted(theirs.places[row][theirs.taken[row]].tolist()) for row in (0, 1)] == [[1, 2], [1]]
    assert padded.eval().select_words(ids, 0.65).counted.sum() == 3
    assert all(reason for reason in COMPAT.values())


def test_overlapping_patches_and_other_poolings():
    model = tiny_itself(local={"pooling": "gpo", "norm": "layer"}, stride=4)
    assert model.image_tower.grid == (11, 5)
    assert model.encode_images(torch.randn(2, 3, 48, 24)).shape == (2, 52)
    assert build_itself(model.config).image_tower.grid == (11, 5)


@pytest.mark.parametrize("source", ["vit_base_patch32_clip_224.openai", "vit_tiny_patch16_224"])
def test_vision_transformers_of_timm(source):
    model = build_itself(
        {
            "image": {"name": f"timm:{source}", "options": {"weights": "random"}},
            "text": {"name": "clip", "options": {"channels": 16, "layers": 2, "heads": 2}},
            "embedding_dim": 16,
            "local": {"dim": 8},
        },
        image_size=(64, 32), vocabulary_size=60, context_length=8,
    ).eval()  # fmt: skip
    assert model.encode_images(torch.randn(1, 3, 64, 32)).shape == (1, 24)


@pytest.mark.parametrize(
    ("local", "message"),
    [
        ({"selector": "mar"}, "no selector is called 'mar'.*Did you mean 'mars'"),
        ({"ratio": 0}, "local.ratio"),
        ({"end": 2}, "local.end"),
        ({"mix": 1.5}, "local.mix"),
        ({"dim": 0}, "local.dim"),
        ({"until_epochs": 0}, "until_epochs"),
        ({"compact": 99}, "local.compact"),
        ({"compat": ["last_layer"]}, "Did you mean 'last_layer_test'"),
        ({"selectr": "A"}, "Did you mean 'selector'"),
        ({"layers": [1, 7]}, "layers 0 to 3"),
        ({"pooling": "median"}, "local.pooling"),
        ({"discard_among": "columns"}, "nothing is discarded among 'columns'; known: map, row, nonzero"),
        ({"discard_amongst": "row"}, "Did you mean 'discard_among'"),
        ({"diversity": 1}, "local.diversity is 1; expected a weight from 0 to below 1"),
        ({"diversity": 0.1, "compat": ["padded_statistics"]}, "the release knows no diversity"),
    ],
)
def test_options_that_are_refused(local, message):
    with pytest.raises(ConfigError, match=message):
        tiny_itself(local=local)


def test_towers_that_have_nothing_to_select_by():
    with pytest.raises(ConfigError, match="a local branch needs both of one width"):
        Itself(tiny_model(), LocalOptions(dim=8))
    with pytest.raises(ConfigError, match=r"model\.local is None"):
        build_itself({"image": {"name": "clip"}, "text": {"name": "clip"}, "embedding_dim": 8})


def test_weights_of_another_picture_size_are_refused(tmp_path):
    model, _ = save_itself(tmp_path / "model", tmp_path)
    larger = tiny_itself(model.text_tower.options["vocabulary_size"], image_size=[64, 32])
    checkpoint = read_checkpoint(tmp_path / "model")
    from passerby.models.restore import load_tensors

    with pytest.raises(CheckpointError, match=r"image_tower.positions.*\(19, 24\).*\(33, 24\)"):
        load_tensors(larger, checkpoint.tensors(), "the checkpoint")
