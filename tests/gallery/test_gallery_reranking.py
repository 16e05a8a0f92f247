"""Second stages by name: what each computes, what it costs a caller to name it wrongly, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from colour_encoder import ColourEncoder, person, write_people
from passerby.errors import ConfigError, MissingExtraError
from passerby.gallery import Candidates, Gallery, Hit, Hits, Picture, reranking_models
from passerby.gallery.reranking import NeighbourhoodReranker, Remembering, Stages, find_reranker, offered_stages
from passerby.metrics.k_reciprocal import KReciprocal, k_reciprocal_blocks


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "people", 36)
    with Gallery.create(folder / "g", ColourEncoder()) as gallery:
        gallery.add(folder / "people")
        yield gallery


def candidates(vectors, query, texts=("red",)):
    pictures = tuple(Picture(f"{at:032x}", f"{at}.jpg") for at in range(len(vectors)))
    return Candidates(query, texts, (), pictures, vectors, vectors @ query)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_k_reciprocal_orders_as_the_whole_matrix_does(count):
    random = np.random.default_rng(count)
    vectors, query = unit(random.normal(size=(count, 8))), unit(random.normal(size=8))
    settings = KReciprocal(5, 2, 0.4)
    found = NeighbourhoodReranker(depth=30, settings=settings).rerank(candidates(vectors, query))
    blocks = list(k_reciprocal_blocks(query[None], vectors, settings, transductive=False))
    np.testing.assert_array_equal(found, 1 - np.concatenate(blocks)[0])
    assert found.shape == (count,)
    assert found.min() >= 0
    assert found.max() <= 1


def test_k_reciprocal_puts_those_behind_who_have_better_friends():
    """The nearest picture of all belongs to a crowd that is nearer to it than the query is."""
    axes = np.eye(16)
    friends = unit(axes[0] + 0.6 * axes[1:9])
    crowd = unit(0.8 * axes[0] + 0.6 * axes[9] + 0.1 * axes[10:16])
    impostor = unit(0.88 * axes[0] + 0.475 * axes[9])[None]
    vectors, query = np.concatenate([friends, crowd, impostor]), unit(axes[0])
    cosines = vectors @ query
    assert cosines[-1] > cosines[:8].max() > cosines[8:-1].max()
    scores = NeighbourhoodReranker(settings=KReciprocal(5, 1, 0.0)).rerank(candidates(vectors, query))
    assert np.argmax(cosines) == len(vectors) - 1
    assert scores[-1] < np.sort(scores[:8])[-4]  # as many friends as the query has neighbours besides


def test_a_search_takes_the_name_and_tells_the_latency(gallery):
    plain = gallery.search("red blue", k=12, keep_poor=True)
    named = gallery.search("red blue", k=12, keep_poor=True, reranker="k-reciprocal:depth=8,k1=4,k2=2,lambda=0.2")
    same = NeighbourhoodReranker(8, KReciprocal(4, 2, 0.2))
    given = gallery.search("red blue", k=12, keep_poor=True, reranker=same)
    assert [(hit.id, hit.score) for hit in named] == [(hit.id, hit.score) for hit in given]
    assert {hit.id for hit in named[:8]} == {hit.id for hit in plain[:8]}
    assert [hit.id for hit in named[8:]] == [hit.id for hit in plain[8:]]
    assert named.seconds["rerank"] > 0
    assert gallery.stage("k-reciprocal:depth=8,k1=4,k2=2,lambda=0.2").depth == 8


def test_the_band_of_an_answer_is_the_best_wherever_a_stage_puts_it():
    picture = Picture("00" * 16, "a.jpg")
    bands = ("none", "strong", "weak")
    assert [Hits([Hit(picture, 0.5, band) for band in bands[start:]]).band for start in range(4)] == [
        "strong", "strong", "weak", "none",
    ]  # fmt: skip


def test_a_few_stages_are_kept_ready_and_no_more():
    stages, made = Stages(), []
    first = [stages.find(f"k-reciprocal:depth={depth}", ColourEncoder, made.append) for depth in range(1, 5)]
    assert stages.find("k-reciprocal:depth=1", ColourEncoder, made.append) is first[0]
    for depth in range(5, 40):
        assert stages.find(f"k-reciprocal:depth={depth}", ColourEncoder, made.append).depth == depth
        assert len(stages) == 4
    assert stages.find("k-reciprocal:depth=1", ColourEncoder, made.append) is not first[0]


def test_a_service_offers_one_stage_of_each_method():
    assert offered_stages(()) == {"k-reciprocal": "k-reciprocal"}
    texts = ("cross:depth=20", "k-reciprocal:k1=9", "context:runs/c,depth=4")
    assert offered_stages(texts) == dict(zip(("cross", "k-reciprocal", "context"), texts, strict=True))
    with pytest.raises(ConfigError, match="cross is offered twice, as 'cross' and 'cross:depth=3'"):
        offered_stages(("cross", "cross:depth=3"))
    with pytest.raises(ConfigError, match=r"no second stage 'crosss'; .* Did you mean 'cross'"):
        offered_stages(("crosss",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("k-recipocal", "no second stage 'k-recipocal'; expected one of .* Did you mean 'k-reciprocal'"),
        ("", "no second stage ''"),
        ("k-reciprocal:k1", "'k1' is no option of k-reciprocal; there are depth=..., k1=..."),
        ("k-reciprocal:weight=1", "'weight=1' is no option"),
        ("k-reciprocal:k1=x", "k1 is 'x'; expected a whole number"),
        ("k-reciprocal:lambda=x", "lambda is 'x'; expected a number"),
        ("k-reciprocal:lambda=2", "lambda = 2"),
        ("k-reciprocal:depth=0", "depth is 0; expected 1 to 1000"),
        ("k-reciprocal:depth=1001", "depth is 1001"),
        ("cross:weight=2", "is to weigh 2.0; expected 0 to 1"),
        ("context", "context needs a context encoder"),
        ("context:depth=5", "context needs a context encoder"),
        ("context:a,b", "'b' is no option of context"),
    ],
)
def test_names_that_are_none(gallery, text, words):
    with pytest.raises(ConfigError, match=words):
        gallery.search("red", reranker=text)


@pytest.mark.parametrize("text", ["cross", "context:runs/context"])
def test_without_torch_the_extra_is_named(gallery, text, monkeypatch):
    monkeypatch.setattr(reranking_models, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"passerby\[train\]"):
        find_reranker(text, ColourEncoder, gallery.thumbnail)


# -- stages that are models -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """A gallery of a tiny model with a re-ranker that has something to say, and that model."""
    torch = pytest.importorskip("torch")
    from passerby.models.reranker import build_reranker
    from passerby.models.restore import save_dual_encoder
    from passerby.retriever import load
    from tiny_models import tiny_model, tiny_tokenizer

    folder = tmp_path_factory.mktemp("cross")
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer)
    torch.manual_seed(1)
    model.reranker = build_reranker({"width": 8, "heads": 2, "layers": 1}, model.image_tower, model.text_tower).eval()
    with torch.no_grad():
        for weights in model.reranker.parameters():  # the last ones are zero, so that it would say nothing
            weights.normal_(0, 0.3)
    save_dual_encoder(model, tokenizer, folder / "model", name="tiny")
    write_people(folder / "people", 12)
    with Gallery.create(folder / "g", load(folder / "model")) as gallery:
        gallery.add(folder / "people")
        yield gallery, model, tokenizer


def test_cross_attention_scores_as_the_model_does(seeing):
    torch = pytest.importorskip("torch")
    from passerby.data.images import decode_image, resize_image
    from passerby.models.reranker import encode_gallery, rerank

    gallery, model, tokenizer = seeing
    sentence = "a woman in a red coat"
    first = gallery.search(sentence, k=12, keep_poor=True)
    found = gallery.search(sentence, k=12, keep_poor=True, reranker="cross:weight=1")
    pictures = [resize_image(decode_image(hit.path), (32, 16), model.preprocessing.interpolation) for hit in first]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (model.preprocessing.mean, model.preprocessing.std)
    )
    vectors, maps = encode_gallery(model, [(pixels - mean) / std])
    ids = torch.from_numpy(tokenizer.encode([sentence]))
    expected = rerank(model, ids, vectors, maps, 12, weight=1)
    assert [hit.id for hit in found] == [first[at].id for at in expected.candidates[0].tolist()]
    np.testing.assert_allclose([hit.score for hit in found], expected.scores[0].numpy(), atol=0.02)
    assert [hit.id for hit in found] != [hit.id for hit in first]
    assert found.seconds["rerank"] > 0


def test_cross_attention_remembers_pictures_and_takes_thumbnails_of_those_that_have_gone(seeing, tmp_path, monkeypatch):
    gallery, _, _ = seeing
    stage = find_reranker("cross:depth=6", lambda: gallery.model, gallery.thumbnail)
    whole = gallery.search("a red coat", k=6, keep_poor=True, reranker=stage)
    seen = []
    monkeypatch.setattr(stage._scorer, "maps", lambda pictures: seen.append(len(pictures)))
    again = gallery.search("a red coat", k=6, keep_poor=True, reranker=stage)
    assert [(hit.id, hit.score) for hit in again] == [(hit.id, hit.score) for hit in whole]
    assert not seen
    monkeypatch.undo()
    monkeypatch.setattr(reranking_models, "_REMEMBERED", 2)
    fresh = find_reranker("cross:depth=6", lambda: gallery.model, gallery.thumbnail)
    for hit in whole:
        hit.path.rename(hit.path.with_suffix(".away"))
        hit.path.write_bytes(b"another file")
    try:
        from_thumbnails = gallery.search("a red coat", k=6, keep_poor=True, reranker=fresh)
    finally:
        for hit in whole:
            hit.path.with_suffix(".away").replace(hit.path)
    scores = {hit.id: hit.score for hit in whole}
    np.testing.assert_allclose(
        [hit.score for hit in from_thumbnails], [scores[hit.id] for hit in from_thumbnails], atol=1
    )
    assert len(fresh._maps) == 2
    assert isinstance(fresh, Remembering)
    fresh.forget([next(iter(fresh._maps)), "00" * 16])
    assert len(fresh._maps) == 1
    with pytest.raises(ConfigError, match="cross-attention reads words"):
        gallery.search(image=person("red", "blue", seed=1), keep_poor=True, reranker="cross")


def test_models_that_have_no_such_stage(seeing, tmp_path):
    from passerby.errors import CheckpointError
    from passerby.models.pair_scorer import open_pair_scorer
    from passerby.retriever import load
    from tiny_models import save_tiny

    gallery, _, _ = seeing
    save_tiny(tmp_path / "plain")
    plain = load(tmp_path / "plain")
    with pytest.raises(ConfigError, match="has no cross-attention re-ranker; train one on it"):
        open_pair_scorer(plain.name, plain.fingerprint)
    with pytest.raises(CheckpointError, match="has changed since it was loaded"):
        open_pair_scorer(plain.name, "00" * 32)
    with pytest.raises(ConfigError, match="holds no context encoder"):
        gallery.search("red", reranker=f"context:{tmp_path / 'plain'}")


def test_context_orders_as_the_context_of_the_hits(gallery, tmp_path):
    torch = pytest.importorskip("torch")
    from passerby.models.context import ContextEncoder
    from passerby.models.context_config import context_config
    from passerby.models.gallery_context import GalleryContext
    from passerby.models.restore import save_model

    torch.manual_seed(0)
    width = ColourEncoder().dim
    encoder = ContextEncoder(context_config("nformer", width, 7, layers=2, k=5, heads=2)).eval()
    save_model(encoder, tmp_path / "context", kind="context", name="tiny-context")
    first = gallery.search("red blue", k=20, keep_poor=True)
    found = gallery.search("red blue", k=20, keep_poor=True, reranker=f"context:{tmp_path / 'context'},depth=20")
    context = GalleryContext(encoder, gallery.vectors([hit.id for hit in first]))
    query = ColourEncoder().encode_texts(["red blue"])
    scores = context.vectors @ context.transform(query, one_way=True)[0]
    order = np.argsort(-scores, kind="stable")
    assert [hit.id for hit in found] == [first[at].id for at in order]
    np.testing.assert_allclose([hit.score for hit in found], scores[order], atol=1e-4)
    narrow = ContextEncoder(context_config("nformer", 8, 7, layers=1, k=5, heads=2))
    save_model(narrow, tmp_path / "narrow", kind="context", name="narrow")
    with pytest.raises(ConfigError):
        gallery.search("red", reranker=f"context:{tmp_path / 'narrow'}")
