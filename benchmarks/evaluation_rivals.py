"""What the evaluation is timed beside: the public evaluators where they lie on this disk, and naive ones of our own.

Nothing of the peers is part of this repository. `--peers FOLDER` names a folder with checkouts of
KaiyangZhou/deep-person-reid and anosorae/IRRA, called `deep-person-reid` and `IRRA`; the compiled evaluator of the
first counts only if it has been built there (python setup.py build_ext --inplace, in torchreid/metrics/rank_cylib).
Without them the naive ones remain: they do what the peers do, in the same shape.

Each rival is given scores and labels as (queries, gallery), and returns [R@1, R@5, R@10, mAP].
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from pathlib import Path

import numpy as np


def pure_python(scores, asked, labels, places):
    """For each query, lists over the whole gallery: the shape of the public pure-Python evaluators."""
    order = np.argsort(-scores, axis=1)
    results = []
    for row, ranked in enumerate(order):
        keep = [True for _ in ranked]
        if places:
            keep = [
                not (labels[g] == asked[row] and places["gallery_cameras"][g] == places["query_cameras"][row])
                for g in ranked
            ]
        matches = [int(labels[g] == asked[row]) for g, kept in zip(ranked, keep, strict=True) if kept]
        if not any(matches):
            continue
        found, precisions, first = 0, [], None
        for place, match in enumerate(matches):
            found += match
            if match:
                precisions.append(found / (place + 1))
                first = place if first is None else first
        results.append([first < 1, first < 5, first < 10, np.mean(precisions)])
    return np.mean(results, axis=0).tolist()


def full_sort(scores, asked, labels, places):
    """Sort every row whole, then arithmetic on the (Q, G) matrix of matches, as vectorised evaluators do."""
    order = np.argsort(-scores, axis=1)
    matches = labels[order] == asked[:, None]
    rank = np.broadcast_to(np.arange(1, matches.shape[1] + 1), matches.shape)
    if places:
        kept = ~(matches & (places["gallery_cameras"][order] == places["query_cameras"][:, None]))
        matches &= kept
        rank = np.cumsum(kept, axis=1)
    found = np.cumsum(matches, axis=1)
    total = found[:, -1]
    valid = total > 0
    precision = np.where(matches, found / np.maximum(rank, 1), 0).sum(axis=1)[valid] / total[valid]
    first = np.take_along_axis(rank, matches.argmax(axis=1)[:, None], axis=1)[valid, 0]
    return [*(float((first <= k).mean()) for k in (1, 5, 10)), float(precision.mean())]


def torchreid(peers: Path | None) -> dict:
    """Name -> evaluator, of those of torchreid that are there."""
    folder = peers / "deep-person-reid" / "torchreid" / "metrics" if peers else None
    if folder is None or not folder.is_dir():
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it found no compiled evaluator; that is loaded below
        python = load(folder / "rank.py", "torchreid_rank").evaluate_py
    found = {"torchreid, pure Python": in_its_words(python)}
    built = sorted((folder / "rank_cylib").glob("rank_cy*.so"))
    if built:
        found["torchreid, compiled"] = in_its_words(load(built[0], "rank_cy").evaluate_cy)
    return found


def in_its_words(evaluate):
    """An evaluator of torchreid, which asks for distances; 50 places are its own default."""

    def evaluator(scores, asked, labels, places):
        cmc, mean = evaluate(1 - scores, asked, labels, places["query_cameras"], places["gallery_cameras"], 50, False)
        return [float(cmc[0]), float(cmc[4]), float(cmc[9]), float(mean)]

    return evaluator


def irra(peers: Path | None):
    """IRRA's `rank` as an evaluator of features, or None.

    It asks for some 12 GB at ICFG-PEDES size, so it is given an eighth of the queries at a time, which changes none of
    its figures and costs it nothing.
    """
    path = peers / "IRRA" / "utils" / "metrics.py" if peers else None
    if path is None or not path.is_file():
        return None
    import torch

    table = types.ModuleType("prettytable")  # only its own report needs it
    table.PrettyTable = object
    sys.modules.setdefault("prettytable", table)
    rank = load(path, "irra_metrics").rank

    def evaluator(queries, gallery, asked, labels):
        left, right, people, owners = (torch.from_numpy(array) for array in (queries, gallery, asked, labels))
        step = -(-len(asked) // 8)
        parts = []
        for first in range(0, len(asked), step):
            similarity = left[first : first + step] @ right.t()
            cmc, mean, _, _ = rank(similarity, people[first : first + step], owners, max_rank=10, get_mAP=True)
            parts.append([float(cmc[0]), float(cmc[4]), float(cmc[9]), float(mean)])
        weights = [len(asked[first : first + step]) for first in range(0, len(asked), step)]
        return (np.average(parts, axis=0, weights=weights) / 100).tolist()

    return evaluator


def load(path: Path, name: str):
    """A module from a file, without the package around it."""
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
