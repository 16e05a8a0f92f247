"""A dual encoder in ghost batches: the same on one core and on two, and what the parts would be alone."""

import copy

import pytest
import torch

from passerby.models.dual_encoder import build_dual_encoder, unit_rows

SENTENCES = [torch.randint(1, 70, (3, 5)), torch.randint(1, 70, (3, 9))]


def model(dropout=0.0):
    torch.manual_seed(0)
    return build_dual_encoder(
        {
            "image": {"name": "stripe_conv", "options": {"channels": 8}},
            "text": {"name": "conv", "options": {"channels": 8, "dropout": dropout}},
            "embedding_dim": 8,
        },
        image_size=(32, 16),
        vocabulary_size=70,
        context_length=12,
    ).train()


def step(net, cores, images):
    """Vectors, gradients and running statistics of one step on so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        torch.manual_seed(3)
        pictures, sentences, scale = net(images, SENTENCES)
        (scale * (pictures @ sentences.T).square()).sum().backward()
    finally:
        torch.set_num_threads(before)
    grads = [one.grad for one in net.parameters()]
    return [pictures.detach(), sentences.detach(), *grads, *net.buffers()]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("count", [6, 7])
def test_one_core_and_two_learn_the_same(dropout, count):
    images, net = torch.randn(count, 3, 32, 16), model(dropout)
    net.use_ghost_batches(2)
    for one, two in zip(step(copy.deepcopy(net), 1, images), step(net, 2, images), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_a_step_gives_the_same_bits_again():
    images, net = torch.randn(8, 3, 32, 16), model()
    net.use_ghost_batches(2)
    other = copy.deepcopy(net)
    assert all(torch.equal(one, two) for one, two in zip(step(net, 2, images), step(other, 2, images), strict=True))


def test_the_pictures_are_normalised_in_their_parts_and_sentences_are_untouched():
    images, net = torch.randn(6, 3, 32, 16), model()
    alone = copy.deepcopy(net)
    net.use_ghost_batches(2)
    pictures, sentences, _ = net(images, SENTENCES)
    expected = [unit_rows(alone.image_projection(alone.image_tower(part))) for part in images.chunk(2)]
    torch.testing.assert_close(pictures, torch.cat(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sentences, torch.cat([alone.encode_texts(one) for one in SENTENCES]))
    whole = alone.encode_images(images)
    assert not torch.allclose(pictures, whole, atol=1e-3)


def test_one_part_is_the_whole_batch_and_the_state_has_no_new_names():
    images, net = torch.randn(6, 3, 32, 16), model()
    plain = copy.deepcopy(net)
    net.use_ghost_batches(1)
    torch.testing.assert_close(net(images, SENTENCES)[0], plain(images, SENTENCES)[0])
    net.use_ghost_batches(2)
    net(images, SENTENCES)
    assert list(net.state_dict()) == list(plain.state_dict())
    assert net.eval().encode_images(images).shape == (6, 8)


def test_a_tower_that_draws_random_numbers_is_never_computed_beside_another(monkeypatch):
    def refuse(*_):
        raise AssertionError("the image tower draws")

    net = model()
    net.image_tower.draws = True
    net.use_ghost_batches(2)
    monkeypatch.setattr("passerby.models.dual_encoder.side_by_side", refuse)
    assert net(torch.randn(4, 3, 32, 16), SENTENCES)[0].shape == (4, 8)


@pytest.mark.parametrize(("dropout", "draws"), [(0.0, False), (0.1, True)])
def test_a_tower_with_a_mechanism_draws_what_either_draws(dropout, draws):
    options = {"width": 8, "heads": 2, "dropout": dropout}
    config = {
        "image": {"name": "timm:test_byobnet", "options": {"weights": "random"}},
        "text": {"name": "conv", "options": {"channels": 8, "dropout": 0.0}},
        "embedding_dim": 8,
        "attention": {"image": {"name": "self", "options": options}, "text": {"name": "sparse", "options": options}},
    }
    net = build_dual_encoder(config, image_size=(64, 32), vocabulary_size=70, context_length=12)
    assert net.image_tower.draws is net.text_tower.draws is draws
