"""The fusion re-ranker: what it looks at, what it keeps of a picture, what a query costs, and what it refuses."""

import logging

import pytest
import torch

from attended_models import attended_model
from passerby.errors import ConfigError, DataError
from passerby.losses.matching import draw_hard_negatives, matching_loss
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.reranker import FusionReranker, build_reranker, clamp_candidates, encode_gallery, rerank

OPTIONS = {"width": 16, "heads": 2, "layers": 2}


@pytest.fixture
def model():
    return attended_model(reranker=OPTIONS)


@pytest.fixture
def gallery(model):
    torch.manual_seed(3)
    return encode_gallery(model, torch.randn(3, 4, 3, 64, 32))


IDS = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [9, 10, 11, 0]])


def naive_rerank(model, ids, vectors, maps, k, weight):
    """One sentence and one picture at a time."""
    orders = []
    for row in ids:
        words = row[row != 0][None]
        cosines = model.encode_texts(words)[0] @ vectors.T
        best = sorted(range(len(vectors)), key=lambda place: -float(cosines[place]))[:k]
        _, tokens, mask = model.project_texts(words)
        states = model.reranker.text_states(tokens)
        fused = {}
        for place in best:
            logit = model.reranker.score(states, mask, maps[None, place : place + 1])[0, 0]
            fused[place] = float((1 - weight) * model.logit_scale * cosines[place] + weight * logit)
        orders.append(sorted(fused.items(), key=lambda item: -item[1]))
    return orders


@torch.inference_mode()
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_equals_one_pair_at_a_time(model, gallery, weight, monkeypatch):
    monkeypatch.setattr("passerby.models.reranker._PAIRS", 10)  # several portions
    found = rerank(model, IDS, *gallery, k=5, weight=weight)
    for row, expected in enumerate(naive_rerank(model, IDS, *gallery, 5, weight)):
        assert found.candidates[row].tolist() == [place for place, _ in expected]
        torch.testing.assert_close(found.scores[row], torch.tensor([s for _, s in expected]), rtol=1e-4, atol=1e-4)


def test_weight_zero_is_the_first_stage(model, gallery):
    vectors, maps = gallery
    with torch.no_grad():
        cosines = model.encode_texts(IDS) @ vectors.T
    assert torch.equal(rerank(model, IDS, vectors, maps, 12, 0.0).candidates, cosines.argsort(1, descending=True))


def test_an_untrained_reranker_changes_no_order():
    torch.manual_seed(0)
    fresh = FusionReranker(12, 12, (2, 2), **OPTIONS)
    states, maps = torch.randn(2, 3, 16), torch.randn(2, 5, 4, 32)
    assert torch.equal(fresh.score(states, torch.ones(2, 3, dtype=torch.bool), maps), torch.zeros(2, 5))


def test_words_and_regions_both_decide(model):
    torch.manual_seed(4)
    reranker, mask = model.reranker, torch.ones(1, 4, dtype=torch.bool)
    tokens, maps = torch.randn(1, 4, 24), torch.randn(1, 3, 8, 32)
    with torch.no_grad():
        once = reranker.score(reranker.text_states(tokens), mask, maps)
        assert once.std() > 1e-3, "pictures differ"
        for other in (tokens.flip(1), tokens[:, [0, 0, 2, 3]]):
            assert (reranker.score(reranker.text_states(other), mask, maps) - once).abs().max() > 1e-3
        changed = maps.clone()
        changed[:, :, 5] = torch.randn(32)
        assert (reranker.score(reranker.text_states(tokens), mask, changed) - once).abs().max() > 1e-3
        # A map already carries its positions, so the order in which it is kept is no matter.
        shuffled = maps[:, :, torch.randperm(8)]
        torch.testing.assert_close(reranker.score(reranker.text_states(tokens), mask, shuffled), once)


def test_maps_know_where_their_cells_lie(model):
    tokens = torch.randn(1, 8, 32)
    with torch.no_grad():
        maps = model.reranker.image_maps(tokens)
        moved = model.reranker.image_maps(tokens.flip(1)).flip(1)
    assert (maps - moved).abs().max() > 0.1


def test_maps_are_kept_once_in_half_precision(model, gallery):
    vectors, maps = gallery
    assert vectors.shape == (12, 32)
    assert maps.shape == (12, 8, 32)
    assert maps.dtype == torch.float16
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(12))


