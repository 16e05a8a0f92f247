"""Flickr8k: 8,091 photographs of people and dogs, five sentences each; there are no identities.

Sentences come in `Flickr8k.token.txt` (picture#number, a tab, the sentence) or Kaggle's `captions.txt` (a table
whose sentences hold commas and quotes). The splits are three lists of names; 91 pictures are in none of them and are
kept as the split "unused". Source: Hodosh et al., JAIR (2013).
"""

from __future__ import annotations

from pathlib import Path

from passerby.data.readers.flickr30k import folder_of_pictures, splits_of
from passerby.data.readers.places import find_root, read_lines, read_table
from passerby.data.readers.source import Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.data.splitting import tutorial_split
from passerby.errors import DataError

TOKENS = "Flickr8k.token.txt"
TABLE = "captions.txt"
LISTS = {"train": "Flickr_8k.trainImages.txt", "val": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}
IMAGES = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "images")
UNUSED = "unused"

PUBLISHED = {
    "train": Counts(images=6000, captions=30000),
    "val": Counts(images=1000, captions=5000),
    "test": Counts(images=1000, captions=5000),
    UNUSED: Counts(images=91, captions=455),
}
PUBLISHED_8020 = {"train": Counts(images=6473, captions=32365), "val": Counts(images=1618, captions=8090)}

#: Five lines of `Flickr8k.token.txt` are about this name, which is no file and stands beside the picture it copies.
PHANTOM = "2258277193_586949ec62.jpg.1"


def read(root: Path, *, by_seed: bool = False) -> Dataset:
    """Open Flickr8k, or a street in its layout.

    Args:
        root: the folder with the sentences, the lists of the splits and the folder of pictures.
        by_seed: split 80/20 by picture, as for Flickr30k, instead of by the lists.

    Raises:
        DataError: a file is missing, damaged or not what it should be; the message says what, where and what to do.
    """
    return assemble(source(root, by_seed=by_seed))


def source(root: Path, *, by_seed: bool = False) -> Source:
    """What the files of Flickr8k say, defects included.

    Raises:
        DataError: the sentences or the lists are missing or cannot be read.
    """
    root = find_root(root, (TOKENS, TABLE), f"{TOKENS} or {TABLE} and the pictures of Flickr8k")
    notes: list[str] = []
    if (root / TOKENS).is_file():
        path = root / TOKENS
        sentences = _sentences_of_tokens(path)
        if sentences.pop(PHANTOM, None):
            notes.append(f"{TOKENS} has sentences for {PHANTOM}, which is no picture of the set; left out")
    else:
        path = root / TABLE
        sentences = _sentences_of_table(path)
    if by_seed:
        home = tutorial_split(sorted(sentences))
        origin = "a fifth of the pictures is val, drawn with NumPy's seed 42"
        provenance = {"train": origin, "val": origin}
    else:
        home, provenance = _listed_splits(root), {UNUSED: "in none of the three lists"}
        unknown = sorted(set(home) - set(sentences))
        if unknown:
            raise DataError(
                f"{root / LISTS[home[unknown[0]]]} lists {unknown[0]}, which {path.name} has no sentence for"
            )
    rows = tuple(SourceRow(name, home.get(name, UNUSED), captions=tuple(texts)) for name, texts in sentences.items())
    return Source(
        name="flickr8k-8020" if by_seed else "flickr8k",
        title="Flickr8k",
        root=root,
        pictures=folder_of_pictures(root, IMAGES, rows),
        listing=path,
        rows=rows,
        licence="Flickr8k: non-commercial research and education, under Flickr's terms; by request form",
        published=PUBLISHED_8020 if by_seed else PUBLISHED,
        captioned=True,
        provenance=provenance,
        notes=tuple(notes),
    )


def _listed_splits(root: Path) -> dict[str, str]:
    absent = [name for name in LISTS.values() if not (root / name).is_file()]
    if absent:
        raise DataError(
            f"{root} has no {absent[0]}; expected the three lists of the splits beside the sentences. Kaggle's copy "
            f"has none: take them from Flickr8k_text.zip, or open it as flickr8k-8020"
        )
    return splits_of({split: root / name for split, name in LISTS.items()})


def _sentences_of_tokens(path: Path) -> dict[str, list[str]]:
    sentences: dict[str, list[str]] = {}
    for number, line in read_lines(path):
        key, tab, text = line.partition("\t")
        name, mark, which = key.strip().rpartition("#")
        if not tab or not mark or not which.isdecimal():
            raise DataError(f"{path}, line {number} is {line!r:.80}; expected PICTURE#NUMBER, a tab and a sentence")
        sentences.setdefault(name, []).append(text.strip())
    return sentences


def _sentences_of_table(path: Path) -> dict[str, list[str]]:
    heading, rows = read_table(path)
    if heading[:2] != ["image", "caption"]:
        raise DataError(f"{path} begins with {', '.join(heading)[:80]!r}; expected the columns image and caption")
    sentences: dict[str, list[str]] = {}
    for number, cells in rows:
        if len(cells) != len(heading):
            raise DataError(
                f"{path}, line {number} has {len(cells)} columns; expected {len(heading)}: a sentence with a comma "
                f"stands in quotes"
            )
        sentences.setdefault(cells[0].strip(), []).append(cells[1].strip())
    return sentences
