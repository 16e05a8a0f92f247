"""A miniature data set for tests of training: people of two colours each, drawn as two blocks, in RSTPReid's layout."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (40, 60, 200), "white": (235, 235, 235)}


def write(root, train=12, val=6, views=2, size=(32, 16)):
    """Write the pictures and annotations of `train` + `val` people; return NAME:ROOT."""
    root, rng, names = Path(root), np.random.default_rng(0), list(COLOURS)
    (root / "imgs").mkdir(parents=True)
    rows = []
    for person in range(train + val):
        top, legs = names[person % 4], names[(person // 4) % 4]
        for view in range(views):
            picture = np.zeros((*size, 3))
            picture[: size[0] // 2], picture[size[0] // 2 :] = COLOURS[top], COLOURS[legs]
            picture += rng.normal(0, 12, picture.shape)
            name = f"{person:04d}_c{view}_0000.jpg"
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / "imgs" / name)
            rows.append(
                {
                    "id": person,
                    "img_path": name,
                    "captions": [f"A person in a {top} coat and {legs} trousers.", f"{legs} jeans, a {top} jacket."],
                    "split": "train" if person < train else "val",
                }
            )
    (root / "data_captions.json").write_text(json.dumps(rows))
    (root / "street.json").write_text("{}")  # spares a miniature the published counts
    return f"rstpreid:{root}"


def recipe(image=None, text=None, **sections):
    """A recipe for such people as a mapping; `sections` are merged into those of the same name."""
    tree = {
        "name": "miniature",
        "about": "for tests",
        "data": {"image_size": [32, 16], "sampler": "neighbours", "neighbours": 2},
        "model": {
            "image": image or {"name": "stripe_conv", "options": {"channels": 8}},
            "text": text or {"name": "conv", "options": {"channels": 16}},
            "tokenizer": {"vocabulary": 128, "context_length": 24},
            "embedding_dim": 16,
        },
        "optimisation": {"epochs": 8, "batch_size": 8, "learning_rate": 0.003, "ema": 0.5, "precision": "fp32"},
        "evaluation": {"every": 2},
    }
    for name, section in sections.items():
        tree[name] = {**tree[name], **section} if isinstance(section, dict) and name in tree else section
    return tree
