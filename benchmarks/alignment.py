"""Times a training step of the recipe tal-cid beside IRRA's, stage by stage, with towers of the same size.

Both train the same small CLIP in float32 on the same JPEG files, captions, ids of words, and batch: IRRA's own data
set, model and losses (sdm+id+mlm) on one side, our task, cache and losses on the other; our recipe irra stands between
them. IRRA casts weights to half precision at the end of its build, which no processor multiplies, so that one call is
left out, and its classifier takes float32. Each contender runs in a process of its own, in turn; figures are medians of
processor time, memory is the largest resident size beyond what was there before the first step. Run:
python benchmarks/alignment.py --peer PATH, a checkout of github.com/anosorae/IRRA  (minutes; --quick writes nothing)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from training_step import machine, make_people

RESULTS = Path(__file__).parent / "results" / "alignment.json"
STAGES = ("loader", "forward", "backward", "optimiser")
SIZE, BATCH, PEOPLE, WORDS, LENGTH = (192, 64), 16, 128, 49408, 77
VISION = {"layers": 6, "width": 192, "patch": 16}
TEXT = {"layers": 6, "width": 192, "heads": 3}
DIM = 192
CONTENDERS = ("peer", "irra", "tal-cid")


class Clock:
    """Processor time of the stages of a step."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.at = time.process_time()

    def lap(self, stage: str) -> None:
        """Add what has passed since the last call to a stage."""
        now = time.process_time()
        self.seen[stage].append(now - self.at)
        self.at = now


def import_peer(checkout: Path):
    """The peer's modules; two packages that only print its tables and settings are replaced by nothing."""
    sys.path.insert(0, str(checkout))
    for name, attribute in (("prettytable", "PrettyTable"), ("easydict", "EasyDict")):
        sys.modules.setdefault(name, types.ModuleType(name))
        setattr(sys.modules[name], attribute, dict)
    import model.build as build
    import model.clip_model as clip_model
    from datasets.bases import ImageTextMLMDataset
    from datasets.build import build_transforms

    return build, clip_model, ImageTextMLMDataset, build_transforms


def peer_steps(dataset, checkout: Path):
    """IRRA's loader, model and losses around a small CLIP of its own."""
    build, clip_model, people_class, build_transforms = import_peer(checkout)
    clip = clip_model.CLIP(
        DIM, SIZE, VISION["layers"], VISION["width"], VISION["patch"], VISION["patch"],
        LENGTH, WORDS, TEXT["width"], TEXT["heads"], TEXT["layers"],
    )  # fmt: skip
    build.build_CLIP_from_openai_pretrained = lambda *_: (clip, {"embed_dim": DIM})
    settings = types.SimpleNamespace(
        loss_names="sdm+id+mlm", pretrain_choice="", img_size=SIZE, stride_size=VISION["patch"], temperature=0.02,
        cmt_depth=4, vocab_size=WORDS, id_loss_weight=1.0, mlm_loss_weight=1.0,
    )  # fmt: skip
    network = build.IRRA(settings, PEOPLE).float()
    network.classifier.forward = lambda rows: torch.nn.Linear.forward(network.classifier, rows.float())
    split = dataset.split("train")
    rows = [
        (image.person_id, index, str(image.path), caption.text)
        for index, (image, caption) in enumerate(zip(split.images, split.captions, strict=True))
    ]
    people = people_class(rows, build_transforms(SIZE, aug=True), LENGTH)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-5, eps=1e-3, weight_decay=4e-5)
    order = np.random.default_rng(0).permutation(len(rows))
    network.train()

    def step(number: int, clock: Clock) -> None:
        chosen = order[np.arange(number * BATCH, (number + 1) * BATCH) % len(order)]
        batch = torch.utils.data.default_collate([people[int(index)] for index in chosen])
        clock.lap("loader")
        found = network(batch)
        loss = sum(value for name, value in found.items() if "loss" in name)
        clock.lap("forward")
        optimiser.zero_grad()
        loss.backward()
        clock.lap("backward")
        optimiser.step()
        clock.lap("optimiser")

    return step


