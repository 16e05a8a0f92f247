"""People to search in: vectors, metadata and thumbnails, bound to the model that made them.

`Gallery` is the only door; folders and servers behind it are chosen by the address a gallery is created with.
"""

from passerby.gallery.filters import Filter
from passerby.gallery.gallery import Gallery
from passerby.gallery.query import Query
from passerby.gallery.records import (
    AddReport,
    Candidates,
    Encoder,
    GalleryInfo,
    Hit,
    Hits,
    Picture,
    Progress,
    Reranker,
    Sighting,
)
from passerby.gallery.where import parse_where

__all__ = [
    "AddReport",
    "Candidates",
    "Encoder",
    "Filter",
    "Gallery",
    "GalleryInfo",
    "Hit",
    "Hits",
    "Picture",
    "Progress",
    "Query",
    "Reranker",
    "Sighting",
    "parse_where",
]
