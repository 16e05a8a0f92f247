"""Mechanisms, pooling, positions and cross-attention against loops; what each sees; options that do not exist."""

import math

import pytest
import torch

from passerby.errors import ConfigError
from passerby.nn.attention_pooling import AttentionPooling, attention_pool
from passerby.nn.cross_attention import CrossAttention, CrossMatch
from passerby.nn.positions import grid_positions, sine_positions
from passerby.nn.projection import build_projection
from passerby.nn.token_mixer import MECHANISMS, build_mechanism, mechanism_options

SMALL = {"width": 16, "heads": 2, "dropout": 0.0}


def mixer(name, grid=None, in_front=0, **options):
    torch.manual_seed(0)
    built = build_mechanism(name, 12, grid, in_front, {**SMALL, **options})
    assert built is not None
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built.eval()


@pytest.mark.parametrize("masked", [False, True])
def test_pooling_equals_a_loop(masked):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    scores = torch.randn(2, 5, 2, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0]]).bool() if masked else None
    found = attention_pool(tokens, scores, mask)
    for row in range(2):
        kept = [place for place in range(5) if mask is None or mask[row, place]]
        for query in range(2):
            powers = [math.exp(float(scores[row, place, query])) for place in kept]
            expected = sum(p / sum(powers) * tokens[row, place] for p, place in zip(powers, kept, strict=True))
            torch.testing.assert_close(found[row, query], expected, rtol=1e-6, atol=1e-6)
    assert attention_pool(tokens, scores, torch.zeros(2, 5, dtype=torch.bool)).isfinite().all()


def test_pooled_queries_stand_side_by_side():
    torch.manual_seed(0)
    pooling, tokens = AttentionPooling(6, 3), torch.randn(2, 4, 6)
    normed = pooling.norm(tokens)
    expected = attention_pool(normed, pooling.score(normed))
    torch.testing.assert_close(pooling(tokens), torch.cat([expected[:, query] for query in range(3)], dim=1))
    assert pooling.width == 18


def test_positions_are_the_papers_formula():
    found = sine_positions(torch.arange(7), 6)
    for place in range(7):
        for pair in range(3):
            angle = place / 10_000 ** (2 * pair / 6)
            assert found[place, pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[place, 3 + pair].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_cells_of_a_grid_know_row_and_column():
    found = grid_positions((3, 2), 8)
    torch.testing.assert_close(
        found[5], torch.cat([sine_positions(torch.tensor([2]), 4), sine_positions(torch.tensor([1]), 4)], 1)[0]
    )
    assert len({tuple(row) for row in found.tolist()}) == 6


def test_cross_attention_equals_a_loop():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2).double()
    words, cells = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 5, 8, dtype=torch.float64)
    query, both = layer.query(words), layer.key_value(cells)
    expected = torch.zeros(2, 3, 8, dtype=torch.float64)
    for row in range(2):
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            for place in range(3):
                keys, values = both[row, :, part], both[row, :, 8:][:, part]
                weights = (keys @ query[row, place, part] / 2.0).softmax(0)
                expected[row, place, part] = weights @ values
    torch.testing.assert_close(layer(words, cells), layer.out(expected))


def test_one_pooled_key_tells_every_word_the_same():
    """Why the reports' pooled image is no cross-attention: over one key the softmax is 1, whatever the word."""
    torch.manual_seed(0)
    layer = CrossAttention(8, 2).eval()
    words = torch.randn(1, 5, 8)
    with torch.no_grad():
        one, many = layer(words, torch.randn(1, 1, 8)), layer(words, torch.randn(1, 6, 8))
    assert torch.allclose(one, one[:, :1].expand_as(one), atol=1e-6)
    assert not torch.allclose(many, many[:, :1].expand_as(many), atol=1e-3)


def test_a_match_equals_a_loop():
    torch.manual_seed(0)
    layer = CrossMatch(8, 2).double()
    torch.nn.init.normal_(layer.says.weight)
    words, pictures = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 4, 5, 8, dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, False, True]])
    normed = layer.norm_words(words)
    query, says, gates = layer.query(normed), layer.says(normed), layer.weigh(normed)
    expected = torch.zeros(2, 4, dtype=torch.float64)
    for row in range(2):
        spoken = mask[row].nonzero()[:, 0].tolist()
        for candidate in range(4):
            both = layer.key_value(layer.norm_tokens(pictures[row, candidate]))
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                weights = gates[row, spoken, head].softmax(0)
                for weight, place in zip(weights, spoken, strict=True):
                    looks = (both[:, :8][:, part] @ query[row, place, part] / 2.0).softmax(0)
                    expected[row, candidate] += weight * (looks @ both[:, 8:][:, part]) @ says[row, place, part]
    kept = layer.keep(pictures)
    torch.testing.assert_close(layer(words, mask, kept), expected)
    torch.testing.assert_close(layer(words, mask, kept.float()), expected, rtol=1e-5, atol=1e-5)


def test_a_match_begins_at_zero_and_its_first_step_is_a_step():
    torch.manual_seed(0)
    layer = CrossMatch(8, 2)
    logits = layer(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool), layer.keep(torch.randn(2, 4, 5, 8)))
    assert not logits.any()
    logits.sum().backward()
    assert layer.says.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["self", "sparse"])
