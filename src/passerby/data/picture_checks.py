"""What is wrong with the files of pictures: missing, unreadable, or the same file under two names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from passerby.data.findings import Finding, finding
from passerby.data.images import decode_image, read_image_file
from passerby.data.readers.source import Source, SourceRow, leads_out, missing
from passerby.errors import DataError

Progress = Callable[[int, int], None]

#: Pictures between two reports of progress.
_STEP = 64


def picture_findings(source: Source, sample: int | None, seed: int, progress: Progress | None) -> Iterator[Finding]:
    """Check the files of a data set's pictures.

    Args:
        source: the data set.
        sample: how many pictures are decoded, drawn by the seed; None for all.
        seed: decides which.
        progress: called with (done, total).
    """
    rows = {row.image: row for row in source.rows if source.own or not leads_out(row.image)}
    absent = missing(source)
    again = "correct the list" if source.own else "unpack the archive again"
    advice = f"{again}, so that they lie in {source.pictures}"
    yield finding("missing pictures", "fatal", absent, len(rows), advice)
    present = sorted(set(rows) - set(absent))
    chosen = present
    if sample is not None and sample < len(present):
        drawn = np.random.default_rng(seed).choice(len(present), sample, replace=False)
        chosen = [present[position] for position in sorted(drawn.tolist())]
    alike = _same_sizes(source.pictures, present)
    total = len(chosen) + sum(map(len, alike))
    broken = _unreadable(source.pictures, chosen, progress, total)
    detail = (
        "" if len(chosen) == len(present) else f"{len(chosen):,} of {len(present):,} were decoded; --all decodes all"
    )
    advice = "copy them again from the archive; training stops at the first one"
    yield finding("unreadable pictures", "fatal", broken, len(chosen), advice, detail)
    yield from _duplicate_findings(source, rows, alike, (progress, len(chosen), total))


def _unreadable(folder: Path, images: Sequence[str], progress: Progress | None, total: int) -> list[str]:
    def problem(image: str) -> str | None:
        try:
            decode_image(folder / image, name=image)
        except DataError as error:
            return str(error)
        return None

    found = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        for number, message in enumerate(threads.map(problem, images), 1):
            if message is not None:
                found.append(message)
            if progress and number % _STEP == 0:
                progress(number, total)
    return found


def _same_sizes(folder: Path, images: Sequence[str]) -> list[list[str]]:
    """Pictures whose files have the same number of bytes: only they can be the same."""
    by_size: dict[int, list[str]] = {}
    for image in images:
        try:
            by_size.setdefault((folder / image).stat().st_size, []).append(image)
        except OSError:  # a link to nowhere is unreadable, which another check says
            continue
    return [images for images in by_size.values() if len(images) > 1]


def _duplicate_findings(
    source: Source, rows: dict[str, SourceRow], alike: list[list[str]], counter: tuple[Progress | None, int, int]
) -> Iterator[Finding]:
    """Equal files: as a leak where they are in two splits, as a contradiction where they are two people."""
    progress, done, total = counter
    leaks, contradictions, copies = [], [], []
    for images in alike:
        by_digest: dict[bytes, list[str]] = {}
        for image in images:
            try:
                digest = hashlib.sha256(read_image_file(source.pictures / image)).digest()
            except DataError:  # unreadable, as above
                continue
            by_digest.setdefault(digest, []).append(image)
        done += len(images)
        if progress:
            progress(done, total)
        for same in by_digest.values():
            for image in same[1:]:
                first, again = rows[same[0]], rows[image]
                label = f"{image} is {same[0]}"
                if first.split != again.split:
                    leaks.append(f"{label} ({again.split} and {first.split})")
                elif None not in (first.person_id, again.person_id) and first.person_id != again.person_id:
                    contradictions.append(f"{label} (people {again.person_id} and {first.person_id})")
                else:
                    copies.append(label)
    advice = "the same picture is trained on and tested on: take it out of one split"
    yield finding("equal files in two splits", "warning", leaks, len(rows), advice)
    advice = "one picture cannot show two people: correct one of them"
    yield finding("equal files of two people", "warning", contradictions, len(rows), advice)
    advice = "nothing to do for published sets; in your own, keep one"
    yield finding("equal files of one person", "note", copies, len(rows), advice)
