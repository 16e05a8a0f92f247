"""Serves a gallery of coloured people, as a process that can be killed: serving_process.py GALLERY."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from colour_encoder import ColourEncoder
from passerby.gallery import Gallery
from passerby.serve import Settings
from passerby.serve.running import run
from passerby.serve.settings import token_from_environment


def ready(address):
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


with Gallery.open(sys.argv[1], ColourEncoder()) as gallery:
    run(gallery, Settings(port=0, token=token_from_environment()), ready)