def our_steps(dataset, name: str, checkout: Path):
    """Our task with a shipped recipe's losses and changes around towers of the same size."""
    from passerby.training.captions import Vocabulary
    from passerby.training.optimiser import build_optimiser
    from passerby.training.recipe import load_recipe, parse_recipe
    from passerby.training.tasks.alignment import AlignmentTask

    _, _, people_class, _ = import_peer(checkout)
    tree = load_recipe(name).model_dump()
    tree["model"] = {
        "image": {"name": "clip", "options": {
            "patch": VISION["patch"], "channels": VISION["width"], "layers": VISION["layers"], "heads": 3}},
        "text": {"name": "clip", "options": {
            "vocabulary_size": WORDS, "channels": TEXT["width"], "layers": TEXT["layers"],
            "heads": TEXT["heads"]}},
        "tokenizer": {"vocabulary": 512, "context_length": LENGTH},
        "embedding_dim": DIM,
    }  # fmt: skip
    tree["data"] |= {"image_size": SIZE, "sampler": "pairs"}
    tree["optimisation"]["batch_size"] = BATCH
    if "mlm" in tree["objectives"] and tree["objectives"]["mlm"]:
        tree["objectives"]["mlm"]["heads"] = 3
    recipe = parse_recipe(tree)
    # The same ids of words as the peer reads, from its own tokenizer.
    read = people_class([], None, LENGTH)
    from datasets.bases import tokenize

    ids = torch.stack([tokenize(one.text, read.tokenizer, LENGTH) for one in dataset.split("train").captions])
    words = torch.zeros(WORDS, dtype=torch.bool)
    words[1 : WORDS - 3] = True
    vocabulary = Vocabulary(words.nonzero()[:, 0], words, WORDS - 3)
    from passerby.training.tasks import alignment

    prepare_words(alignment, vocabulary)
    task = AlignmentTask(recipe, dataset)
    task.train = replace(task.train, token_ids=ids.numpy())
    optimiser = build_optimiser(task.parameter_groups(), recipe.optimisation)
    plan, generator = task.plan(0), torch.Generator().manual_seed(0)
    task.model.train()

    def step(number: int, clock: Clock) -> None:
        batch = task.fetch(plan[number % len(plan)])
        clock.lap("loader")
        loss = sum(task.losses(task.model, batch, generator, torch.device("cpu")).values())
        clock.lap("forward")
        optimiser.zero_grad()
        loss.backward()
        clock.lap("backward")
        optimiser.step()
        clock.lap("optimiser")

    return step


def prepare_words(alignment, vocabulary) -> None:
    """Give our task the peer's vocabulary: its size for the heads, and which of its ids are words."""
    alignment.vocabulary_of = lambda _: vocabulary
    shape = alignment.Shape
    alignment.Shape = lambda widths, people, _: shape(widths, people, WORDS)


def child(name: str, checkout: Path, root: Path, steps: int) -> None:
    """One contender: a warm-up step, then timed ones; prints JSON."""
    torch.manual_seed(0)
    dataset = make_people(root / "people", PEOPLE)
    step = peer_steps(dataset, checkout) if name == "peer" else our_steps(dataset, name, checkout)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(0, Clock())
    clock = Clock()
    for number in range(1, steps + 1):
        clock.at = time.process_time()
        step(number, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({"stages": clock.seen, "memory_mb": (peak - before) / 1024, "peak_mb": peak / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of anosorae/IRRA")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of one step, nothing written")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, steps = (1, 1) if arguments.quick else (arguments.rounds, arguments.steps)
    if arguments.child:
        child(arguments.child[0], arguments.peer, Path(arguments.child[1]), steps)
        return
    found: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "people").mkdir()
        environment = {**os.environ, "PASSERBY_CACHE": f"{place}/cache"}
        command = [sys.executable, __file__, "--peer", str(arguments.peer), "--steps", str(steps)]
        command += ["--quick"] if arguments.quick else []
        for _ in range(rounds):
            for name in CONTENDERS:
                done = subprocess.run(
                    [*command, "--child", name, place], capture_output=True, text=True, check=True, env=environment
                )
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    report: dict = {"machine": machine(), "image_size": list(SIZE), "batch": BATCH}
    report["steps"] = rounds * steps
    for name, runs in found.items():
        stages = {stage: statistics.median(value for run in runs for value in run["stages"][stage]) for stage in STAGES}
        report[name] = {
            **{f"{stage}_cpu_ms": round(1000 * value, 1) for stage, value in stages.items()},
            "step_cpu_ms": round(1000 * sum(stages.values()), 1),
            "memory_mb": round(statistics.median(run["memory_mb"] for run in runs)),
            "peak_mb": round(statistics.median(run["peak_mb"] for run in runs)),
        }
    slow = report["peer"]["step_cpu_ms"]
    report["times_as_fast"] = {name: round(slow / report[name]["step_cpu_ms"], 2) for name in CONTENDERS[1:]}
    report["name_of_peer"] = "anosorae/IRRA"
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    if not arguments.quick:
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
