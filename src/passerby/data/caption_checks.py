"""What is wrong with captions: none, no text, too long, and the same sentence about different people.

Published sets hold fragments of program code, characters of other scripts and sentences that were pasted onto dozens
of people. They are reported, never repaired: figures are comparable only if everybody reads the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from passerby.data.findings import Finding, finding
from passerby.data.readers.source import Source, silent

#: What program code looks like and sentences do not; "jacket.He" and "coat(blue)" are sentences.
_CODE = re.compile(
    r"\b(?:def|class|lambda|elif)\s+\w+\s*[(:]"  # a definition
    r"|\bimport\s+\w+\s*$|\bfrom\s+[\w.]+\s+import\b"  # an import
    r"|\w+\.\w+\([^)]*\)|\bprint\s*\(|\bself\s*\.\s*\w"  # a call
    r"|\w+\s*(?:[=!+\-*/<>]=|:=|->|=>)\s*\w|\w+\s=\s\w|\w=\w"  # a comparison or an assignment
    r"|\w\[[^\]]*\]|[{}]|;\s*$|</?\w+>|\\[nt]"  # brackets, ends of statements, markup
)
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_LETTER = re.compile(r"[^\W\d_]")
#: The pieces that CLIP's tokenizer never joins: runs of letters, single digits, runs of anything else.
_PIECE = re.compile(r"[^\W\d_]+|\d|(?:[^\w\s]|_)+")
_START_AND_END = 2
_BLANKS = re.compile(r"\s{2,}|[\r\n\t]")


def caption_findings(source: Source, most_tokens: int) -> Iterator[Finding]:
    """Check all captions of a data set; nothing comes of one that has none.

    Args:
        source: the data set.
        most_tokens: length of the text that the model reads, start and end included.
    """
    captions = [(row.image, text) for row in source.rows for text in row.captions]
    mute = [row.image for row in silent(source)]
    if not captions and not mute:
        return
    total = len(captions)
    advice = "write a sentence, or take the picture out of the list"
    yield finding("pictures with an empty caption, or none", "fatal", mute, len(source.rows), advice)
    yield _shared(source, total)
    yield finding(
        "captions that look like program code",
        "warning",
        [_quoted(*one) for one in captions if _CODE.search(one[1])],
        total,
        "kept as published; a model learns nothing from them, and a query of code finds nobody",
    )
    yield finding(
        "captions with CJK characters, or without a letter",
        "warning",
        [_quoted(*one) for one in captions if one[1].strip() and not is_latin_text(one[1])],
        total,
        "kept as published; English tokenizers read them as noise",
    )
    yield finding(
        "captions that are cut",
        "warning",
        [_quoted(*one) for one in captions if least_tokens(one[1]) > most_tokens],
        total,
        f"the model reads the first {most_tokens} tokens only; shorten them, or train with a longer text",
        f"over {most_tokens} tokens by the least possible count: words, digits, runs of other marks, start and end",
    )
    yield finding(
        "captions with line breaks or runs of blanks",
        "note",
        [_quoted(*one) for one in captions if _BLANKS.search(one[1].strip())],
        total,
        "nothing to do: tokenizers fold them",
    )


def _shared(source: Source, total: int) -> Finding:
    """Sentences about several people, or, where there are no people, about several pictures."""
    by_person = any(row.person_id is not None for row in source.rows)
    owners: dict[str, set[str]] = {}
    for row in source.rows:
        for text in row.captions:
            owner = row.image if not by_person or row.person_id is None else f"person {row.person_id}"
            owners.setdefault(_folded(text), set()).add(owner)
    shares = []
    found: list[str] = []
    for name, rows in source.by_split().items():
        texts = [text for row in rows for text in row.captions]
        again = [text for text in texts if len(owners[_folded(text)]) > 1]
        found += again
        if texts:
            shares.append(f"{name} {100 * len(again) / len(texts):.2f} %")
    worst = sorted(set(map(_folded, found)), key=lambda text: (-len(owners[text]), text))
    noun = "people" if by_person else "pictures"
    examples = [f"{len(owners[text])} {noun}: {text[:80]!r}" for text in worst]
    one = finding(
        f"captions shared by several {noun}",
        "warning",
        found,
        total,
        "such a query has several right answers and is granted one: R@1 of 100 is out of reach",
        ", ".join(shares),
    )
    return Finding(one.check, one.level, one.count, one.of, tuple(examples[:3]), one.advice, one.detail)


def is_latin_text(text: str) -> bool:
    """Whether a caption has a letter and no character of Chinese, Japanese or Korean."""
    return bool(_LETTER.search(text)) and not _CJK.search(text)


def least_tokens(text: str) -> int:
    """The fewest tokens that CLIP's tokenizer can make of a text, start and end included.

    It never joins words, digits and other marks, so that their number is a lower bound; rare words take more.
    """
    return len(_PIECE.findall(text)) + _START_AND_END


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _quoted(image: str, text: str) -> str:
    return f"{image}: {text[:80]!r}"
