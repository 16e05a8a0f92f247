"""Times our training loop beside the plain loop that tutorials teach, with the same towers and pictures.

Ours reads decoded pictures from its cache, changes them at random on tensors, computes in bf16 where the processor
multiplies it, crops captions to the longest of the batch, and keeps a moving average. The plain loop decodes each JPEG
in a DataLoader at each step, computes in fp32, pads captions to the longest of the set and reads the loss each step.
With --peer PATH, a checkout of github.com/moein-shariatnia/OpenAI-CLIP, its own data set, model and epoch function
run in its place, around the same towers (it needs opencv, albumentations and pandas). Contenders alternate; figures
are medians. Run: python benchmarks/training_step.py [--peer PATH]  (a few minutes; --quick for seconds)
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from passerby.cli.threads import settle_threads

settle_threads()  # before torch is imported
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from accelerate.state import AcceleratorState  # noqa: E402
from PIL import Image  # noqa: E402

from passerby.data.records import Caption, Dataset, PersonImage, Split  # noqa: E402
from passerby.training.loop import _Run  # noqa: E402
from passerby.training.memory import keep_freed_memory  # noqa: E402
from passerby.training.precision import choose_precision  # noqa: E402
from passerby.training.recipe import parse_recipe  # noqa: E402
from passerby.training.tasks.dual_encoder import DualEncoderTask  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "training_step.json"

#: name -> (height, width) of training, batch, steps of a round, image tower, text tower.
PAIRS = {
    "stripe_conv + conv": ((96, 48), 128, 2, {"name": "stripe_conv"}, {"name": "conv"}),
    "resnet18 + distilbert (3 layers, 192 wide)": (
        (128, 64),
        32,
        2,
        {"name": "timm", "options": {"source": "resnet18", "weights": "random"}},
        {"name": "distilbert", "options": {"channels": 192, "layers": 3, "heads": 3, "mlp_width": 768}},
    ),
}
WORDS = (
    "a",
    "man",
    "woman",
    "wearing",
    "red",
    "blue",
    "dark",
    "green",
    "coat",
    "jeans",
    "with",
    "white",
    "shoes",
    "bag",
)


def make_people(root: Path, count: int) -> Dataset:
    """JPEG files of 256x128 with the detail of a street photo, and captions of 15 to 50 words."""
    random = np.random.default_rng(0)
    images, captions = [], []
    for person in range(count):
        rough = random.integers(0, 256, (32, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(rough).resize((128, 256), Image.Resampling.BICUBIC), dtype=np.int16)
        picture = (smooth + random.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8)
        path = root / f"{person:04d}.jpg"
        Image.fromarray(picture).save(path, quality=88)
        images.append(PersonImage(path.name, path, person))
        captions.append(Caption(" ".join(random.choice(WORDS, random.integers(15, 51))), path.name, person))
    return Dataset("benchmark", root, {"train": Split("train", tuple(images), tuple(captions))})


def ours(dataset: Dataset, pair: str, precision: str, folder: Path):
    """Our loop as it is: each call does some steps."""
    size, batch, _, image, text = PAIRS[pair]
    recipe = parse_recipe(
        {
            "name": "benchmark",
            "data": {"image_size": list(size)},
            "model": {"image": image, "text": text, "tokenizer": {"context_length": 80}},
            "optimisation": {"batch_size": batch, "precision": precision},
        }
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=choose_precision(precision, device), cpu=device.type == "cpu")
    run = _Run(DualEncoderTask(recipe, dataset), recipe, folder, accelerator)

    def endless():
        while True:
            yield from run.epoch_steps()
            run.step_in_epoch = 0

    losses = endless()
    keep_freed_memory()  # as `train` does

    def steps(count: int) -> None:
        window = [next(losses)["contrastive"] for _ in range(count)]
        float(torch.stack(window).mean())

    return steps


def plain_parts(dataset: Dataset, pair: str):
    """What both plain loops share: new towers of the same shape, and captions padded to the longest of the set."""
    size, batch, _, image, text = PAIRS[pair]
    recipe = parse_recipe(
        {
            "name": "x",
            "data": {"image_size": list(size)},
            "model": {"image": image, "text": text, "tokenizer": {"context_length": 80}},
        }
    )
    task = DualEncoderTask(recipe, dataset)
    captions = [caption.text for caption in dataset.split("train").captions]
    return size, batch, task.model, captions, task.tokenizer


def naive(dataset: Dataset, pair: str):
    """The plain loop, written for this comparison."""
    size, batch, model, captions, tokenizer = plain_parts(dataset, pair)
    ids = torch.from_numpy(tokenizer.encode(captions))
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (model.preprocessing.mean, model.preprocessing.std))

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(captions)

        def __getitem__(self, index):
            picture = Image.open(dataset.split("train").images[index].path).convert("RGB").resize(size[::-1])
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
            return (pixels - mean) / std, ids[index]

    loader = torch.utils.data.DataLoader(Pictures(), batch_size=batch, shuffle=True, drop_last=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    model.train()

    def steps(count: int) -> None:
        for pixels, tokens in itertools.islice(batches, count):
            images, texts, scale = model(pixels, tokens)
            logits, target = scale * images @ texts.T, torch.arange(len(images))
            loss = (
                torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
            ) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()

    return steps


def peer(dataset: Dataset, pair: str, checkout: Path):
    """The peer's own data set, model and epoch function around our towers; its configuration but for sizes."""
    size, batch, model, captions, tokenizer = plain_parts(dataset, pair)
    sys.path.insert(0, str(checkout))
    import albumentations
    import CLIP as peer_model
    import config
    import dataset as peer_data
    import main as peer_main

    config.image_path, config.device = str(dataset.root), torch.device("cpu")

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = model.text_tower

        def forward(self, input_ids, attention_mask):
            return self.tower(input_ids)

    def tokenize(texts, padding, truncation, max_length):
        ids = tokenizer.encode(texts)
        return {"input_ids": ids.tolist(), "attention_mask": (ids != 0).astype(int).tolist()}

    peer_model.ImageEncoder, peer_model.TextEncoder = lambda: model.image_tower, Text
    network = peer_model.CLIPModel(image_embedding=model.image_tower.width, text_embedding=model.text_tower.width)
    transforms = albumentations.Compose([albumentations.Resize(*size), albumentations.Normalize(max_pixel_value=255.0)])
    files = [image.image_id for image in dataset.split("train").images]
    loader = torch.utils.data.DataLoader(
        peer_data.CLIPDataset(files, captions, tokenize, transforms),
        batch_size=batch,
        num_workers=config.num_workers,
        shuffle=True,
        drop_last=True,
    )
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    network.train()

    def steps(count: int) -> None:
        peer_main.train_epoch(network, Few(batches, count), optimiser, None, "epoch")

    return steps


