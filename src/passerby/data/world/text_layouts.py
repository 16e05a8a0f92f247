"""Layouts of the data sets that describe pictures in words: RSTPReid, CUHK-PEDES, ICFG-PEDES, Flickr30k and Flickr8k.

Names, fields and oddities are those of the published files: ids that start at 1, folders called after other splits,
tokens without their punctuation, captions numbered in the same column, a row that lacks a separator.
"""

from __future__ import annotations

import csv
import io
import json
import string
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from passerby.data.world.layout import ONE_SPLIT, TWO_SPLITS, Entry, Layout, Sighting

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PHANTOM = "2258277193_586949ec62.jpg.1"  # in Flickr8k's list of sentences, and no file
_TIMES = ("morning", "noon", "afternoon")  # parts of the day in the names of MSMT17


def tokens(text: str) -> list[str]:
    """Words as the published files have them: lower case, punctuation deleted, so "T-shirt," is "tshirt"."""
    return text.lower().translate(_NO_PUNCTUATION).split()


def msmt_name(sighting: Sighting, person: int, frame: int) -> str:
    """A name of MSMT17, which ICFG-PEDES took over: person, index, camera, date and part of day, frame, box."""
    part = _TIMES[sighting.number % len(_TIMES)]
    return f"{person:04d}_{sighting.number:03d}_{sighting.camera + 1:02d}_0303{part}_{frame:04d}_0.jpg"


def _rstpreid_id(sighting: Sighting, frame: int) -> str:
    """Zero-padded person, camera from 1, zero-padded frame: "0000_c14_0031.jpg"."""
    return f"{sighting.person:04d}_c{sighting.camera + 1:02d}_{frame:04d}.jpg"


