"""One training run of the miniature, in a process that test_run.py can kill: python dual_encoder_run.py DATA OUT."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent))

import coloured_people

from passerby.data.readers import open_dataset
from passerby.training import run
from passerby.training.recipe import parse_recipe
from passerby.training.tasks.dual_encoder import DualEncoderTask


class Slow(DualEncoderTask):
    """Takes its time over each step, so that it can be met in the middle."""

    def fetch(self, rows):
        time.sleep(0.05)
        return super().fetch(rows)


if __name__ == "__main__":
    run.find_family = lambda name: SimpleNamespace(task=lambda: Slow)
    recipe = parse_recipe(coloured_people.recipe())
    run.run_recipe(recipe, open_dataset(sys.argv[1]), Path(sys.argv[2]), save_every_s=0.0)
