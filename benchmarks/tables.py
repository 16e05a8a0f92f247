"""Writes the measured figures into README.md and docs/: each number there comes from a JSON file of this repository.

What stands between `<!-- figures:NAME -->` and `<!-- end figures -->` is replaced by the table of that name, made from
docs/results/ (demos and the shipped model) and benchmarks/results/ (speed). A table whose files are not there yet says
so. Run: python benchmarks/tables.py  (--check changes nothing and fails where a page is out of date)
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selection_tables import itself_step, selection_curves, selection_grounding, selection_study
from study_tables import attention_study, context_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
#: Blocks that a person writes; they are left as they are.
BY_HAND = frozenset({"not-reached"})
MISSING = "*Not recorded yet.*"
#: Shares of fewer questions than this say nothing.
_FEWEST_QUESTIONS = 20

_BLOCK = re.compile(r"(<!-- figures:(?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end figures -->)", re.DOTALL)
_FIGURES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP", "minp": "mINP"}
_ROWS = {
    "ceiling": "ceiling: an all-knowing reader of the same words",
    "model": "**passerby, a sentence finds a person**",
    "colour_baseline": "colour words and colour histograms",
    "chance": "chance",
    "image_to_image": "the same model, asked with a picture",
}


# -- what was found -------------------------------------------------------------------------------------------------


def demo(size: str) -> str:
    """Figures of a demo, mean over the seeds that were run."""
    reports = [read(path) for path in sorted((ROOT / "docs" / "results").glob(f"demo-{size}-seed*.json"))]
    if not reports:
        return MISSING
    counts = reports[0]["counts"]
    about = (
        f"{counts['queries']:,} sentences, {counts['gallery_images']:,} pictures of {counts['test_identities']:,} "
        f"people who are not among the {counts['train_identities']:,} people of the training set"
    )
    return over_seeds(reports, about)


def demo_time(size: str) -> str:
    """Where the time of the demo of seed 0 went, which had the machine to itself."""
    path = ROOT / "docs" / "results" / f"demo-{size}-seed0.json"
    if not path.is_file():
        return MISSING
    report = read(path)
    lines = ["| stage | wall s | processor s |", "|---|---:|---:|"]
    for stage, spent in report["seconds"].items():
        name = f"**{stage}**" if stage == "total" else stage
        lines.append(f"| {name} | {spent['wall']:.1f} | {spent['cpu']:.1f} |")
    others = sorted(path.parent.glob(f"demo-{size}-seed*.json"))
    totals = ", ".join(f"{read(other)['seconds']['total']['wall']:.0f}" for other in others)
    each = f" The whole of each seed: {totals} s." if len(others) > 1 else ""
    about = f"Of seed 0, with nothing else running.{each} {machine(report['machine'])}"
    return "\n".join(lines) + f"\n\n{about}"


def demo_among_many() -> str:
    """Figures of the medium demo's models on streets with four times as many people."""
    path = ROOT / "docs" / "results" / "demo-medium-1000.json"
    if not path.is_file():
        return MISSING
    tests = read(path)["tests"]
    first = tests[0]
    about = f"{first['queries']:,} sentences, {first['images']:,} pictures of {first['identities']:,} unseen people"
    return over_seeds(tests, about)


def shipped() -> str:
    """Figures of the shipped model on each size of street, mean over the seeds that were drawn."""
    path = ROOT / "docs" / "results" / "shipped.json"
    if not path.is_file():
        return MISSING
    streets: dict[int, list[dict[str, Any]]] = {}
    for test in read(path)["tests"]:
        streets.setdefault(test["identities"], []).append(test)
    return "\n\n".join(
        over_seeds(
            tests, f"{tests[0]['queries']:,} sentences, {tests[0]['images']:,} pictures of {people:,} unseen people"
        )
        for people, tests in streets.items()
    )


