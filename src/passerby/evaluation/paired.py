"""The paired-batch protocol, kept to compare with two reports that used it, and kept apart from everything else.

Its figures have names of their own, stand beside what duplicated rows alone decide, and come with a warning; they are
no `Report`, so no table of honest figures can take them.

Axes: N pairs of a caption and its picture, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passerby.evaluation.leaks import duplicate_diagnosis
from passerby.metrics.paired import duplicate_ceiling, duplicate_floor, paired_chance, paired_recall

_KS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class PairedReport:
    """Paired-batch figures with what they are worth.

    Attributes:
        name: what was evaluated.
        figures: ``paired_recall@k`` in percent.
        ceilings: what a perfect matcher of pictures reaches, in percent; the same keys.
        chance: what a random order reaches, in percent; the same keys.
        loss: the validation loss over the same batches; None where it was not measured.
        floor: what a soft-target loss cannot fall below.
        rows: pairs.
        pictures: distinct pictures, counted batch by batch.
        batch: rows of a batch.
        diagnoses: what the duplicates say about the figures.
    """

    name: str
    figures: Mapping[str, float]
    ceilings: Mapping[str, float]
    chance: Mapping[str, float]
    loss: float | None
    floor: float
    rows: int
    pictures: int
    batch: int
    diagnoses: Sequence[str]

    warning: ClassVar[str] = (
        "Paired-batch figures: the gallery is the query's own validation batch, its rows repeat, and only the row of "
        "the query's own caption counts. They cannot be compared with retrieval from a gallery."
    )

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, the warning among them."""
        return {
            "protocol": "paired-batch",
            "warning": self.warning,
            "name": self.name,
            **self.figures,
            "ceilings": dict(self.ceilings),
            "chance": dict(self.chance),
            "loss": self.loss,
            "loss_floor": self.floor,
            "rows": self.rows,
            "pictures": self.pictures,
            "batch": self.batch,
            "diagnoses": list(self.diagnoses),
        }


def paired_report(
    texts: NDArray[np.floating],
    images: NDArray[np.floating],
    pictures: ArrayLike,
    batch: int,
    *,
    name: str = "model",
    loss: float | None = None,
) -> PairedReport:
    """Judge pairs batch by batch, in the order in which they come.

    Args:
        texts: vectors of the captions; row i belongs to row i of `images`.
        images: vectors of the pictures, one row for each caption.
        pictures: which picture each row shows.
        batch: rows of a batch.
        name: label of the report.
        loss: soft-target loss over the same batches, mean over rows.

    Shape:
        texts (N, D), images (N, D), pictures (N,).

    Raises:
        DataError: shapes differ, there are no rows, or a vector is not finite.
    """
    found = paired_recall(texts, images, batch, _KS)
    ceilings = {k: duplicate_ceiling(pictures, batch, k) for k in _KS}
    rows = len(texts)
    distinct = round(ceilings[1] * rows)
    return PairedReport(
        name=name,
        figures={key: 100 * value for key, value in found.items()},
        ceilings={f"paired_recall@{k}": 100 * value for k, value in ceilings.items()},
        chance={f"paired_recall@{k}": 100 * paired_chance(rows, batch, k) for k in _KS},
        loss=loss,
        floor=duplicate_floor(pictures, batch),
        rows=rows,
        pictures=distinct,
        batch=batch,
        diagnoses=duplicate_diagnosis(found["paired_recall@1"], distinct, rows, loss),
    )


def paired_markdown(reports: Sequence[PairedReport]) -> str:
    """A Markdown table in which each figure stands beside its ceiling, with the warning above it."""
    lines = [
        f"> {PairedReport.warning}",
        "",
        "| | rows in a batch | " + " | ".join(f"paired_recall@{k} (ceiling)" for k in _KS) + " | loss (floor) |",
        "|---|---:|" + "---:|" * (len(_KS) + 1),
    ]
    for report in reports:
        cells = [f"{report.figures[key]:.2f} ({report.ceilings[key]:.2f})" for key in report.figures]
        loss = "–" if report.loss is None else f"{report.loss:.2f}"
        name = report.name.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {name} | {report.batch} | {' | '.join(cells)} | {loss} ({report.floor:.2f}) |")
    for report in reports:
        lines += [f"\n{report.name}: {diagnosis}." for diagnosis in report.diagnoses]
    return "\n".join(lines)
