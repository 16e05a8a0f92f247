"""What nobody would think of asking: requests made up from the OpenAPI document break nothing, on any route."""

from __future__ import annotations

import pytest

pytest.importorskip("schemathesis")

from made_up import fuzz, operations_of

from passerby.serve import Settings, create_app

TOKEN = "correct-horse-battery-staple"
#: Right and wrong requests for each operation; benchmarks/fuzzing.py sends hundreds.
EXAMPLES = 2


@pytest.fixture
def guarded(gallery, tmp_path):
    from starlette.testclient import TestClient

    app = create_app(gallery, Settings(token=TOKEN, uploads=tmp_path / "uploads", may_delete=True, timeout_s=600))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def test_no_request_made_up_from_the_document_breaks_anything(guarded, gallery):
    right = {"Authorization": f"Bearer {TOKEN}"}
    operations = operations_of(guarded, right)
    statuses = fuzz(guarded, operations, EXAMPLES, right, known=next(iter(gallery)).id)
    asked = {route for route, _ in statuses}
    assert {"GET /", "GET /v1/search", "POST /v1/search", "POST /v1/pictures", "DELETE /v1/pictures"} <= asked
    assert len(asked) == len(operations), "every operation was asked"
    for name in ("", "/track", "/thumbnail", "/crop", "/similar"):
        assert statuses[f"GET /v1/pictures/{{name}}{name}", 200] > 0, "some of what was made up is answered"


def test_without_the_token_nothing_made_up_gets_in(guarded):
    operations = operations_of(guarded, {"Authorization": f"Bearer {TOKEN}"})
    statuses = fuzz(guarded, operations, 1, {"Authorization": "Bearer wrong"})
    inside = {route for route, status in statuses if status not in (401, 403, 411, 413, 421)}
    assert inside == {"GET /health", "GET /login", "POST /login", *(route for route in inside if "/static/" in route)}


def test_a_service_that_breaks_is_found_out(guarded, gallery, monkeypatch):
    right = {"Authorization": f"Bearer {TOKEN}"}
    operations = [each for each in operations_of(guarded, right) if each.path == "/v1/pictures/{name}/track"]
    monkeypatch.setattr(gallery, "picture", lambda name: 1 / 0)
    with pytest.raises(BaseException, match="the service failed"):
        fuzz(guarded, operations, EXAMPLES, right)
