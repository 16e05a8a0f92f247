"""One process of several that index a folder together, as `torchrun` starts them; slow, so that it can be killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from colour_encoder import ColourEncoder
from passerby.gallery import indexing, shards
from passerby.gallery.shards import index_together, together
from passerby.gallery.sources import find_pictures


class SlowEncoder(ColourEncoder):
    def encode_images(self, images):
        time.sleep(0.02)
        return super().encode_images(images)


def main(address, folder):
    indexing._BATCH = 4
    shards._PATIENCE_S = 60
    model = SlowEncoder()

    def progress(at):
        sys.stdout.write(f"{at.done}\n")
        sys.stdout.flush()

    report = index_together(address, model, find_pictures(Path(folder)), together(os.environ), progress)
    sys.stdout.write(f"done {report.added} {report.already_there} {len(report.unreadable)} {model.encoded}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
