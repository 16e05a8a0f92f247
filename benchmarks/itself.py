"""Times a training step of the recipe `itself` beside the official one: forward, selection, mining, backward, Adam.

Both train a small CLIP from random weights at the same sizes on the same made-up batch, in single precision, each in a
process of its own set up as its training sets it up, step by step in turns. The official code lies where the user put
it (a checkout of GenAI4E/ITSELF) and is run as it is but for what a CPU lacks: half precision becomes float32, nothing
is moved, and its CLIP is built here, not downloaded. Figures are medians over the steps of processor and wall seconds;
memory is the largest resident size beyond what was there before the first step.

Run: python benchmarks/itself.py --official FOLDER  (minutes; --out elsewhere keeps the recorded figures)
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import types
from collections import defaultdict
from pathlib import Path

import torch

from evaluation import machine

RESULTS = Path(__file__).parent / "results" / "itself.json"
SIZE, PATCH, WIDTH, LAYERS, DIM, LOCAL, PEOPLE, WORDS, CONTEXT = (192, 96), 16, 192, 12, 512, 4096, 500, 5000, 77
CONTENDERS = ("official", "passerby")


class Clock:
    """Processor seconds of the stages of a step; what runs inside another stage is no part of that one."""

    def __init__(self):
        self.stages, self.within = defaultdict(float), 0.0

    def timed(self, stage, function):
        """The function, its time booked on a stage of its own."""

        def run(*given, **named):
            begun, outer = time.process_time(), self.within
            self.within = 0.0
            try:
                return function(*given, **named)
            finally:
                spent = time.process_time() - begun
                self.stages[stage] += spent - self.within
                self.within = outer + spent

        return run


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


def our_step(pairs, clock, _):
    """The total loss of our model and its parameters."""
    from passerby.losses import cid
    from passerby.models.alignment import Moment
    from passerby.models.dual_encoder import build_dual_encoder
    from passerby.models.itself import Itself
    from passerby.models.itself_options import LocalOptions
    from passerby.nn.token_selection import Selector
    from passerby.training.aligner import Aligner, PairInputs
    from passerby.training.memory import keep_freed_memory
    from passerby.training.objectives import Shape, build_objectives
    from passerby.training.tasks.alignment_recipe import ObjectivesConfig
    from passerby.training.tasks.dual_encoder import group_by_length

    keep_freed_memory()
    Selector.scores = clock.timed("selection", Selector.scores)
    cid.hardest_of_others = clock.timed("mining", cid.hardest_of_others)
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
    images, ids, persons = batch(pairs)
    groups, place = group_by_length(ids.numpy(), 4)
    inputs = PairInputs(
        images, [torch.from_numpy(one) for one in groups], torch.from_numpy(place), persons, Moment(0, 145)
    )
    return (lambda: torch.stack(aligner(inputs)).sum()), aligner


def official_step(pairs, clock, folder):
    """The total loss of the official model, its half precision made single, and its parameters."""
    torch.Tensor.half = torch.Tensor.float
    torch.Tensor.cuda = lambda tensor, *_: tensor
    sys.path.insert(0, str(folder))
    from model import build as theirs
    from model import clip_model, objectives

    def small(*_):
        model = clip_model.CLIP(DIM, SIZE, LAYERS, WIDTH, PATCH, PATCH, CONTEXT, WORDS, WIDTH, WIDTH // 64, LAYERS)
        return model, {"embed_dim": DIM}

    theirs.build_CLIP_from_openai_pretrained = small
    theirs.ITSELF.rollout = clock.timed("selection", theirs.ITSELF.rollout)
    for name in ("sample_hard_negatives", "update_labels_for_negatives", "create_sample_pairs"):
        setattr(objectives, name, clock.timed("mining", getattr(objectives, name)))
    options = types.SimpleNamespace(
        loss_names="tal+cid", pretrain_choice="", img_size=SIZE, stride_size=PATCH, only_global=False, select_ratio=0.4,
        temperature=0.02, return_all=True, topk_type="custom", average_attn_weights=True, layer_index=None, tau=0.015,
        margin=0.1,
    )  # fmt: skip
    model = theirs.ITSELF(options, PEOPLE).train()
    images, ids, persons = batch(pairs)

    def total():
        found = model({"images": images, "caption_ids": ids, "pids": persons}, current_step=1)
        return found["tal_loss"] + found["cid_loss"]

    return total, model


def child(name, pairs, folder):
    """One contender: a step for each line that comes in, answered by its figures."""
    torch.manual_seed(0)
    clock, answers = Clock(), sys.stdout
    sys.stdout = sys.stderr  # the official code prints
    total, model = (official_step if name == "official" else our_step)(pairs, clock, folder)
    # Ours in one kernel, as `AlignmentTask.parameter_groups` asks for it; the official training leaves it to torch.
    group = {"params": list(model.parameters()), **({} if name == "official" else {"fused": True})}
    optimiser = torch.optim.Adam([group], lr=1e-5, eps=1e-3, weight_decay=4e-5)
    forward, move = clock.timed("forward", total), clock.timed("optimiser", optimiser.step)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in sys.stdin:
        clock.stages.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        loss = forward()
        optimiser.zero_grad()
        clock.timed("backward", loss.backward)()
        move()
        spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        answers.write(json.dumps({**spent, "loss": loss.item(), "memory_mb": memory, "stages": clock.stages}) + "\n")
        answers.flush()


def compare(asked):
    """Steps of both in turns: name -> the answers, without the first, which pays for memory that the others find."""
    command = [sys.executable, __file__, "--official", str(asked.official), "--pairs", str(asked.pairs)]
    running = {
        name: subprocess.Popen(
            [*command, "--child", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for name in CONTENDERS
    }
    found = {name: [] for name in CONTENDERS}
    for number in range(asked.steps + 1):
        for name, process in running.items():
            process.stdin.write("step\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if number:
                found[name].append(answer)
            print(f"{name} step {number}: loss {answer['loss']:.2f}, {answer['cpu']:.2f} s", flush=True)
    for process in running.values():
        process.stdin.close()
        process.wait()
    return found


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--official", type=Path, required=True)
    reader.add_argument("--pairs", type=int, default=32)
    reader.add_argument("--steps", type=int, default=5)
    reader.add_argument("--out", type=Path, default=RESULTS)
    reader.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = reader.parse_args()
    if asked.child:
        child(asked.child, asked.pairs, asked.official)
        return
    found = compare(asked)
    record = {
        "machine": machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), "precision": "float32",
        "pairs": asked.pairs, "size": list(SIZE), "patch": PATCH, "layers": LAYERS, "width": WIDTH, "local": LOCAL,
    }  # fmt: skip
    for name, steps in found.items():
        record[name] = {
            "cpu_s": statistics.median(one["cpu"] for one in steps),
            "wall_s": statistics.median(one["wall"] for one in steps),
            "memory_mb": steps[-1]["memory_mb"],
            "stages_cpu_s": {
                stage: statistics.median(one["stages"][stage] for one in steps) for stage in steps[0]["stages"]
            },
            "steps": [{"cpu": round(one["cpu"], 3), "wall": round(one["wall"], 3)} for one in steps],
        }
    official, ours = record["official"], record["passerby"]
    record["times_as_fast"] = {key: round(official[f"{key}_s"] / ours[f"{key}_s"], 2) for key in ("cpu", "wall")}
    asked.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({name: record[name]["stages_cpu_s"] for name in CONTENDERS}, indent=2))
    memory = [f"{one['memory_mb']:.0f} MB" for one in (official, ours)]
    print(f"official / passerby: {record['times_as_fast']}; memory {', '.join(memory)}")


if __name__ == "__main__":
    main()
