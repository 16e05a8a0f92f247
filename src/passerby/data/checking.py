"""What is wrong with a data set, all of it at once: for `passerby data check` and for whoever wants it in Python.

A reader stops at the first thing that would make a figure wrong; here every check is run and each finding says how
often, where first and what to do. "fatal" findings are those for which the reader refuses the data set, or on which
training would stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from passerby.data.caption_checks import caption_findings
from passerby.data.findings import Finding, finding
from passerby.data.picture_checks import picture_findings
from passerby.data.readers.source import (
    STREET_LICENCE,
    Counts,
    Source,
    SourceRow,
    count,
    crossing,
    differences,
    outside,
    repeated,
)

#: Pictures that are decoded when not all are.
SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Checkup:
    """The outcome of all checks of one data set.

    Attributes:
        source: what was checked.
        counts: what each split holds.
        findings: one for each check, those without a defect included, in a fixed order.
    """

    source: Source = field(repr=False)
    counts: Mapping[str, Counts]
    findings: tuple[Finding, ...]

    @property
    def is_fatal(self) -> bool:
        """Whether something must be put right before the data set can be used."""
        return any(one.level == "fatal" for one in self.findings)

    @property
    def title(self) -> str:
        """What people call the data set; a street is called one."""
        return f"Street in the layout of {self.source.title}" if self.source.is_street else self.source.title

    @property
    def licence(self) -> str:
        """The terms of use, in one line."""
        return STREET_LICENCE if self.source.is_street else self.source.licence

    @property
    def published(self) -> Mapping[str, Counts]:
        """Published counts to compare with; a street and one's own data have none."""
        return {} if self.source.is_street else self.source.published


def check(
    source: Source,
    *,
    sample: int | None = SAMPLE,
    most_tokens: int = 77,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Checkup:
    """Run every check on a data set.

    Args:
        source: what its reader's `source` gave.
        sample: how many pictures are decoded, drawn by the seed; None for all.
        most_tokens: length of the text that the model reads, 77 for CLIP; longer captions are counted.
        seed: decides which pictures are decoded.
        progress: called with (done, total) while pictures are read.
    """
    findings = (
        *_listing_findings(source),
        *_people_findings(source),
        *caption_findings(source, most_tokens),
        *picture_findings(source, sample, seed, progress),
    )
    return Checkup(source, {name: count(rows) for name, rows in source.by_split().items()}, findings)


def _listing_findings(source: Source) -> Iterator[Finding]:
    rows = source.by_split()
    if source.published and not source.is_street:
        off = [
            f"{name}: {', '.join(found)}"
            for name, published in source.published.items()
            if (found := differences(count(rows.get(name, [])), published))
        ]
        advice = "another release, or part of one: download it again, or figures cannot be compared with published ones"
        yield finding("splits with other counts than published", "fatal", off, len(source.published), advice)
    twice = [f"{image} ({times} times)" for image, times in repeated(source).items()]
    yield finding("pictures listed twice", "fatal", twice, len(source.rows), "keep one entry of each")
    advice = "do not use this file: it asks for pictures outside its folder"
    yield finding("paths that lead out of the folder", "fatal", outside(source), len(source.rows), advice)


def _people_findings(source: Source) -> Iterator[Finding]:
    people = {row.person_id for row in source.rows if row.person_id is not None and not row.junk}
    if not people:
        return
    both = [f"{person} in {' and '.join(splits)}" for person, splits in crossing(source).items()]
    advice = "whoever is tested on people seen in training measures memory: `passerby data split` deals them out anew"
    yield finding("people in more than one split", "fatal", both, len(people), advice)
    train = sorted({row.person_id for row in source.rows if row.split == "train" and row.person_id is not None})
    if train:
        gaps = [str(number) for number in sorted(set(range(train[0], train[-1] + 1)) - set(train))]
        advice = "nothing to do here; code that takes ids for class numbers breaks on it"
        yield finding("numbers without a person in train", "note", gaps, train[-1] - train[0] + 1, advice)
    queries = [row for row in source.rows if row.asks and row.person_id is not None and not row.junk]
    if queries:
        advice = "they have nothing to find and are left out of every mean; check camera numbers and the gallery"
        yield finding(
            "queries without a match by another camera", "warning", _unmatched(source, queries), len(queries), advice
        )


def _unmatched(source: Source, queries: Sequence[SourceRow]) -> list[str]:
    cameras: dict[tuple[str, int | None], set[str | None]] = {}
    for row in source.rows:
        if not row.asks and not row.junk:
            cameras.setdefault((row.split, row.person_id), set()).add(row.camera_id)
    return [
        query.image
        for query in queries
        if not any(
            camera is None or query.camera_id is None or camera != query.camera_id
            for camera in cameras.get((query.split, query.person_id), ())
        )
    ]
