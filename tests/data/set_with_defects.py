"""A small set in RSTPReid's layout with one of every defect that a check looks for, and the same set without any."""

import json

import numpy as np
from PIL import Image


def write(root, *, defects):
    """Four people in train, two in test; two pictures each, two sentences each."""
    rows = []
    for person in range(6):
        for view in range(2):
            name = f"{person:04d}_c{view + 1}_{view:04d}.jpg"
            captions = [f"A walker in coat number {person}, view {view}.", f"Number {person} again, {view}."]
            split = "train" if person < 4 else "test"
            rows.append({"id": person, "img_path": name, "captions": captions, "split": split})
            noise = np.random.default_rng(10 * person + view).integers(0, 255, (16, 8, 3), dtype=np.uint8)
            (root / "imgs").mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise).save(root / "imgs" / name)
    if defects:
        _spoil(root, rows)
    (root / "data_captions.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return root


def _spoil(root, rows):
    images = root / "imgs"
    rows[0]["captions"] = ["The very SAME sentence.", "x = self.model(image)"]
    rows[2]["captions"] = ["the very same  sentence.", "一个男人穿着红色外套"]
    rows[4]["captions"] = [" ".join(["word"] * 80), "Two\nlines."]
    rows[6]["captions"] = ["", "Good."]
    rows[8]["id"] = 0  # in train too
    (images / rows[1]["img_path"]).unlink()
    (images / rows[3]["img_path"]).write_bytes(b"no picture")
    (images / rows[5]["img_path"]).write_bytes((images / rows[2]["img_path"]).read_bytes())  # another person's
    (images / rows[9]["img_path"]).write_bytes((images / rows[0]["img_path"]).read_bytes())  # another split's
    (images / rows[7]["img_path"]).write_bytes((images / rows[6]["img_path"]).read_bytes())  # the same person's
    for row in rows[4:6]:
        row["id"] = 40  # leaves a gap
    rows.append({"id": 3, "img_path": "../out.jpg", "captions": ["Out."], "split": "train"})
    rows.append(dict(rows[7]))
