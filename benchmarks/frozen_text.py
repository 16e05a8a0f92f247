"""Epochs with remembered vectors of a frozen text tower beside epochs that compute them, in the same process.

Usage: .venv/bin/python benchmarks/frozen_text.py OUT [--people 150] [--epochs 2] [--layers 12]

The text tower is CLIP's of a ViT-B (12 layers, 512 wide) with random weights, in a checkpoint of ours; the picture
tower is MobileNetV3-Small at 128x64. Both kinds of epoch read the same batches, captions in groups of like length.
Reported are processor seconds of an epoch (medians) and the largest difference of the losses.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from passerby.data.readers import open_dataset
from passerby.data.world.street import Street
from passerby.data.world.writing import write
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.restore import save_dual_encoder
from passerby.models.tokenizer import Tokenizer
from passerby.training.recipe import load_recipe
from passerby.training.tasks.dual_encoder import PairBatch, group_by_length
from passerby.training.tasks.frozen_text import FrozenTextTask


class Recomputing(FrozenTextTask):
    """Asks the tower again for each batch."""

    def fetch(self, rows):
        """Token ids, encoded at once, as an already tokenised plain loop would."""
        if not hasattr(self, "ids"):
            self.ids = self.tokenizer.encode([caption.text for caption in self.dataset.split("train").captions])
        groups, place = group_by_length(self.ids[rows[:, 1:].T.reshape(-1)], 4)
        with torch.no_grad():
            vectors = tuple(self.text_tower(torch.from_numpy(group)) for group in groups)
        persons = torch.from_numpy(self.train.pairs.person_of[rows[:, 0]])
        return PairBatch(torch.from_numpy(self.train.pixels[rows[:, 0]]), vectors, torch.from_numpy(place), persons)


def write_source(folder, captions, layers):
    """A checkpoint whose text tower is as large as CLIP's."""
    tokenizer = Tokenizer.train(captions, 1000, 77)
    text = {"name": "clip", "options": {"layers": layers, "vocabulary_size": tokenizer.vocabulary_size}}
    image = {"name": "stripe_conv", "options": {"channels": 8, "image_size": [32, 16]}}
    torch.manual_seed(0)
    model = build_dual_encoder({"image": image, "text": text, "embedding_dim": 64}, context_length=77)
    save_dual_encoder(model, tokenizer, folder, name="frozen")


def epochs(kind, recipe, dataset, count):
    """Processor seconds of each epoch, and every loss."""
    torch.manual_seed(0)
    task = kind(recipe, dataset)
    optimiser = torch.optim.AdamW(task.parameter_groups(), lr=3e-4)
    model, spent, losses = task.model.train(), [], []
    for epoch in range(count):
        started = time.process_time()
        for step, rows in enumerate(task.plan(epoch)):
            generator = torch.Generator().manual_seed(1000 * epoch + step)
            loss = sum(task.losses(model, task.fetch(rows), generator, torch.device("cpu")).values())
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(float(loss.detach()))
        spent.append(time.process_time() - started)
    return spent, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--layers", type=int, default=12)
    options = parser.parse_args()
    os.environ["PASSERBY_CACHE"] = str(options.out / "cache")
    dataset = open_dataset(f"rstpreid:{write(Street(train=options.people, val=8, test=8), options.out / 'street')}")
    source = options.out / "source"
    write_source(source, [caption.text for caption in dataset.split("train").captions], options.layers)
    recipe = load_recipe(
        "small-encoder-street",
        [f"model.text.name=passerby:{source}", "model.tokenizer.context_length=77", "optimisation.batch_size=32",
         "data.sampler=identities", "data.captions=1"],
    )  # fmt: skip
    found = {kind.__name__: epochs(kind, recipe, dataset, options.epochs) for kind in (Recomputing, FrozenTextTask)}
    (slow, first), (fast, second) = found["Recomputing"], found["FrozenTextTask"]
    result = {
        "recomputed_cpu_s": statistics.median(slow),
        "remembered_cpu_s": statistics.median(fast),
        "ratio": statistics.median(slow) / statistics.median(fast),
        "largest_loss_difference": float(np.abs(np.subtract(first, second)).max()),
        "load": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