@pytest.mark.parametrize("pooling", ["attention", "tower"])
def test_padding_changes_no_sentence(name, pooling):
    mixed = mixer(name, pooling=pooling)
    tokens = torch.randn(2, 9, 12)
    mask = torch.arange(9)[None] < torch.tensor([[9], [5]])
    with torch.no_grad():
        together, alone = mixed(tokens, mask), mixed(tokens[1:, :5], mask[1:, :5])
        noise = tokens.clone()
        noise[1, 5:] = 100.0
        torch.testing.assert_close(mixed(noise, mask)[:, :5], together[:, :5])
        torch.testing.assert_close(together[1:, :5], alone[:, :5], rtol=1e-5, atol=1e-5)
        assert mixed(tokens, torch.zeros(2, 9, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("name", ["self", "sparse"])
def test_order_matters_in_sentences_and_pictures(name):
    for built in (mixer(name), mixer(name, (3, 2))):
        tokens = torch.randn(1, 6, 12)
        with torch.no_grad():
            assert not torch.allclose(built(tokens), built(tokens.flip(1)), atol=1e-4)


@pytest.mark.parametrize("name", ["self", "sparse"])
def test_a_change_of_tokens_starts_at_nothing(name):
    torch.manual_seed(0)
    built = build_mechanism(name, 12, (3, 2), 1, {**SMALL, "pooling": "tower"})
    tokens = torch.randn(2, 7, 12)
    assert built is not None
    assert torch.equal(built(tokens), tokens)
    built(tokens).sum().backward()
    assert built.leave.weight.grad.abs().sum() > 0


def test_a_window_of_cells_sees_its_neighbours_alone():
    built = mixer("sparse", (6, 4), window=1, global_tokens=0, pooling="tower")
    tokens = torch.randn(1, 24, 12)
    moved = tokens.clone()
    moved[:, 0] += torch.randn(12)  # the cell in the corner
    with torch.no_grad():
        difference = (built(moved) - built(tokens)).abs().amax(dim=2)[0].view(6, 4)
    expected = torch.zeros(6, 4)
    expected[:2, :2] = 1
    assert torch.equal((difference > 1e-6).float(), expected)


def test_tokens_in_front_and_learned_ones_are_global():
    for in_front, global_tokens in ((1, 0), (0, 1), (1, 2)):
        built = mixer("sparse", (6, 4), in_front, window=1, global_tokens=global_tokens, layers=2, pooling="tower")
        tokens = torch.randn(1, in_front + 24, 12)
        moved = tokens.clone()
        moved[:, -1] += 9 * torch.randn(12)
        with torch.no_grad():
            difference = (built(moved) - built(tokens)).abs().amax(dim=2)[0]
        assert (difference > 1e-7).all(), "through a global token everything is two layers away"


def test_the_reports_head_has_their_formula_and_size():
    head = build_projection("residual", 10, 6).eval()
    vectors = torch.randn(4, 10)
    projected = head.enter(vectors)
    before = head.refine(torch.nn.functional.gelu(projected)) + projected
    torch.testing.assert_close(head(vectors), torch.nn.functional.layer_norm(before, (6,)))
    torch.testing.assert_close(head(vectors).square().sum(1), torch.full((4,), 6.0), rtol=1e-3, atol=1e-3)
    assert head.dropout.p == 0.1
    for width, count in ((2048, 590_848), (768, 263_168)):
        assert sum(p.numel() for p in build_projection("residual", width, 256).parameters()) == count


def test_defaults_are_written_out():
    assert mechanism_options("none", {}) == {}
    chosen = mechanism_options("sparse", {"window": 4})
    assert (chosen["window"], chosen["heads"], chosen["width"], chosen["global_tokens"]) == (4, 4, 256, 1)
    assert set(MECHANISMS) == {"none", "self", "sparse"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mechanism_options("spars", {}), "Did you mean 'sparse'"),
        (lambda: mechanism_options("cross", {}), "it is a re-ranker"),
        (lambda: mechanism_options("self", {"window": 3}), "'self' has no option 'window'"),
        (lambda: mechanism_options("sparse", {"windw": 3}), "Did you mean 'window'"),
        (lambda: mechanism_options("none", {"heads": 3}), "known: none"),
        (lambda: mixer("self", heads=3), "16 channels cannot be cut into 3 heads"),
        (lambda: mixer("self", pooling="towers"), "Did you mean 'tower'"),
        (lambda: mixer("self", queries=0), "0 queries"),
        (lambda: mixer("sparse", columns=1), "columns=1; a sentence has none"),
        (lambda: mixer("sparse", window=-1), "expected 0 or more"),
        (lambda: mixer("self", (2, 2), width=6), "multiple of four channels, got 6"),
        (lambda: sine_positions(torch.arange(2), 3), "even number of channels, got 3"),
        (lambda: CrossAttention(8, 3), "cannot be cut into 3 heads"),
        (lambda: CrossMatch(8, 0), "cannot be cut into 0 heads"),
    ],
)
def test_wrong_input(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