class Few:
    """The next few batches of an endless stream, with the length that a progress bar asks for."""

    def __init__(self, stream, count: int) -> None:
        self._stream, self._count = stream, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self):
        return itertools.islice(self._stream, self._count)


def contend(make, arguments: tuple, orders) -> None:
    """A contender's process: make its loop, then do as many steps as asked and answer (wall s, processor s)."""
    steps = make(*arguments)
    steps(1)  # the first step chooses algorithms and fills pools
    orders.send("ready")
    while count := orders.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        steps(count)
        orders.send((time.perf_counter() - wall, time.process_time() - cpu))


@contextlib.contextmanager
def process_of(make, *arguments):
    """A contender in a process of its own, whose allocator and threads no other touches; yields the pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=contend, args=(make, arguments, there), daemon=True)
    process.start()
    there.close()
    here.recv()
    try:
        yield here
        here.send(0)
        process.join()
    finally:
        process.kill()


def compare(pair: str, dataset: Dataset, checkout: Path | None, rounds: int, folder: Path) -> dict:
    """Alternate the contenders; medians of images per second, and ratios round by round."""
    batch, count = PAIRS[pair][1:3]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    makers = {"passerby": (ours, dataset, pair, "auto", folder / "auto")}
    if choose_precision("auto", device) != "no":
        makers["passerby_fp32"] = (ours, dataset, pair, "fp32", folder / "fp32")
    makers["plain"] = (naive, dataset, pair)
    if checkout is not None:
        makers["peer"] = (peer, dataset, pair, checkout)
    walls: dict[str, list[float]] = {name: [] for name in makers}
    cpus: dict[str, list[float]] = {name: [] for name in makers}
    with contextlib.ExitStack() as processes:
        contenders = {name: processes.enter_context(process_of(*maker)) for name, maker in makers.items()}
        for _ in range(rounds):
            for name, orders in contenders.items():
                orders.send(count)
                wall, cpu = orders.recv()
                walls[name].append(wall / (count * batch))
                cpus[name].append(cpu / (count * batch))
    against = [name for name in ("plain", "peer") if name in makers]
    return {
        "image_size": list(PAIRS[pair][0]),
        "batch": batch,
        "steps": rounds * count,
        **{
            name: {
                "images_per_s": round(1 / statistics.median(walls[name]), 1),
                "images_per_cpu_s": round(1 / statistics.median(cpus[name]), 1),
            }
            for name in makers
        },
        "times_as_fast": {
            f"as {name}": {
                "wall": round(statistics.median(np.divide(walls[name], walls["passerby"])), 2),
                "cpu": round(statistics.median(np.divide(cpus[name], cpus["passerby"])), 2),
            }
            for name in against
        },
    }


def machine() -> dict:
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
        "torch_threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "load_at_start": round(os.getloadavg()[0], 1),
        "precision": choose_precision("auto", device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="a checkout of moein-shariatnia/OpenAI-CLIP")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="one round, nothing written")
    arguments = parser.parse_args()
    report: dict = {"machine": machine(), "peer": "moein-shariatnia/OpenAI-CLIP" if arguments.peer else None}
    with tempfile.TemporaryDirectory() as place:
        os.environ["PASSERBY_CACHE"] = f"{place}/cache"
        (Path(place) / "people").mkdir()
        dataset = make_people(Path(place) / "people", 512)
        for pair in PAIRS:
            rounds = 1 if arguments.quick else arguments.rounds
            report[pair] = compare(pair, dataset, arguments.peer, rounds, Path(place))
    print(json.dumps(report, indent=2))
    if not arguments.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
