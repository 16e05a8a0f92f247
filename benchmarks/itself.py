"""Times a training step of the recipe `itself` beside the official one: forward, mining, losses, backward, Adam.

Both train a small CLIP from random weights at the same sizes on the same made-up batch, in one process after the other,
steps taken in turns. The official code lies where the user put it (a checkout of GenAI4E/ITSELF) and is run as it is
but for what a CPU lacks: half precision becomes float32, nothing is moved, and its CLIP is built here, not downloaded.
Processor seconds are reported, the median over the steps, because a shared machine makes wall time meaningless.

Run: python benchmarks/itself.py --official FOLDER  (minutes)
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import types
from pathlib import Path

import torch

from evaluation import machine
from passerby.models.alignment import Moment
from passerby.models.dual_encoder import build_dual_encoder
from passerby.models.itself import Itself
from passerby.models.itself_options import LocalOptions
from passerby.training.aligner import Aligner, PairInputs
from passerby.training.objectives import Shape, build_objectives
from passerby.training.tasks.alignment_recipe import ObjectivesConfig
from passerby.training.tasks.dual_encoder import group_by_length

RESULTS = Path(__file__).parent / "results" / "itself.json"
SIZE, PATCH, WIDTH, LAYERS, DIM, LOCAL, PEOPLE, WORDS, CONTEXT = (192, 96), 16, 192, 12, 512, 4096, 500, 5000, 77


def batch(pairs):
    """Pictures, sentences of 15 to 45 words at full length, and two pairs of each person."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(pairs, 3, *SIZE, generator=generator)
    ids = torch.zeros(pairs, CONTEXT, dtype=torch.int64)
    for row in range(pairs):
        words = int(torch.randint(15, 46, (), generator=generator))
        ids[row, 0] = WORDS - 2
        ids[row, 1 : words + 1] = torch.randint(1, WORDS - 3, (words,), generator=generator)
        ids[row, words + 1] = WORDS - 1
    return images, ids, torch.arange(pairs) // 2 * 3


def our_step(pairs):
    """A step of ours, and the model's parameter count."""
    torch.manual_seed(0)
    shape = {"channels": WIDTH, "layers": LAYERS, "heads": WIDTH // 64}
    encoder = build_dual_encoder(
        {
            "image": {"name": "clip", "options": {**shape, "image_size": list(SIZE), "patch": PATCH}},
            "text": {
                "name": "clip", "options": {**shape, "vocabulary_size": WORDS, "context_length": CONTEXT},
            },
            "embedding_dim": DIM,
        }
    )  # fmt: skip
    model = Itself(encoder, LocalOptions(LOCAL, schedule="step"))
    widths = {"global": DIM, "local": LOCAL}
    losses = build_objectives(ObjectivesConfig.model_validate({"tal": {}, "cid": {}}), Shape(widths, PEOPLE, WORDS))
    aligner = Aligner(model, losses).train()
    optimiser = torch.optim.Adam(aligner.parameters(), lr=1e-5, eps=1e-3, weight_decay=4e-5)
    images, ids, persons = batch(pairs)
    groups, place = group_by_length(ids.numpy(), 4)
    inputs = PairInputs(
        images, [torch.from_numpy(one) for one in groups], torch.from_numpy(place), persons, Moment(0, 145)
    )

    def step():
        total = torch.stack(aligner(inputs)).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        return total.item()

    return step


def official_step(pairs, folder):
    """A step of the official code, its half precision made single."""
    torch.Tensor.half = torch.Tensor.float
    torch.Tensor.cuda = lambda tensor, *_: tensor
    sys.path.insert(0, str(folder))
    from model import build as theirs
    from model import clip_model

    torch.manual_seed(0)

    def small(*_):
        model = clip_model.CLIP(DIM, SIZE, LAYERS, WIDTH, PATCH, PATCH, CONTEXT, WORDS, WIDTH, WIDTH // 64, LAYERS)
        return model, {"embed_dim": DIM}

    theirs.build_CLIP_from_openai_pretrained = small
    options = types.SimpleNamespace(
        loss_names="tal+cid", pretrain_choice="", img_size=SIZE, stride_size=PATCH, only_global=False, select_ratio=0.4,
        temperature=0.02, return_all=True, topk_type="custom", average_attn_weights=True, layer_index=None, tau=0.015,
        margin=0.1,
    )  # fmt: skip
    model = theirs.ITSELF(options, PEOPLE).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-5, eps=1e-3, weight_decay=4e-5)
    images, ids, persons = batch(pairs)

    def step():
        found = model({"images": images, "caption_ids": ids, "pids": persons}, current_step=1)
        total = found["tal_loss"] + found["cid_loss"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        return total.item()

    return step


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--official", type=Path, required=True)
    reader.add_argument("--pairs", type=int, default=32)
    reader.add_argument("--steps", type=int, default=3)
    asked = reader.parse_args()
    steps = {"official": official_step(asked.pairs, asked.official), "passerby": our_step(asked.pairs)}
    seconds = {name: [] for name in steps}
    for number in range(asked.steps + 1):
        for name, step in steps.items():
            begun = time.process_time()
            loss = step()
            if number:  # the first pays for memory that the others find
                seconds[name].append(time.process_time() - begun)
            print(f"{name} step {number}: loss {loss:.2f}, {time.process_time() - begun:.2f} s", flush=True)
    found = {name: statistics.median(values) for name, values in seconds.items()}
    record = {
        "machine": machine(), "pairs": asked.pairs, "size": list(SIZE), "layers": LAYERS, "width": WIDTH,
        "local": LOCAL, "cpu_seconds": seconds, "median": found, "ratio": found["official"] / found["passerby"],
    }  # fmt: skip
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    print(f"official / passerby: {record['ratio']:.2f}")


if __name__ == "__main__":
    main()