def headline() -> str:
    """The shipped model and the medium demo's beside ceiling, colours and chance, among 250 people and among 1,000."""
    folder = ROOT / "docs" / "results"
    demos = [read(path) for path in sorted(folder.glob("demo-medium-seed*.json"))]
    if not demos or not all((folder / name).is_file() for name in ("shipped.json", "demo-medium-1000.json")):
        return MISSING
    tests = read(folder / "shipped.json")["tests"]
    few, many = ([test for test in tests if test["identities"] == people] for people in (250, 1000))
    many_demo = read(folder / "demo-medium-1000.json")["tests"]
    seconds = mean([demo["seconds"]["total"]["wall"] for demo in demos])
    trained = f"**the model that `make demo` trains, in {seconds:.0f} s from drawing to report**"
    rows = {
        _ROWS["ceiling"]: (few, many, "ceiling"),
        "**the model that ships with passerby**": (few, many, "model"),
        trained: (demos, many_demo, "model"),
        _ROWS["colour_baseline"]: (few, many, "colour_baseline"),
        _ROWS["chance"]: (few, many, "chance"),
    }
    lines = ["| | R@1 among 250 people | mAP | R@1 among 1,000 people | mAP |", "|---|---:|---:|---:|---:|"]
    for label, (small, large, row) in rows.items():
        cells = [decimal(mean([one[row][key] for one in some])) for some in (small, large) for key in ("r1", "map")]
        strong = "**" if label.startswith("**") else ""
        lines.append(f"| {label} | {' | '.join(f'{strong}{cell}{strong}' for cell in cells)} |")
    low, high = (mean([one["model"][f"r1_{edge}"] for one in few]) for edge in ("low", "high"))
    each = ", ".join(f"{demo['model']['r1']:.1f}" for demo in demos)
    about = (
        f"Per cent; {few[0]['queries']} sentences, four pictures of each person; means of {len(few)} seeds. "
        f"A 95 % interval of one seed's R@1 reaches from {low:.1f} to {high:.1f} (first column, shipped model); "
        f"the demo's seeds came to {each}. {machine(demos[0]['machine'])}"
    )
    return "\n".join(lines) + f"\n\n{about}"


def over_seeds(reports: Sequence[dict[str, Any]], about: str) -> str:
    """Retrieval figures as the mean over reports that differ in their seed, and what must be known beside them."""
    rows = {
        row: {key: mean([report[row].get(key) for report in reports]) for key in _FIGURES}
        for row in _ROWS
        if all(row in report for report in reports)
    }
    seeds = f"seed {reports[0]['seed']}"
    if len(reports) > 1:
        each = ", ".join(f"{report['model']['r1']:.1f}" for report in reports)
        seeds = f"mean of {len(reports)} seeds, R@1 of each {each}"
    low, high = (mean([report["model"].get(f"r1_{edge}") for report in reports]) for edge in ("low", "high"))
    interval = (
        "" if low is None or high is None else f" The 95 % interval of R@1 of one seed is {low:.1f} to {high:.1f}"
    )
    interval += " on average." if interval and len(reports) > 1 else "." if interval else ""
    return f"{retrieval(rows)}\n\nPer cent; {seeds}. {about[0].upper()}{about[1:]}.{interval}"


def retrieval(rows: dict[str, dict[str, Any]]) -> str:
    """Retrieval figures as a Markdown table."""
    lines = [f"| | {' | '.join(_FIGURES.values())} |", f"|---|{'---:|' * len(_FIGURES)}"]
    for key, label in _ROWS.items():
        if key in rows:
            strong = "**" if label.startswith("**") else ""
            cells = [f"{strong}{decimal(rows[key].get(name))}{strong}" for name in _FIGURES]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


# -- how fast -------------------------------------------------------------------------------------------------------


def speed() -> str:
    """The speeds that a user meets, one row each."""
    inference, step = benchmark("inference"), benchmark("training_step")
    render = benchmark("render")
    rows = []
    if inference:
        engine, best = max(inference["figures"].items(), key=lambda item: item[1]["images_per_s"])
        threads = "one thread" if inference["machine"]["threads"] == 1 else f"{inference['machine']['threads']} threads"
        rows += [
            (f"pictures encoded, {threads} ({engine})", f"{best['images_per_s']:,.0f} a second"),
            (f"a sentence encoded, {threads} ({engine})", f"{best['text_query_ms']:.2f} ms"),
            ("from starting a process to its first sentence encoded", f"{inference['seconds_to_first_answer']:.2f} s"),
        ]
    if step:
        name, pair = next((name, pair) for name, pair in step.items() if isinstance(pair, dict) and "peer" in pair)
        ratio, plain = pair["times_as_fast"]["as peer"]["cpu"], pair["times_as_fast"]["as plain"]["cpu"]
        rows.append((f"training step of {name} beside {step['peer']}", f"{ratio:.1f} times as fast"))
        rows.append(("the same beside a plain PyTorch loop", f"{plain:.1f} times as fast"))
    if render:
        pictures = render["speed"]["128x64"]["median"]
        rows.append(("street drawn at 128x64, one core", f"{pictures:,.0f} pictures a second"))
    if not rows:
        return MISSING
    table = "\n".join(["| what | figure |", "|---|---:|", *(f"| {what} | {figure} |" for what, figure in rows)])
    used = inference or step or render
    towers = f"Towers of the first rows: {inference['model']}. " if inference else ""
    return f"{table}\n\n{towers}All in processor time, so that other work counts little. {machine(used['machine'])}"


