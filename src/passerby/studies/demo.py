"""The main job: a street is made, a model learns it, and five sentences find people that it has never seen.

Beside the people of the test, whom alone the figures are about, a guest walks through the gallery: the woman of the
sentence that the documentation asks for.

Each stage leaves a finished folder behind and is recognised when the demo is run again, so an interrupted demo goes
on where it stopped. What was found, beside chance, a colour baseline and the ceiling that the words allow, goes into
``report.json`` and a page to look at.
"""

from __future__ import annotations

import io
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import passerby
from passerby.data.readers import open_dataset
from passerby.data.records import Caption, Dataset, PersonImage, Split
from passerby.data.sheets import save_sheet
from passerby.data.world.contact_sheet import contact_sheet
from passerby.data.world.guest import GUEST_SENTENCE, draw_guest
from passerby.data.world.sidecar import ceiling_scores, read_people
from passerby.data.world.street import queries, street_of_size
from passerby.data.world.writing import write
from passerby.errors import ConfigError, nearest
from passerby.evaluation.colour_baseline import evaluate_colour_baseline
from passerby.evaluation.evaluate import evaluate_chance, evaluate_features, evaluate_scores
from passerby.evaluation.features import Features, encode_split
from passerby.evaluation.protocol import find_protocol
from passerby.evaluation.ranked_sheets import write_ranked_sheets
from passerby.evaluation.report import FIGURES, Report
from passerby.gallery import Gallery
from passerby.retriever import Retriever, load
from passerby.studies.page import write_report
from passerby.studies.stages import Stages

if TYPE_CHECKING:
    from passerby.training.loop import Progress, TrainResult
    from passerby.training.recipe import Recipe

#: Called with (what is being done, done, total, a short remark).
Announce = Callable[[str, int, int, str], None]

_ANSWERS = 5  # the guest's sentence among them
_HITS = 5


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How large a demo is: which named street, which recipe, which changes to it."""

    street: str
    recipe: str
    changes: tuple[str, ...] = ()


SIZES: Mapping[str, DemoSize] = MappingProxyType(
    {
        "small": DemoSize("small", "street", ("optimisation.epochs=8",)),
        "medium": DemoSize("medium", "street"),
        "large": DemoSize("large", "street-large"),
    }
)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Where the demo's results lie, and the report as plain values."""

    folder: Path
    page: Path
    report: Mapping[str, Any]


def run_demo(folder: Path, size: str = "medium", seed: int = 0, announce: Announce | None = None) -> DemoResult:
    """Run the demo, or what is left of it, in a folder.

    Args:
        folder: ``street/``, ``run/``, ``guest/``, ``gallery/``, ``report.json`` and ``report.html`` are made in it.
        size: a key of `SIZES`.
        seed: of the street and of the training.
        announce: called while things are made.

    Raises:
        ConfigError: no such size, or the folder holds a demo of another size or seed.
    """
    if size not in SIZES:
        raise ConfigError(f"no demo of size {size!r}; there are {', '.join(SIZES)}.{nearest(size, SIZES)}")
    tell = announce or (lambda *_: None)
    stages = Stages()
    root, street = folder / "street", replace(street_of_size(SIZES[size].street), seed=seed)
    with stages.stage("street"):
        ahead = Thread(target=_import_training, daemon=True)
        ahead.start()  # other processes draw
        write(street, root, progress=lambda done, total: tell("drawing the street", done, total, ""))
        ahead.join()
        dataset = open_dataset(f"rstpreid:{root}")
    with stages.stage("train"):
        training = _train(SIZES[size], seed, dataset, folder / "run", tell)
    with stages.stage("export"):
        model = _export(folder / "run" / "checkpoint", dataset)
    asked = queries(dataset.split("test"))
    with stages.stage("evaluate"):
        tell("evaluating", 0, 1, "")
        features = encode_split(model, asked)
        reports = _reports(root, features, asked, model, seed)
        sheets = write_ranked_sheets(features, asked, reports["model"].protocol, folder / "sheets")
    with stages.stage("gallery"):
        guest = draw_guest(street, folder / "guest")
        gallery = _fill_gallery(folder / "gallery", model, [*asked.images, *guest], tell)
    with gallery, stages.stage("search"):
        answers, search = _answer(gallery, _questions(asked, guest))
    with stages.stage("report"):
        report = _as_json(size, seed, dataset, asked, reports, training, search)
        pictures = _pictures(folder, root, sheets, answers)
    report["seconds"] = stages.with_total()
    from passerby.training.state import write_text

    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    return DemoResult(folder, write_report(folder, report, pictures), report)


