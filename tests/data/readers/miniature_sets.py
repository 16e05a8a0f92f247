"""Public text-person sets in miniature, in the files and fields that the real ones have."""

import csv
import io
import json

from PIL import Image


def picture(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 16), (shade % 256, 40, 90)).save(path)


def json_set(root, annotations, entries, *, key="file_path", images="imgs", street=True):
    """One list of entries, and their pictures."""
    root.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(entries):
        name = entry.get(key) if isinstance(entry, dict) else None
        if isinstance(name, str) and name.endswith((".jpg", ".png", ".bmp")) and ".." not in name:
            picture(root / images / name, number)
    (root / annotations).write_text(json.dumps(entries), encoding="utf-8")
    if street:
        (root / "street.json").write_text("{}")  # spares a miniature the published counts
    return root


def cuhk_rows():
    """As in reid_raw.json: ids from 1, folders of the older sets, tokens without punctuation."""
    places = [
        ("train", 1, "CUHK01/0363004.png"), ("train", 1, "CUHK01/0363001.png"), ("train", 2, "cam_a/001_45.bmp"),
        ("val", 3, "Market/0004_c1s6_015996_00.jpg"), ("test", 4, "test_query/p8130_s9621.jpg"),
    ]  # fmt: skip
    return [
        {
            "split": split,
            "captions": [f"A man in a t-shirt,dark, number {number}.", f"He walks. {number}\n"],
            "file_path": path,
            "processed_tokens": [["a", "man", "in", "a", "tshirtdark"], ["he", "walks"]],
            "id": person,
        }
        for number, (split, person, path) in enumerate(places)
    ]


def icfg_rows():
    """As in ICFG-PEDES.json: ids from 0, MSMT17's folders, a split in another case."""
    places = [
        ("train", 0, "test/0627/0627_010_05_0303afternoon_1591_0.jpg"),
        ("Train", 1, "train/0001/0001_000_12_0303morning_0008_1.jpg"),
        ("train", 2, "train/0002/0002_000_01_0303noon_0008_1.jpg"),
        ("test", 3, "train/0003/0003_001_14_0303noon_0008_1.jpg"),
    ]
    return [
        {
            "split": split,
            "captions": [f"Long sentence {person}."],
            "file_path": path,
            "id": person,
            "processed_tokens": [],
        }
        for split, person, path in places
    ]


def karpathy(names_and_splits):
    """As in dataset_flickr30k.json."""
    images = []
    for number, (name, split) in enumerate(names_and_splits):
        sentences = [
            {"raw": f"Sentence {k} of {name}.", "tokens": ["sentence"], "imgid": number, "sentid": 5 * number + k}
            for k in range(5)
        ]
        ids = [one["sentid"] for one in sentences]
        images.append({"imgid": number, "filename": name, "split": split, "sentids": ids, "sentences": sentences})
    return {"dataset": "flickr30k", "images": images}


def kaggle_csv(names, *, broken=None):
    """As in results.csv: blanks behind the bars; of the broken picture the fifth row lacks its bar."""
    lines = ["image_name| comment_number| comment"]
    for name in names:
        for k in range(5):
            bar = "   " if name == broken and k == 4 else "| "
            lines.append(f"{name}| {k}{bar}A dog {k} runs across the grass , {name} .")
    return "\n".join(lines) + "\n"


def flickr8k_table(names):
    """As in Kaggle's captions.txt: commas and quotes in the sentences."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["image", "caption"])
    table.writerows([name, f'A "big" dog , number {k} .'] for name in names for k in range(5))
    return stream.getvalue()


def flickr8k_tokens(names):
    """As in Flickr8k.token.txt, with the picture that does not exist."""
    phantom = "2258277193_586949ec62.jpg.1"
    return "".join(f"{name}#{k}\tA dog , number {k} .\n" for name in [*names, phantom] for k in range(5))
