"""What a teacher is worth: the same student on the same pictures, with and without it, over a few seeds.

Usage: .venv/bin/python benchmarks/distillation.py OUT [--seeds 3] [--people 1500] [--set KEY=VALUE ...]

A street is drawn in OUT; runs lie beside it and go on where they were stopped. Reported is R@1 by identity on people
whom neither student nor teacher has seen, its mean over seeds with Student's 95 % interval, and that of the difference
seed by seed. What is finished is read and not run again.
"""

import argparse
import json
from pathlib import Path

from passerby.data.readers import open_dataset
from passerby.data.world.street import Street
from passerby.data.world.writing import write
from passerby.evaluation import evaluate, find_protocol
from passerby.retriever import load
from passerby.studies.seeds import over_seeds
from passerby.training.recipe import load_recipe
from passerby.training.run import run_recipe

_ALONE = ["objective.feature=0", "objective.interactive=0", "objective.similarity=0"]
_KINDS = {"with": [], "without": _ALONE}


def r1_of(kind, seed, options, dataset):
    """R@1 of one student; its run is read where it is finished."""
    folder = options.out / f"{kind}-{seed}"
    done = folder / "r1.json"
    if not done.is_file():
        if not (folder / "result.json").is_file():
            run_recipe(load_recipe("distill", [*_KINDS[kind], f"seed={seed}", *options.set]), dataset, folder)
        report = evaluate(load(folder), dataset.split("test"), find_protocol("text-to-image", selection_split="val"))
        done.write_text(json.dumps(report.r1))
    return json.loads(done.read_text())


def in_words(name, values, sign=""):
    mean, low, high, _ = over_seeds(values)
    bounds = "" if low is None else f", 95 % interval {low:{sign}.1f} to {high:{sign}.1f}"
    return f"{name}: {mean:{sign}.1f} ({', '.join(f'{value:{sign}.1f}' for value in values)}){bounds}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    street = Street(train=options.people, val=50, test=100, size=(96, 48))
    dataset = open_dataset(f"rstpreid:{write(street, options.out / 'street')}")
    found = {kind: [r1_of(kind, seed, options, dataset) for seed in range(options.seeds)] for kind in _KINDS}
    gains = [taught - alone for taught, alone in zip(found["with"], found["without"], strict=True)]
    print("R@1 by identity, per cent, of the student")
    for kind, values in found.items():
        print(in_words(f"{kind} a teacher", values))
    print(in_words("difference, seed by seed", gains, "+"))


if __name__ == "__main__":
    main()