# -- stages ---------------------------------------------------------------------------------------------------------


def _import_training() -> None:
    """Load what training loads: seconds of one core, some of them at the first optimiser of a process."""
    import torch

    import passerby.training.run  # noqa: F401

    torch.optim.SGD([torch.zeros(1)])


def _train(size: DemoSize, seed: int, dataset: Dataset, folder: Path, tell: Announce) -> dict[str, Any]:
    """Train, unless it is done; returns what the report says about it."""
    from passerby.training.recipe import load_recipe

    recipe = load_recipe(size.recipe, [*size.changes, f"seed={seed}"])
    facts = folder / "training.json"
    if facts.is_file() and (folder / "recipe.yaml").read_text(encoding="utf-8") == recipe.to_yaml():
        return json.loads(facts.read_text(encoding="utf-8"))
    from passerby.training.run import run_recipe
    from passerby.training.state import write_text

    result = run_recipe(
        recipe,
        dataset,
        folder,
        lambda at: tell("training", at.step, at.steps, _remark(at)),
        lambda done, total: tell("decoding", done, total, ""),
    )
    described = _training_facts(recipe, folder, result)
    write_text(facts, json.dumps(described, indent=2) + "\n")
    return described


def _training_facts(recipe: Recipe, folder: Path, result: TrainResult) -> dict[str, Any]:
    import torch

    from passerby.models.checkpoint import read_checkpoint
    from passerby.training.precision import choose_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = choose_precision(recipe.optimisation.precision, device)
    done = (result.steps - result.resumed_at) * recipe.optimisation.batch_size
    return {
        "images_per_s": round(done / result.seconds, 1),
        "steps": result.steps,
        "parameters": sum(tensor.size for tensor in read_checkpoint(folder / "checkpoint").tensors().values()),
        "precision": "fp32" if precision == "no" else precision,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "best": dict(result.best),
        "versions": {"torch": torch.__version__},
    }


def _remark(at: Progress) -> str:
    return f"loss {sum(at.losses.values()):.2f}, {at.images_per_s:,.0f} images/s"


def _export(checkpoint: Path, dataset: Dataset) -> Retriever:
    """Export the towers beside the weights and open them in the fastest runtime of this machine."""
    from passerby.export.onnx import export_onnx
    from passerby.models.checkpoint import read_checkpoint

    if not read_checkpoint(checkpoint).exported:
        export_onnx(checkpoint, pictures=[image.path for image in dataset.split("test").images[:64]])
    return load(checkpoint)


def _reports(root: Path, features: Features, asked: Split, model: Retriever, seed: int) -> dict[str, Report]:
    rules = find_protocol("text-to-image", selection_split="val")
    pictures = find_protocol("image-to-image", selection_split="val")
    street, mark = f"street, seed {seed}", model.fingerprint
    ceiling = np.round(ceiling_scores(root, asked), 9)  # equal scores of one person's pictures stay equal
    return {
        "model": evaluate_features(features, asked, rules, dataset=street, fingerprint=mark),
        "ceiling": evaluate_scores(ceiling, asked, rules, name="ceiling", dataset=street),
        "colour_baseline": evaluate_colour_baseline(asked, rules, dataset=street),
        "chance": evaluate_chance(asked, rules, dataset=street),
        "image_to_image": evaluate_features(
            features, asked, pictures, name="image to image", dataset=street, fingerprint=mark
        ),
    }


def _fill_gallery(folder: Path, model: Retriever, images: Sequence[PersonImage], tell: Announce) -> Gallery:
    gallery = Gallery.open(folder, model) if folder.exists() else Gallery.create(folder, model)
    gallery.add(images, progress=lambda at: tell("filling the gallery", at.done, at.total, ""))
    return gallery


