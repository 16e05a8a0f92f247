"""A fingerprint of a split: two reports with the same one were made of the same pictures, labels and sentences.

Everything that a record says goes into it, and the size of each picture file; the pixels do not, because reading them
again would take as long as encoding them. MSMT17 with masked faces, a re-encoded copy or one relabelled person
gives another fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from passerby.data.records import Split


@lru_cache(maxsize=4)  # several reports are made of one split, and its files may lie on a slow disk
def data_fingerprint(split: Split) -> str:
    """SHA-256 over the records of a split and the sizes of its files, in the split's order.

    Args:
        split: the pictures and sentences; a picture that is not there has no size, which is no error here.
    """
    digest = hashlib.sha256(json.dumps([split.name, split.query_ids]).encode())
    for image in split.images:
        said = [image.image_id, image.person_id, image.camera_id, image.time, image.junk, _size(image.path)]
        digest.update(json.dumps(said).encode())
    for caption in split.captions:
        digest.update(json.dumps([caption.text, caption.image_id, caption.person_id]).encode())
    return digest.hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
