"""People to search in: vectors, metadata and thumbnails on disk, bound to the model that made them.

`Gallery` is the only door; the engines behind it are chosen by the address a gallery is created with.
"""

from passerby.gallery.gallery import Gallery
from passerby.gallery.records import AddReport, Encoder, GalleryInfo, Hit, Hits, Picture, Progress

__all__ = ["AddReport", "Encoder", "Gallery", "GalleryInfo", "Hit", "Hits", "Picture", "Progress"]
