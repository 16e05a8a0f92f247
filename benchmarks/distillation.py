"""What a teacher is worth: the same student on the same pictures, with and without it, over a few seeds.

Usage: .venv/bin/python benchmarks/distillation.py OUT [--seeds 3] [--people 1200] [--epochs 12] [--set KEY=VALUE ...]

The teacher is the model that ships with passerby, which has seen 20,000 other people. A street of few people is drawn
in OUT; runs lie beside it and go on where they were stopped. Reported is R@1 by identity on people whom neither student
nor teacher has seen, its mean over seeds with Student's 95 % interval, and that of the difference seed by seed. What is
finished is read and not run again. About a minute of processor time for each of the six students, on one thread.
"""

import argparse
import json
from pathlib import Path

from passerby.data.readers import open_dataset
from passerby.data.world.street import Street
from passerby.data.world.writing import write
from passerby.evaluation import evaluate, find_protocol
from passerby.models.checkpoint import read_checkpoint
from passerby.models.runtimes.choice import cpu_name, usable_cores
from passerby.retriever import load
from passerby.studies.seeds import over_seeds
from passerby.training.recipe import load_recipe
from passerby.training.run import run_recipe

RESULTS = Path(__file__).parent / "results" / "distillation.json"
_ALONE = ["objective.feature=0", "objective.interactive=0", "objective.similarity=0"]
_KINDS = {"with": [], "without": _ALONE}
_TEACHER = "street"


def changes_of(kind, seed, options):
    """What turns the recipe `distill` into that of one student, as ``--set`` takes it."""
    length = [f"optimisation.epochs={options.epochs}", f"evaluation.every={options.epochs}", "teacher.views=4"]
    return [*_KINDS[kind], f"teacher.model={_TEACHER}", f"seed={seed}", *length, *options.set]


def r1_of(kind, seed, options, dataset):
    """R@1 of one student; its run is read where it is finished."""
    folder = options.out / f"{kind}-{seed}"
    done = folder / "r1.json"
    if not done.is_file():
        if not (folder / "result.json").is_file():
            run_recipe(load_recipe("distill", changes_of(kind, seed, options)), dataset, folder)
        done.write_text(json.dumps(r1_on_test(folder, dataset)))
    return json.loads(done.read_text())


def r1_on_test(model, dataset):
    protocol = find_protocol("text-to-image", selection_split="val")
    return evaluate(load(model), dataset.split("test"), protocol).r1


def summary(values):
    mean, low, high, _ = over_seeds(values)
    return {"values": values, "mean": mean, "low": low, "high": high}


def in_words(name, found, sign=""):
    values = ", ".join(f"{value:{sign}.1f}" for value in found["values"])
    bounds = "" if found["low"] is None else f", 95 % interval {found['low']:{sign}.1f} to {found['high']:{sign}.1f}"
    return f"{name}: {found['mean']:{sign}.1f} ({values}){bounds}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--people", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    street = Street(train=options.people, val=50, test=100, size=(96, 48))
    dataset = open_dataset(f"rstpreid:{write(street, options.out / 'street')}")
    found = {kind: [r1_of(kind, seed, options, dataset) for seed in range(options.seeds)] for kind in _KINDS}
    gains = [taught - alone for taught, alone in zip(found["with"], found["without"], strict=True)]
    record = {
        "what": f"R@1 by identity, {len(dataset.split('test').captions):,} sentences, {street.test} unseen people",
        "people": options.people,
        "epochs": options.epochs,
        "changes": options.set,
        **{kind: summary(values) for kind, values in found.items()},
        "difference": summary(gains),
        "teacher": {"name": _TEACHER, "r1": r1_on_test(_TEACHER, dataset)},
        "trained_on": {
            "student": read_checkpoint(options.out / "with-0" / "checkpoint").config.trained_on,
            "teacher": load(_TEACHER).trained_on,
        },
        "machine": {"cpu": cpu_name(), "cores": usable_cores()},
    }
    options.results.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{record['what']}, per cent, of the student")
    for kind in _KINDS:
        print(in_words(f"{kind} a teacher", record[kind]))
    print(in_words("difference, seed by seed", record["difference"], "+"))


if __name__ == "__main__":
    main()
