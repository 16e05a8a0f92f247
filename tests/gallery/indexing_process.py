"""A process that indexes a folder slowly and says what was acknowledged, to be killed at any moment."""

from __future__ import annotations

import sys
import time

from colour_encoder import ColourEncoder
from passerby.gallery import Gallery, indexing


class SlowEncoder(ColourEncoder):
    def encode_images(self, images):
        time.sleep(0.01)
        return super().encode_images(images)


def main(address, folder, exists, erase):
    indexing._BATCH = 4
    gallery = Gallery.open(address, SlowEncoder()) if exists == "1" else Gallery.create(address, SlowEncoder())

    def acknowledge(at):
        sys.stdout.write(f"{at.done} {len(gallery)}\n")
        sys.stdout.flush()

    with gallery:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        gallery.add(folder, acknowledge)
        if erase == "1":
            for picture in list(gallery)[::3]:
                gallery.delete([picture.id])
                sys.stdout.write(f"erased {picture.id}\n")
                sys.stdout.flush()
        sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
