"""Places for galleries in tests: a stand-in for a server or a real one, and an index that is made for few pictures."""

from __future__ import annotations

import os
import uuid

import pytest

from passerby.gallery import edge


def a_server(tmp_path):
    """Yield the address of a collection that is gone afterwards; a real server's where QDRANT_URL names one."""
    client = pytest.importorskip("qdrant_client")
    name = f"test-{uuid.uuid4().hex[:12]}"
    url = os.environ.get("QDRANT_URL")
    yield f"{url}/{name}" if url else f":memory:{name}"
    if url:
        client.QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY")).delete_collection(name)
    else:
        from passerby.gallery.remote import _MEMORY

        _MEMORY[""].delete_collection(name)


def small_index(monkeypatch):
    """Let the embedded engine make its index for a handful of rows already, and use it."""
    monkeypatch.setattr(edge, "_INDEX_FROM", 10)
    monkeypatch.setattr(edge, "_LONGEST_TAIL", 3)
    monkeypatch.setattr(edge, "_FEW", 2)
