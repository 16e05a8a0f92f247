"""passerby finds people in pictures: by a sentence, by a photo, or by both.

    import passerby

    model = passerby.load("street")                       # a folder, "hf:org/name@rev" or a shipped model's name
    gallery = passerby.Gallery.create("people/", model)
    gallery.add("crops/")
    for hit in gallery.search("a man with a green backpack", k=5):
        print(hit.score, hit.path, hit.camera)

Importing the package imports nothing heavy; the names below are fetched when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from passerby.gallery import Gallery, Hit
    from passerby.retriever import Retriever, load

__version__ = "0.1.0"
__all__ = ["Gallery", "Hit", "Retriever", "__version__", "load"]

_HOMES = {
    "Gallery": "passerby.gallery",
    "Hit": "passerby.gallery",
    "Retriever": "passerby.retriever",
    "load": "passerby.retriever",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'passerby' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