def _rstpreid(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """One line: a list of {id, img_path, captions, split}."""
    del defects
    rows = [
        {
            "id": entry.sighting.person,
            "img_path": entry.image_id,
            "captions": list(entry.captions),
            "split": entry.sighting.split,
        }
        for entry in entries
    ]
    return {"data_captions.json": json.dumps(rows)}


def _cuhk_pedes_id(sighting: Sighting, frame: int) -> str:
    """A folder and a format for each of the sets that CUHK-PEDES was put together from."""
    person, number = sighting.person, sighting.number
    if person % 4 == 0:
        return f"CUHK01/{person:04d}{number + 1:03d}.png"
    if person % 4 == 1:
        return f"Market/{person:04d}_c{sighting.camera + 1}s1_{frame:06d}_00.jpg"
    if person % 4 == 2:
        return f"cam_{'ab'[number % 2]}/{person:03d}_{number * 45}.bmp"
    return f"{'train' if number % 2 else 'test'}_query/p{person}_s{frame}.jpg"


def _with_tokens(entry: Entry) -> dict[str, Any]:
    return {
        "split": entry.sighting.split,
        "captions": list(entry.captions),
        "file_path": entry.image_id,
        "processed_tokens": [tokens(text) for text in entry.captions],
        "id": entry.sighting.person,
    }


def _cuhk_pedes(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """`reid_raw.json`, and `caption_all.json` of the mailed archive, which numbers the same people otherwise."""
    del defects
    last = max(entry.sighting.person for entry in entries)
    mailed = [
        {"id": last + 1 - entry.sighting.person, "file_path": entry.image_id, "captions": list(entry.captions)}
        for entry in entries
    ]
    return {
        "reid_raw.json": json.dumps([_with_tokens(entry) for entry in entries]),
        "caption_all.json": json.dumps(mailed),
    }


def _cuhk_pedes_by_split(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """`train_reid.json`, `val_reid.json` and `test_reid.json`, as TBPS-CLIP has them."""
    del defects
    return {
        f"{split}_reid.json": json.dumps([_with_tokens(entry) for entry in entries if entry.sighting.split == split])
        for split in ("train", "val", "test")
    }


def _icfg_pedes_id(sighting: Sighting, frame: int) -> str:
    """The folder is MSMT17's, not the split: every fifth training person lies in `test/`."""
    folder = "test" if sighting.split == "test" or sighting.person % 5 == 4 else "train"
    return f"{folder}/{sighting.person:04d}/{msmt_name(sighting, sighting.person, frame)}"


def _icfg_pedes(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    del defects
    return {"ICFG-PEDES.json": json.dumps([_with_tokens(entry) for entry in entries])}


def _flickr_id(sighting: Sighting, frame: int) -> str:
    """Ten digits, which say nothing."""
    del frame
    return f"{1_000_000_000 + sighting.person * 1_000 + sighting.number}.jpg"


def _flickr8k_id(sighting: Sighting, frame: int) -> str:
    return f"{1_000_000_000 + sighting.person * 1_000 + sighting.number}_{frame:010x}.jpg"


def _karpathy(dataset: str) -> Callable[[Sequence[Entry], bool], dict[str, str]]:
    """`dataset_<name>.json`: one object of numbered pictures with numbered sentences."""

    def annotate(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
        del defects
        images, said = [], 0
        for number, entry in enumerate(entries):
            ids = list(range(said, said + len(entry.captions)))
            said += len(ids)
            sentences = [
                {"tokens": tokens(text), "raw": text, "imgid": number, "sentid": one}
                for one, text in zip(ids, entry.captions, strict=True)
            ]
            images.append(
                {
                    "sentids": ids,
                    "imgid": number,
                    "sentences": sentences,
                    "split": entry.sighting.split,
                    "filename": entry.image_id,
                }
            )
        return {f"dataset_{dataset}.json": json.dumps({"images": images, "dataset": dataset})}

    return annotate


def _kaggle_flickr30k(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """`results.csv` with its blanks after the bars; as a defect, the last row of one picture lacks its second bar."""
    lines = ["image_name| comment_number| comment"]
    for number, entry in enumerate(entries):
        for place, text in enumerate(entry.captions):
            broken = defects and number == len(entries) // 2 and place == len(entry.captions) - 1
            lines.append(f"{entry.image_id}| {place}{'  ' if broken else '|'} {text}")
    return {"results.csv": "\n".join(lines) + "\n"}


def _flickr8k(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """`Flickr8k.token.txt` and a list of names for each split; as a defect, five rows of a file that never was."""
    lines = [f"{entry.image_id}#{place}\t{text}" for entry in entries for place, text in enumerate(entry.captions)]
    if defects:
        lines += [f"{_PHANTOM}#{place}\t{text}" for place, text in enumerate(entries[0].captions)]
    files = {"Flickr8k.token.txt": "\n".join(lines) + "\n"}
    for split, called in (("train", "train"), ("val", "dev"), ("test", "test")):
        names = [entry.image_id for entry in entries if entry.sighting.split == split]
        files[f"Flickr_8k.{called}Images.txt"] = "".join(f"{name}\n" for name in names)
    return files


def _kaggle_flickr8k(entries: Sequence[Entry], defects: bool) -> dict[str, str]:
    """`captions.txt`: commas and quotes inside captions are quoted."""
    del defects
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "caption"])
    writer.writerows([entry.image_id, caption] for entry in entries for caption in entry.captions)
    return {"captions.txt": text.getvalue()}


#: Name -> layout.
TEXT_LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "rstpreid": Layout("rstpreid", "imgs", _rstpreid_id, _rstpreid, thumbs=("imgs",)),
        "cuhk-pedes": Layout(
            "cuhk-pedes", "imgs", _cuhk_pedes_id, _cuhk_pedes, first_person=1, thumbs=("imgs/Market",)
        ),
        "cuhk-pedes-by-split": Layout(
            "cuhk-pedes", "imgs", _cuhk_pedes_id, _cuhk_pedes_by_split, first_person=1, thumbs=("imgs/Market",)
        ),
        "icfg-pedes": Layout(
            "icfg-pedes", "imgs", _icfg_pedes_id, _icfg_pedes, TWO_SPLITS, captions=1, thumbs=("imgs",)
        ),
        "flickr30k": Layout(
            "flickr30k",
            "flickr30k-images",
            _flickr_id,
            _karpathy("flickr30k"),
            captions=5,
            thumbs=("flickr30k-images",),
        ),
        "flickr30k-kaggle": Layout(
            "flickr30k-8020",
            "flickr30k_images",
            _flickr_id,
            _kaggle_flickr30k,
            ONE_SPLIT,
            captions=5,
            thumbs=("flickr30k_images",),
        ),
        "flickr8k": Layout(
            "flickr8k", "Flicker8k_Dataset", _flickr8k_id, _flickr8k, captions=5, thumbs=("Flicker8k_Dataset",)
        ),
        "flickr8k-kaggle": Layout(
            "flickr8k-8020", "Images", _flickr8k_id, _kaggle_flickr8k, ONE_SPLIT, captions=5, thumbs=("Images",)
        ),
    }
)