def test_a_query_costs_k_and_not_the_gallery(model, gallery, monkeypatch):
    """Counted, not timed: as many pairs are scored in a gallery of twelve as in one of twelve hundred."""
    seen = []
    score = model.reranker.score
    monkeypatch.setattr(
        model.reranker, "score", lambda s, m, maps: seen.append(maps.shape[:2].numel()) or score(s, m, maps)
    )
    monkeypatch.setattr(model.image_tower, "forward", lambda *_: pytest.fail("pictures are not encoded again"))
    vectors, maps = gallery
    for times in (1, 100):
        rerank(model, IDS, vectors.repeat(times, 1), maps.repeat(times, 1, 1), k=4)
    assert seen == [12, 12]


def test_k_beyond_the_gallery_is_clamped_and_said(model, gallery, caplog):
    with caplog.at_level(logging.WARNING):
        found = rerank(model, IDS, *gallery, k=500)
    assert found.candidates.shape == (3, 12)
    assert found.asked == 500
    assert "500 candidates were asked for and the gallery holds 12" in caplog.text
    caplog.clear()
    assert clamp_candidates(12, 12) == 12
    assert caplog.text == ""


def test_vectors_do_not_depend_on_the_reranker(model):
    plain = attended_model()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("reranker.")})
    with torch.no_grad():
        torch.testing.assert_close(plain.encode_texts(IDS), model.encode_texts(IDS))
    assert "reranker" not in plain.config
    again = build_dual_encoder(model.config)
    again.load_state_dict(model.state_dict())
    assert again.config == model.config
    assert again.config["reranker"] == {**OPTIONS, "mlp_ratio": 2.0, "dropout": 0.1}


def test_it_learns_what_a_dot_product_of_pooled_vectors_cannot():
    """Which of two words stands in which of two regions: the pooled sum is the same, the tokens are not."""
    torch.manual_seed(0)
    reranker = FusionReranker(4, 4, (1, 2), width=16, heads=2, layers=1, dropout=0.0)
    things = torch.eye(4)
    pictures = torch.stack([things[[a, b]] for a in range(4) for b in range(4) if a != b])  # (12, 2, 4)
    ids = torch.arange(12)
    optimiser = torch.optim.AdamW(reranker.parameters(), 1e-2, weight_decay=0.0)
    mask, generator = torch.ones(12, 2, dtype=torch.bool), torch.Generator().manual_seed(0)
    logits = pictures.sum(1) @ pictures.sum(1).T  # a first stage that knows what is there and not where
    for _ in range(120):
        drawn = draw_hard_negatives(logits, ids, ids, 3, generator)  # (12, 3)
        places = torch.cat([ids[:, None], drawn], dim=1)
        scores = reranker.score(reranker.text_states(pictures), mask, reranker.image_maps(pictures)[places])
        loss = matching_loss(scores[:, 0], scores[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        maps = reranker.image_maps(pictures).expand(12, -1, -1, -1)
        found = reranker.score(reranker.text_states(pictures), mask, maps).argmax(dim=1)
    assert (found == ids).float().mean() > 0.65, "the first stage gets one half: each picture has a mirror image"


def test_the_matching_loss_has_a_right_gradient():
    torch.manual_seed(0)
    reranker = FusionReranker(4, 4, None, width=8, heads=2, layers=1, dropout=0.0).double()
    torch.nn.init.normal_(reranker.match.says.weight)
    words = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    cells = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, False, False]])

    def loss(words, cells):
        maps = reranker.image_maps(cells).expand(2, -1, -1, -1)
        scores = reranker.score(reranker.text_states(words), mask, maps)
        return matching_loss(scores[:, 0], scores[:, 1:])

    assert torch.autograd.gradcheck(loss, (words, cells))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, v, t: rerank(m, IDS, v, t, k=0), ConfigError, "0 candidates"),
        (lambda m, v, t: rerank(m, IDS, v, t, weight=1.5), ConfigError, "weigh 1.5"),
        (lambda m, v, t: rerank(m, IDS, v[:5], t), DataError, "5 vectors and 12 token maps"),
        (lambda m, v, t: rerank(m, IDS, v[:0], t[:0]), DataError, "gallery is empty"),
        (lambda m, v, t: rerank(attended_model(), IDS, v, t), ConfigError, "no re-ranker"),
        (lambda m, v, t: encode_gallery(m, []), DataError, "no pictures"),
        (lambda m, v, t: build_reranker({"hedas": 2}, m.image_tower, m.text_tower), ConfigError, "mean 'heads'"),
        (lambda m, v, t: build_reranker({"layers": -1}, m.image_tower, m.text_tower), ConfigError, "-1 layers"),
        (lambda m, v, t: build_reranker("big", m.image_tower, m.text_tower), ConfigError, "expected a mapping"),
    ],
)  # fmt: skip
def test_wrong_input(model, gallery, call, error, words):
    with pytest.raises(error, match=words):
        call(model, *gallery)