def _questions(split: Split, guest: Sequence[PersonImage]) -> list[Caption]:
    """The guest's sentence, then sentences of the test that are spread evenly over it."""
    spread = np.linspace(0, len(split.captions) - 1, _ANSWERS - 1)
    of_guest = Caption(GUEST_SENTENCE, guest[0].image_id, guest[0].person_id)
    return [of_guest, *(split.captions[round(at)] for at in spread)]


def _answer(gallery: Gallery, questions: Sequence[Caption]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Ask for people by sentences, and time each question."""
    answers, milliseconds = [], []
    for caption in questions:
        started = time.perf_counter()
        hits = gallery.search(caption.text, k=_HITS, keep_poor=True)
        milliseconds.append(1000 * (time.perf_counter() - started))
        answers.append(
            {
                "query": caption.text,
                "hits": [
                    {
                        "jpeg": gallery.thumbnail(hit.id),
                        "score": hit.score,
                        "hit": hit.person == caption.person_id,
                        "camera": hit.camera or "",
                    }
                    for hit in hits
                ],
            }
        )
    return answers, {"first_ms": round(milliseconds[0], 2), "median_ms": round(statistics.median(milliseconds), 2)}


# -- the report -----------------------------------------------------------------------------------------------------


def _as_json(
    size: str,
    seed: int,
    dataset: Dataset,
    asked: Split,
    reports: Mapping[str, Report],
    training: Mapping[str, Any],
    search: Mapping[str, float],
) -> dict[str, Any]:
    train = dataset.split("train")
    rules = reports["model"].protocol
    return {
        "title": "passerby demo",
        "size": size,
        "seed": seed,
        "passerby": passerby.__version__,
        "protocol": {
            "text_to_image": rules.describe(),
            "image_to_image": reports["image_to_image"].protocol.describe(),
            "intervals": "95 %, bootstrap by identity",
        },
        **{name: _figures(report) for name, report in reports.items()},
        "counts": {
            "train_identities": len(train.identities),
            "train_images": len(train.images),
            "test_identities": len(asked.identities),
            "gallery_images": len(asked.images),
            "queries": len(asked.captions),
        },
        "training": dict(training),
        "search": dict(search),
        "machine": {"cpu": _processor(), "cores": _cores(), "device": training.get("device", "cpu")},
        "versions": {**reports["model"].versions, **training.get("versions", {})},
        "next": _NEXT,
    }


_NEXT = [
    {"command": "passerby index PICTURES --gallery people", "what": "make a gallery of your own folder of pictures"},
    {"command": f'passerby search people "{GUEST_SENTENCE}"', "what": "search it by a sentence"},
    {"command": "passerby demo --size large", "what": "the same on a larger street, for a machine with a GPU"},
    {
        "command": "passerby train street --data rstpreid:ROOT --out RUN",
        "what": "train on RSTPReid, or a street of yours",
    },
]


def _figures(report: Report) -> dict[str, float | None]:
    """Percentages with their intervals, to a thousandth; None where there is nothing to measure."""
    row: dict[str, float | None] = {key: _rounded(report.figures[key]) for key in FIGURES}
    for key in FIGURES:
        row[f"{key}_low"], row[f"{key}_high"] = (_rounded(edge) for edge in report.intervals[key])
    return row


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _pictures(folder: Path, root: Path, sheets: Mapping[str, Path], answers: list[dict[str, Any]]) -> dict[str, Any]:
    street = folder / "street.png"
    if not street.is_file():
        save_sheet(contact_sheet(read_people(root, "test")[:8]), street)
    pictures: dict[str, Any] = {"street": _as_jpeg(street), "answers": answers}
    curves = folder / "run" / "curves.png"
    if curves.is_file():
        pictures["curves"] = curves.read_bytes()
    return pictures | {name: _as_jpeg(path) for name, path in sheets.items()}


def _as_jpeg(sheet: Path) -> bytes:
    """A sheet of photographs for the page, a tenth of its size as PNG."""
    stream = io.BytesIO()
    with Image.open(sheet) as picture:
        picture.convert("RGB").save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    from passerby.models.runtimes.choice import usable_cores

    return usable_cores()