def engines() -> str:
    """The two towers on every engine."""
    found = benchmark("inference")
    if not found:
        return MISSING
    lines = ["| engine | pictures/s | one picture, ms | a sentence, ms |", "|---|---:|---:|---:|"]
    for name, row in found["figures"].items():
        label = f"{name} {found['versions'].get(name, '')}".strip()
        lines.append(
            f"| {label} | {row['images_per_s']:,.0f} | {row['image_batch1_ms']:.2f} | {row['text_query_ms']:.2f} |"
        )
    return "\n".join(lines) + f"\n\nModel: {found['model']}. {machine(found['machine'])}"


def exported() -> str:
    """Exported towers beside eager float32 PyTorch."""
    found = benchmark("export")
    if not found:
        return MISSING
    lines = ["| tower | what | eager, ms | ONNX Runtime, ms | in int8, ms | OpenVINO, ms | times as fast |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for name, row in found["figures"].items():
        times = row["cpu_ms"]
        keys = ("eager", "onnxruntime", "onnxruntime, int8", "openvino")
        cells = [f"{times[key]:,.1f}" if key in times else "–" for key in keys]
        lines.append(f"| `{name}` | {row['what']} | {' | '.join(cells)} | {row['times_as_fast']:.1f} |")
    about = (
        "Processor time on one thread, all ways in turn; eager in float32, OpenVINO in bfloat16 where the processor "
        "multiplies it; random weights. The last column is the fastest beside eager"
    )
    return "\n".join(lines) + f"\n\n{about}. {machine(found['machine'])}"


def distilled() -> str:
    """A student with and without its teacher."""
    found = benchmark("distillation")
    if not found:
        return MISSING
    lines = ["| student | R@1, mean | 95 % interval over seeds | each seed |", "|---|---:|---|---|"]
    for key, label in (("without", "alone"), ("with", "with the teacher"), ("difference", "difference")):
        row, sign = found[key], "+" if key == "difference" else ""
        each = ", ".join(f"{value:{sign}.1f}" for value in row["values"])
        lines.append(
            f"| {label} | {row['mean']:{sign}.1f} | {row['low']:{sign}.1f} to {row['high']:{sign}.1f} | {each} |"
        )
    about = (
        f"{found['what']}; students trained on {found['people']:,} people for {found['epochs']} epochs. The teacher, "
        f"{found['teacher']['name']}, has {found['teacher']['r1']:.1f}."
    )
    return "\n".join(lines) + f"\n\n{about}"


def training_step() -> str:
    """Our training step beside the others."""
    found = benchmark("training_step")
    if not found:
        return MISSING
    lines = ["| towers | passerby | passerby, fp32 | plain loop | peer |", "|---|---:|---:|---:|---:|"]
    for name, pair in found.items():
        if isinstance(pair, dict) and "plain" in pair:
            rates = (
                pair.get(who, {}).get("images_per_cpu_s") for who in ("passerby", "passerby_fp32", "plain", "peer")
            )
            lines.append(f"| {name} | {' | '.join(decimal(rate) for rate in rates)} |")
    about = f"Pictures per second of processor time; the peer is {found['peer']}."
    return "\n".join(lines) + f"\n\n{about} {machine(found['machine'])}"


def rendering() -> str:
    """Speed of the street's renderer."""
    found = benchmark("render")
    if not found:
        return MISSING
    lines = ["| size (height x width) | pictures/s of one core |", "|---|---:|"]
    lines += [f"| {size} | {row['median']:,.0f} |" for size, row in found["speed"].items()]
    return "\n".join(lines) + f"\n\n{found['what']}. {machine(found['machine'])}"


def evaluating() -> str:
    """Speed and memory of the evaluation, and beside whom it was measured."""
    found = benchmark("evaluation")
    if not found:
        return MISSING
    lines = [
        "| size of | queries | gallery | wall s | processor s | extra memory, MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        if "from_features" in row:
            ours = row["from_features"]
            lines.append(
                f"| {name} | {row['queries']:,} | {row['gallery']:,} | {ours['wall_s']:.1f} | {ours['cpu_s']:.1f} | "
                f"{ours['extra_mb']:.0f} |"
            )
    rivals = ["| beside | size of | given | wall s | processor s | times ours, wall | times ours, processor |"]
    rivals.append("|---|---|---|---:|---:|---:|---:|")
    for name, row in found.items():
        given = "scores" if "from_scores" in row else "features"
        for rival, its in row.get("rivals", {}).items() if isinstance(row, dict) else ():
            rivals.append(
                f"| {rival} | {name} | {given} | {its['wall_s']:.1f} | {its['cpu_s']:.1f} | {its['ratio_wall']:.1f} | "
                f"{its['ratio_cpu']:.1f} |"
            )
        if given == "scores":
            ours = row["from_scores"]
            rivals.append(f"| **passerby** | {name} | scores | {ours['wall_s']:.2f} | {ours['cpu_s']:.2f} | 1 | 1 |")
    about = "From features to figures, products of vectors included; medians."
    beside = "The same scores, or features, given to others; pure-Python loops are timed on some queries and scaled."
    return "\n".join([*lines, "", about, "", *rivals, "", f"{beside} {machine(found['machine'])}"])


def reranking() -> str:
    """Cost of re-ranking, and how far it is from the dense versions."""
    found = benchmark("reranking")
    if not found:
        return MISSING
    lines = [
        "| size of | queries | gallery | version | processor s | extra memory, MB |",
        "|---|---:|---:|---|---:|---:|",
    ]
    remarks = []
    names = {
        "transductive": "passerby, transductive",
        "gallery-only": "passerby, gallery-only",
        "dense": "dense, ours",
        "peer": "public numpy version",
    }
    for size, row in found.items():
        for version in (version for version in names if version in row):
            cost = row[version]
            lines.append(
                f"| {size} | {row['queries']:,} | {row['pictures']:,} | {names[version]} | {cost['cpu_s']:.1f} | "
                f"{cost['extra_mb']:,.0f} |"
            )
            if "largest_difference" in cost:
                remarks.append(
                    f"{size}, {names[version]}: {cost['times_as_long_cpu']:.1f} times the processor time, largest "
                    f"difference {cost['largest_difference']:.0e}"
                )
    about = "k-reciprocal 20/6/0.3 on 512 dimensions, ours from features, the dense ones from a matrix of distances."
    return "\n".join(lines) + f"\n\n{about} {'; '.join(remarks)}. {machine(found['machine'])}"


def context() -> str:
    """Speed and memory of the context encoder, and the same with matrices of N x N where one fits."""
    found = benchmark("context")
    if not found:
        return MISSING
    lines = ["| what | pictures | processor s | wall s | extra memory, MB | load |", "|---|---:|---:|---:|---:|---:|"]
    kinds = {"forward": "forward", "magformer": "forward, MagFormer", "step": "training step, two sets of"}
    for name, row in found.items():
        kind, _, size = name.partition("-")
        for how, figures in row.items() if kind in kinds else ():
            if how in ("sparse", "dense", "lean"):
                label = f"{kinds[kind]}, {_DENSE[how]}" if how in _DENSE else kinds[kind]
                times = f"{figures['cpu_s']:.1f} | {figures['wall_s']:.1f} | {figures['extra_mb']:,.0f}"
                lines.append(f"| {label} | {int(size):,} | {times} | {figures['load']:.0f} |")
    remarks = [
        f"{name.partition('-')[0]} at {int(name.partition('-')[2]):,} {row['times_as_fast']['cpu_s']:.1f} times as fast"
        for name, row in found.items()
        if "times_as_fast" in row
    ]
    queries = ["| gallery | finding neighbours, ms | all after it, ms | exact (C), ms | appended, ms |"]
    queries.append("|---:|---:|---:|---:|---:|")
    keys = ("search_cpu_ms", "after_search_cpu_ms", "exact_cpu_ms", "append_cpu_ms")
    for name, row in found.items():
        if name.startswith("query-"):
            cells = " | ".join(f"{row[key]:.2f}" for key in keys)
            queries.append(f"| {int(name.partition('-')[2]):,} | {cells} |")
    recalls = [
        f"Of the neighbours at {int(name.partition('-')[2]):,} pictures, {100 * row['recall']:.2f} % are those of a "
        f"product in double precision ({row['rows']} rows compared)."
        for name, row in found.items()
        if name.startswith("recall-")
    ]
    facts = found["machine"]
    about = "Four layers of width 256, two maps (MagFormer: four). "
    about += f"In processor time, beside matrices: {', '.join(remarks)}. {' '.join(recalls)}"
    threads = f"{facts['threads']} threads; the load stands in each row. {machine({**facts, 'load_at_start': None})}"
    parts = ["\n".join(lines), "Processor time of one query more:", "\n".join(queries), f"{about} {threads}"]
    return "\n\n".join(parts)


_DENSE = {"dense": "matrices as the formulas are written", "lean": "matrices, one map at a time and in place"}


def searching() -> str:
    """Searching large galleries, with and without filters, and what they take."""
    found = benchmark("gallery")
    if not found or not found["search"]:
        return MISSING
    head = "| pictures | engine | filter | processor ms | wall, median | wall, least | NumPy, median | recall@10 |"
    lines = [head, f"|---:|---|---|{'---:|' * 5}"]
    sizes = ["| pictures | engine | load | made in, processor s | first answer s | memory MB | of it files | disk MB |"]
    sizes.append(f"|---:|---|{'---:|' * 6}")
    runs = sorted(found["search"].values(), key=lambda run: (run["rows"], run["engine"]))
    for run in runs:
        which = f"{run['rows']:,} | {run['engine']}{', graph' if run['graph'] else ''}"
        for name, row in run["searches"].items():
            times = " | ".join(f"{row[key]:.1f}" for key in ("cpu_ms", "p50", "least", "numpy_p50"))
            lines.append(f"| {which} | {name} | {times} | {row['recall_at_10']:.3f} |")
        row, memory = run["with_text"], run["memory_mb"]
        times = " | ".join(f"{row[key]:.1f}" for key in ("cpu_ms", "p50", "least"))
        lines.append(f"| {which} | a sentence, encoding included | {times} | | |")
        made = f"{run['build_cpu_s']:.0f}" if "build_cpu_s" in run else "–"
        taken = f"{memory['own'] + memory['mapped']:,.0f} | {memory['mapped']:,.0f} | {run['disk_mb']:,.0f}"
        sizes.append(f"| {which} | {run['machine']['load']:.1f} | {made} | {run['reopen_s']:.1f} | {taken} |")
    facts = {key: value for key, value in runs[-1]["machine"].items() if key != "load"}
    about = (
        f"{runs[-1]['dim']} dimensions, k = 10. NumPy is exact search of single-precision numbers in memory, timed "
        "alternately. Wall times depend on what else the machine does, which its load tells; processor times hardly do."
    )
    return "\n".join([*lines, "", *sizes, "", f"{about} {machine(facts)}"])


def ingesting() -> str:
    """How many people and passages of filmed streets are found."""
    found = benchmark("ingest")
    if not found:
        return MISSING
    measures = {
        "people_recall": "people found in frames",
        "box_precision": "boxes that hold a person",
        "passages_found": "passages with a crop of their person",
        "tracks_per_found_passage": "tracks of a found passage",
        "tracks_of_one_person": "tracks with crops of one person alone, of those with any",
        "tracks_of_nobody": "tracks that show nobody",
        "crops_of_people": "crops that hold a person",
        "cpu_ms_per_frame": "processor ms for a frame",
    }
    oracle, hog = (found["detectors"][name] for name in ("oracle", "hog"))
    lines = ["| | oracle | HOG |", "|---|---:|---:|"]
    for key, name in measures.items():
        style = {"tracks_per_found_passage": ".2f", "cpu_ms_per_frame": ".0f"}.get(key, ".1%")
        lines.append(f"| {name} | {oracle[key]:{style}} | {hog[key]:{style}} |")
    height, width = found["films"]["size"]
    about = (
        f"{oracle['people']:.0f} people in frames of {width} x {height} pixels, {oracle['passages']:.0f} passages, a "
        f"frame every {found['every_seconds']} s, OpenCV {found['machine']['opencv']}."
    )
    return "\n".join(lines) + f"\n\n{about} {machine(found['machine'])}"


def match_bands() -> str:
    """How matches are called where it is known who is in the gallery."""
    found, pictures = benchmark("match_bands"), (benchmark("gallery") or {}).get("bands")
    if not found:
        return MISSING
    sizes = found["sizes"]
    titles = " | ".join(f"{size['pictures']:,}: strong | weak | none" for size in sizes)
    lines = [f"| asked with | somebody is | {titles} |", f"|---|---|{'---:|' * 3 * len(sizes)}"]
    for kind, sides in sizes[0]["kinds"].items():
        for where in sides:
            cells = []
            for size in sizes:
                called = size["kinds"][kind].get(where)
                enough = called and called["counted"] >= _FEWEST_QUESTIONS
                cells += [f"{100 * called[band]:.0f}" if enough else "–" for band in ("strong", "weak", "none")]
            lines.append(f"| {kind} | {where} | {' | '.join(cells)} |")
    milliseconds = max(size["limits_cpu_ms"] for size in sizes)
    counts = ", ".join(f"{size['pictures']:,}" for size in sizes)
    about = (
        f"Per cent of the questions in galleries of {counts} pictures, four of each person of a drawn street (seed "
        f"{found['seed']}); of people who are there, questions with a right picture among the first {found['depth']}. "
        f"Finding a sentence's limits took {milliseconds:.2f} ms of the processor."
    )
    if pictures:
        about += " " + " ".join(
            f"Asked with a picture of a person who is {where}, of {pictures['pictures']:,} pictures: "
            f"{100 * called['strong']:.0f} strong, {100 * called['weak']:.0f} weak, {100 * called['none']:.0f} none."
            for where, called in pictures["image"].items()
        )
    return "\n".join(lines) + f"\n\n{about}"


def surviving() -> str:
    """Killed writers and damaged files."""
    found = benchmark("gallery") or {}
    lines = ["| what | times | went wrong |", "|---|---:|---:|"]
    if "kills" in found:
        lines.append(f"| a writer killed at random | {found['kills']['runs']:,} | {len(found['kills']['problems'])} |")
    if "mutations" in found:
        files, wrong = found["mutations"]["files"], len(found["mutations"]["silent"]) + found["mutations"]["crashes"]
        lines.append(f"| a file of a gallery, or a picture, damaged | {files:,} | {wrong} |")
    return "\n".join(lines) if len(lines) > 2 else MISSING


def sparse_attention() -> str:
    """Sparse attention in its forms, over length and in memory."""
    found = benchmark("attention")
    if not found:
        return MISSING
    lines = [
        "| reach | tokens | dense, ms | blocks, ms | dense by blocks | dense by what is taken | and backward |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for reach, of_reach in found["words"].items():
        for row in of_reach["rows"]:
            forward, both = row["forward"], row["forward and backward"]
            dense, blocked = (forward[form]["cpu_ms"] for form in ("dense", "blocked"))
            lines.append(
                f"| {reach} | {row['length']:,} | {dense:.2f} | {blocked:.2f} "
                f"| {forward['dense by blocked']['cpu']:.2f} | {forward['dense by chosen']['cpu']:.2f} "
                f"| {both['dense by chosen']['cpu']:.2f} |"
            )
    even = ", ".join(f"{row['break_even']['forward']} at reach {reach}" for reach, row in found["words"].items())
    memory = found["memory_mb"]
    lengths = list(memory["blocked"])
    lines += [
        "",
        f"Processor time of a sentence, {found['heads']} heads of {found['width']} channels, one global token; a "
        f"ratio above 1 is time saved. Blocks break even at these lengths: {even}. Peak memory, forward and "
        "backward, in MiB:",
        "",
        f"| tokens | {' | '.join(f'{int(length):,}' for length in lengths)} |",
        f"|---|{'---:|' * len(lengths)}",
    ]
    lines += [f"| {form} | {' | '.join(decimal(memory[form][n]) for n in lengths)} |" for form in ("dense", "blocked")]
    return "\n".join(lines) + f"\n\n{machine(found['machine'])}"


def serving() -> str:
    """What the service does under load, when its page is painted, and what requests that are made up bring about."""
    found = benchmark("service")
    if not found:
        return MISSING
    lines = [
        "| what | load of the machine | median ms | 99 % below, ms | longest ms | answers |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name in ("steady", "flood"):
        if row := found.get(name):
            answers = ", ".join(f"{count:,} × {status}" for status, count in row["statuses"].items())
            what = f"{row['rate']:g} searches a second for {row['seconds'] / 60:g} min"
            times = f"{row['p50_ms']:.0f} | {row['p99_ms']:.0f} | {row['longest_ms']:.0f}"
            lines.append(f"| {what} | {row['machine_load'][0]:.1f} | {times} | {answers} |")
    if row := found.get("paint"):
        for name, what in (("server", "page received"), ("words", "words painted"), ("picture", "first hit painted")):
            each = row[f"{name}_ms"]
            lines.append(
                f"| {what} | {row['machine_load'][0]:.1f} | {each['p50']:.0f} | – | {each['longest']:.0f} | "
                f"{row['pages']} pages |"
            )
    notes = [f"{found['pictures']:,} pictures; times of accepted searches as clients see them, of pages in Chromium."]
    if row := found.get("steady"):
        notes.append(
            f"Under the steady load the service's memory grew by {row['memory_growth_percent']:g} %; a search took "
            f"{row['cpu_ms_each']:.0f} ms of the processor."
        )
    if row := benchmark("fuzzing"):
        worst = sum(count for status, count in row["statuses"].items() if int(status) >= 500)
        notes.append(
            f"Of {row['requests']:,} requests that Schemathesis made up for {row['routes']} routes, {worst} were "
            "answered with 500 or above."
        )
    return "\n".join(lines) + "\n\n" + " ".join(notes) + f" {machine(found['machine'])}"


TABLES: dict[str, Callable[[], str]] = {
    **{f"demo-{size}": (lambda size=size: demo(size)) for size in ("small", "medium", "large")},
    **{f"demo-{size}-time": (lambda size=size: demo_time(size)) for size in ("small", "medium", "large")},
    "headline": headline,
    "demo-medium-1000": demo_among_many,
    "shipped": shipped,
    "speed": speed,
    "engines": engines,
    "exported": exported,
    "distilled": distilled,
    "training-step": training_step,
    "rendering": rendering,
    "evaluating": evaluating,
    "sparse-attention": sparse_attention,
    "searching": searching,
    "serving": serving,
    "match-bands": match_bands,
    "ingest": ingesting,
    "surviving": surviving,
    "context": context,
    "attention-study": attention_study,
    "context-study": context_study,
    "reranking": reranking,
    "selection-study": selection_study,
    "selection-curves": selection_curves,
    "selection-grounding": selection_grounding,
    "itself-step": itself_step,
}


# -- pages ----------------------------------------------------------------------------------------------------------


def rewritten(page: str, origin: str) -> str:
    """A page with every block of figures made anew."""

    def fill(block: re.Match[str]) -> str:
        name = block["name"]
        if name in BY_HAND:
            return block[0]
        if name not in TABLES:
            raise SystemExit(f"{origin}: no table is called {name!r}; there are {', '.join([*TABLES, *BY_HAND])}")
        return f"{block[1]}{TABLES[name]()}\n{block[4]}"

    if page.count("<!-- figures:") != len(_BLOCK.findall(page)):
        raise SystemExit(f"{origin}: a block of figures is not closed with <!-- end figures -->")
    return _BLOCK.sub(fill, page)


def outdated() -> dict[Path, str]:
    """The pages whose figures are not those of the JSON files, with their new content."""
    pages = {path: path.read_text(encoding="utf-8") for path in PAGES}
    new = {path: rewritten(text, path.name) for path, text in pages.items()}
    return {path: text for path, text in new.items() if text != pages[path]}


def read(path: Path) -> dict[str, Any]:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def benchmark(name: str) -> dict[str, Any] | None:
    """The results of a benchmark; None before it was run."""
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return read(path) if path.is_file() else None


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is there; None when nothing is."""
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def decimal(value: float | None) -> str:
    """One decimal, or a dash."""
    return "–" if value is None else f"{value:.1f}"


def machine(facts: dict[str, Any]) -> str:
    """The machine in one sentence."""
    gpu = facts.get("device") or facts.get("gpu")
    on = f", {gpu}" if gpu and gpu != "cpu" else ""
    load = facts.get("load_at_start", facts.get("load"))
    busy = f"; load {load:.1f} when it was measured" if load else ""
    return f"Machine: {facts['cpu']}, {facts['cores']} cores{on}{busy}."


def main() -> None:
    """Rewrite the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write measured figures into the documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a page is out of date")
    check = parser.parse_args().check
    for path, text in (pages := outdated()).items():
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(text, encoding="utf-8")
    sys.exit(1 if check and pages else 0)


if __name__ == "__main__":
    main()
