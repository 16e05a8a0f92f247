"""Second stages behind the service: offered by its owner, asked for by name, the same as in the gallery itself."""

from __future__ import annotations

import numpy as np
import pytest

from colour_encoder import ColourEncoder, jpeg, person, write_people
from passerby.errors import ConfigError
from passerby.gallery import Gallery
from passerby.serve import Settings, create_app

OFFERED = "k-reciprocal:depth=9,k1=4,k2=2"


@pytest.fixture
def offering(gallery):
    """A client of a service that offers one stage with numbers of its own."""
    from starlette.testclient import TestClient

    app = create_app(gallery, Settings(stages=(OFFERED,), timeout_s=600))
    app.state.service.warm()
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def test_clients_name_stages_and_bring_none(offering, gallery):
    answer = offering.get("/v1/search", params={"text": "red blue", "k": 12, "rerank": "k-reciprocal"}).json()
    expected = gallery.search("red blue", k=12, reranker=OFFERED)
    assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in expected]
    assert [hit["score"] for hit in answer["hits"]] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    for text in ("context:/etc", "k-reciprocal:depth=7", "cross:", "../k-reciprocal", "K-Reciprocal"):
        for method in ("GET", "POST"):
            sent = {"files": {"image": ("a.jpg", jpeg(person("red", "red")))}, "data": {"rerank": text}}
            sent = sent if method == "POST" else {"params": {"text": "red", "rerank": text}}
            assert offering.request(method, "/v1/search", **sent).status_code == 422, (method, text)
        assert offering.get("/", params={"q": "red", "rerank": text}).status_code == 422
    refused = offering.get("/v1/search", params={"text": "red", "rerank": "cross"})
    assert refused.status_code == 400
    assert "does not re-rank by 'cross'; it offers k-reciprocal" in refused.json()["error"]["message"]
    page = offering.get("/", params={"q": "red", "rerank": "cross"})
    assert (page.status_code, "it offers k-reciprocal" in page.text) == (400, True)
    assert len(gallery._stages) == 1, "nothing that a client said was made"


def test_the_page_says_why_nobody_is_shown_and_offers_its_own_way_out(offering, gallery, monkeypatch):
    from passerby.gallery.bands import Bands, Limits

    class Strict(Bands):
        def limits(self, words, share):
            return Limits(1.5, 2.0)

    monkeypatch.setattr(gallery._calibration, "bands", lambda encoder: Strict(37, 1.5, 2.0, None))
    page = offering.get("/", params={"q": "a red dog"}).text
    assert "nobody in this gallery matches: the best score is" in page
    assert "--keep-poor" not in page
    assert "Show poor matches too" in page
    warning = offering.get("/v1/search", params={"text": "a red dog"}).json()["warnings"][0]
    assert warning.endswith("give --keep-poor (in Python keep_poor=True)")


def test_what_is_offered_is_listed(offering, client):
    for each in (offering, client):
        assert each.get("/v1/facets").json()["stages"] == ["k-reciprocal"]
        page = each.get("/").text
        assert '<option value="k-reciprocal">k-reciprocal neighbours</option>' in page
        assert 'value="cross"' not in page


def test_a_stage_that_cannot_be_is_refused_at_the_start(gallery):
    for texts, words in (
        (("kross",), "no second stage 'kross'"),
        (("cross", "cross:depth=3"), "offered twice"),
    ):
        with pytest.raises(ConfigError, match=words):
            Settings(stages=texts)
    for text, words in (("k-reciprocal:depth=0", "depth is 0"), ("context", "needs a context encoder")):
        with pytest.raises(ConfigError, match=words):
            create_app(gallery, Settings(stages=(text,))).state.service.warm()


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """Twelve people, a tiny model with a re-ranker that has something to say, and a context encoder for its vectors."""
    torch = pytest.importorskip("torch")
    from passerby.models.context import ContextEncoder
    from passerby.models.context_config import context_config
    from passerby.models.reranker import build_reranker
    from passerby.models.restore import save_dual_encoder, save_model
    from passerby.retriever import load
    from tiny_models import tiny_model, tiny_tokenizer

    folder = tmp_path_factory.mktemp("stages")
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer)
    torch.manual_seed(1)
    model.reranker = build_reranker({"width": 8, "heads": 2, "layers": 1}, model.image_tower, model.text_tower).eval()
    with torch.no_grad():
        for weights in model.reranker.parameters():  # the last ones are zero, so that it would say nothing
            weights.normal_(0, 0.3)
    save_dual_encoder(model, tokenizer, folder / "model", name="tiny")
    loaded = load(folder / "model")
    context = ContextEncoder(context_config("nformer", loaded.dim, 7, layers=2, k=5, heads=2)).eval()
    save_model(context, folder / "context", kind="context", name="tiny-context")
    write_people(folder / "people", 12)
    with Gallery.create(folder / "g", loaded) as gallery:
        gallery.add(folder / "people")
        yield gallery, f"context:{folder / 'context'},depth=8"


def test_stages_that_are_models_answer_as_the_gallery_does(seeing):
    from starlette.testclient import TestClient

    gallery, context = seeing
    texts = {"cross": "cross:depth=6,weight=1", "context": context}
    app = create_app(gallery, Settings(stages=tuple(texts.values()), timeout_s=600))
    app.state.service.warm()
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/facets").json()["stages"] == ["k-reciprocal", "cross", "context"]
        plain = client.get("/v1/search", params={"text": "a red coat", "k": 12, "keep_poor": True}).json()
        for name, text in texts.items():
            asked = {"text": "a red coat", "k": 12, "keep_poor": True, "rerank": name}
            answer = client.get("/v1/search", params=asked).json()
            expected = gallery.search("a red coat", k=12, keep_poor=True, reranker=text)
            assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in expected]
            np.testing.assert_allclose(
                [hit["score"] for hit in answer["hits"]], [hit.score for hit in expected], atol=1e-5
            )
            assert [hit["id"] for hit in answer["hits"]] != [hit["id"] for hit in plain["hits"]], name
            assert (answer["query"]["rerank"], answer["seconds"]["rerank"] > 0) == (name, True)
        page = client.get("/", params={"q": "a red coat", "poor": 1, "rerank": "cross"}).text
        assert "of them to order anew by words and picture together" in page
        assert '<option value="cross" selected>words and picture together</option>' in page
        files = {"image": ("a.jpg", jpeg(person("red", "blue", seed=1)))}
        wordless = client.post("/v1/search", files=files, data={"rerank": "cross", "keep_poor": True})
        assert (wordless.status_code, "reads words" in wordless.json()["error"]["message"]) == (400, True)
        assert str(context) not in client.get("/v1/facets").text + page, "no client learns where checkpoints lie"


def test_the_pictures_that_a_stage_remembers_are_forgotten_when_they_are_deleted(seeing, tmp_path):
    whole, _ = seeing
    with Gallery.create(tmp_path / "g", whole.model) as gallery:
        gallery.add([picture.path for picture in whole])
        stage = gallery.stage("cross:depth=12")
        first = gallery.search("a red coat", k=12, keep_poor=True, reranker=stage)
        assert first[0].id in stage._maps
        gallery.delete([first[0].id])
        assert first[0].id not in stage._maps


def test_a_model_without_the_stage_is_told_before_anybody_is_served(gallery):
    pytest.importorskip("torch")
    from passerby.errors import CheckpointError

    assert isinstance(gallery.model, ColourEncoder)
    with pytest.raises((ConfigError, CheckpointError)):
        create_app(gallery, Settings(stages=("cross",))).state.service.warm()
