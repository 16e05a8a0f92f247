"""`passerby evaluate`: what a model finds in a data set, with the protocol beside every figure.

The table goes to standard output, progress to standard error, so that `--json` can be piped. Chance is always shown
beside the model: a figure says little without what knowing nothing reaches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from passerby.cli.terminal import counting

if TYPE_CHECKING:
    from passerby.data.records import Dataset, Split
    from passerby.evaluation import Features, Protocol, Report, Scoring
    from passerby.evaluation.grounding import GroundingReport
    from passerby.retriever import Retriever

#: The split whose pictures are pooled under the multi-query protocol.
_MULTI_QUERY = "multi_query"

_Model: TypeAlias = Annotated[
    str, typer.Argument(help="A checkpoint folder, hf:org/name@rev or a shipped model's name.")
]
_Data: TypeAlias = Annotated[str, typer.Option(help="NAME:ROOT of a data set, for example rstpreid:street/.")]
_SplitName: TypeAlias = Annotated[str, typer.Option(help="The split to report; test-* is the mean over several.")]
_ProtocolName: TypeAlias = Annotated[
    str | None, typer.Option(help="Who asks, who is searched, what is a hit; what the data call for by default.")
]
_SameCamera: TypeAlias = Annotated[
    Literal["counted", "junk"] | None,
    typer.Option(help="What pictures of the person by the query's own camera are; the protocol's rule by default."),
]
_Precision: TypeAlias = Annotated[Literal["step", "trapezoid"], typer.Option(help="Definition of average precision.")]
_Ties: TypeAlias = Annotated[
    Literal["expected", "optimistic", "pessimistic"], typer.Option(help="How equal scores are ordered.")
]
_SelectedOn: TypeAlias = Annotated[
    str | None, typer.Option(help="The split that the model was chosen on, stamped into the report.")
]
_AllowTest: TypeAlias = Annotated[
    bool, typer.Option("--allow-test-selection", help="Admit that it was chosen on the split reported.")
]
_Flip: TypeAlias = Annotated[bool, typer.Option("--flip", help="Encode each picture and its mirror, and add both.")]
_Device: TypeAlias = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where scores are computed; auto takes a GPU that is in use.")
]
_Rerank: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--rerank",
        help="Also report after re-ranking: k-reciprocal or aqe, with options as in k-reciprocal:k1=20,mode=gallery. "
        "May be repeated.",
    ),
]
_Baseline: TypeAlias = Annotated[bool, typer.Option("--colour-baseline", help="Also report what colours alone find.")]
_Sheets: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder for ranked-list pictures of good, median and bad queries.")
]
_Grounding: TypeAlias = Annotated[
    bool, typer.Option("--grounding", help="Also report whether the model looks at what is described; needs masks.")
]
_Oracle: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--mixture-oracle",
        help="Also report the mixing weight of two branches that is best on this split itself, which is not a result.",
    ),
]
_Seed: TypeAlias = Annotated[int, typer.Option(help="Of the bootstrap intervals and of drawn galleries.")]
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")]
_Markdown: TypeAlias = Annotated[bool, typer.Option("--markdown", help="Print the reports as a Markdown table.")]
_Latex: TypeAlias = Annotated[bool, typer.Option("--latex", help="Print the reports as rows of a LaTeX table.")]


def evaluate(
    model: _Model,
    data: _Data,
    split: _SplitName = "test",
    protocol: _ProtocolName = None,
    same_camera: _SameCamera = None,
    precision: _Precision = "step",
    ties: _Ties = "expected",
    selected_on: _SelectedOn = None,
    allow_test_selection: _AllowTest = False,
    flip: _Flip = False,
    device: _Device = "auto",
    rerank: _Rerank = None,
    colour_baseline: _Baseline = False,
    sheets: _Sheets = None,
    grounding: _Grounding = False,
    mixture_oracle: _Oracle = False,
    seed: _Seed = 0,
    as_json: _Json = False,
    as_markdown: _Markdown = False,
    as_latex: _Latex = False,
) -> None:
    """Evaluate a model on a split of a data set: R@K, mAP and mINP, with intervals and protocol."""
    from passerby.data.readers import open_dataset
    from passerby.errors import ConfigError
    from passerby.evaluation import dot_product, evaluate_chance, find_protocol, mean_report, natural_protocol
    from passerby.evaluation.reranking import find_reranking
    from passerby.retriever import load

    rerankings = {text: find_reranking(text).scoring() for text in rerank or ()}
    dataset = open_dataset(data)
    parts = _splits(dataset, split)
    judged = [
        (
            part,
            find_protocol(
                protocol or natural_protocol(part),
                report_split=part.name,
                selection_split=selected_on,
                same_camera=same_camera,
                precision=precision,
                ties=ties,
                allow_test_selection=allow_test_selection,
            ),
        )
        for part in parts
    ]
    # Chance needs no model, and refuses a split with nothing to find before minutes are spent on encoding it.
    chance = [evaluate_chance(part, rules, dataset=dataset.name) for part, rules in judged]
    scoring, several = dot_product(device), len(parts) > 1
    if mixture_oracle and several:
        raise ConfigError(f"--mixture-oracle chooses a weight on one split, and {split} names {len(parts)}; name one")
    work = _Work(
        load(model), dataset, scoring, rerankings, flip, seed, colour_baseline, mixture_oracle, sheets, several
    )
    for part, rules in judged:
        work.judge(part, rules)
    reports: dict[str, Report] = {key: mean_report(found) for key, found in {**work.found, "chance": chance}.items()}
    looked = _ground(work.model, dataset, parts[0], reports["model"].r1) if grounding else None
    if as_json:
        plain: dict[str, object] = {key: report.as_dict() for key, report in reports.items()}
        plain |= {"grounding": looked.as_dict()} if looked else {}
        typer.echo(json.dumps({**plain, "sheets": {name: str(path) for name, path in work.sheets.items()}}, indent=2))
    elif as_markdown or as_latex:
        from passerby.evaluation import latex_rows, markdown_table

        typer.echo((markdown_table if as_markdown else latex_rows)(list(reports.values())))
    else:
        _show(reports, work.sheets, f"{dataset.name}, split {split}, in per cent")
    if looked and not as_json:
        _show_grounding(looked)


@dataclass
class _Work:
    """One evaluation under way: what was asked for, and what has been found so far."""

    model: Retriever
    dataset: Dataset
    scoring: Scoring
    rerankings: Mapping[str, Scoring]
    flip: bool
    seed: int
    colour_baseline: bool
    mixture_oracle: bool
    folder: Path | None
    several: bool
    found: dict[str, list[Report]] = field(default_factory=dict)
    sheets: dict[str, Path] = field(default_factory=dict)
    _pool: Features | None = None

    def judge(self, part: Split, rules: Protocol) -> None:
        """Encode a split once; report on the model, re-ranked where asked, on its branches, and on the baseline."""
        from passerby.evaluation import split_branches
        from passerby.evaluation.mixture_oracle import refuse_single_branch

        branches = getattr(self.model, "branches", {})
        if self.mixture_oracle:
            refuse_single_branch(self.model.name, branches)
        features = self._features(part, rules)
        self._report("model", features, part, rules, self.scoring)
        for key, scoring in self.rerankings.items():
            self._report(key, features, part, rules, scoring, scoring.name)
        for key, vectors in split_branches(features, branches).items():
            self._report(key, vectors, part, rules, self.scoring, key)
        if self.mixture_oracle:
            self._report_oracle(features, part, rules, branches)
        if self.colour_baseline:
            from passerby.evaluation.colour_baseline import evaluate_colour_baseline

            baseline = evaluate_colour_baseline(part, rules, dataset=self.dataset.name, seed=self.seed)
            self.found.setdefault("colour_baseline", []).append(baseline)
        if self.folder is not None:
            self._draw(features, part, rules, self.folder)

    def _report(
        self, key: str, features: Features, part: Split, rules: Protocol, scoring: Scoring, row: str = ""
    ) -> None:
        from passerby.evaluation import evaluate_features

        report = evaluate_features(
            features,
            part,
            rules,
            name=f"{self.model.name}, {row}" if row else self.model.name,
            dataset=self.dataset.name,
            fingerprint=self.model.fingerprint,
            trained_on=self.model.trained_on,
            seed=self.seed,
            scoring=scoring,
        )
        self.found.setdefault(key, []).append(report)

    def _report_oracle(
        self, features: Features, part: Split, rules: Protocol, branches: Mapping[str, tuple[int, int]]
    ) -> None:
        from passerby.evaluation.mixture_oracle import evaluate_mixture_oracle

        report = evaluate_mixture_oracle(
            features,
            part,
            rules,
            branches,
            name=self.model.name,
            dataset=self.dataset.name,
            fingerprint=self.model.fingerprint,
            trained_on=self.model.trained_on,
            seed=self.seed,
            scoring=self.scoring,
        )
        self.found.setdefault("mixture_oracle", []).append(report)

    def _features(self, part: Split, rules: Protocol) -> Features:
        from passerby.evaluation import pool_queries

        features = self._encode(part, texts="text" in (rules.query, rules.gallery))
        if not rules.multi_query:
            return features
        pictures = self.dataset.split(_MULTI_QUERY)
        self._pool = self._pool or self._encode(pictures, texts=False)
        return pool_queries(features, part, self._pool.images, pictures)

    def _encode(self, part: Split, *, texts: bool) -> Features:
        """Encode pictures, and captions where the protocol needs them, under one bar."""
        from passerby.evaluation import encode_split

        first_of = {"images": 0, "captions": len(part.images)}
        total = len(part.images) + (len(part.captions) if texts else 0)
        with counting("encoding", "items") as count:
            return encode_split(
                self.model,
                part,
                with_captions=texts,
                flip=self.flip,
                progress=lambda kind, done, _: count(first_of[kind] + done, total, kind),
            )

    def _draw(self, features: Features, part: Split, rules: Protocol, folder: Path) -> None:
        from passerby.evaluation.ranked_sheets import write_ranked_sheets

        place = folder / part.name if self.several else folder
        scoring = None if self.scoring.name == "dot product" else self.scoring
        for name, path in write_ranked_sheets(features, part, rules, place, scoring=scoring).items():
            self.sheets[f"{part.name}: {name}" if self.several else name] = path


def _ground(model: Retriever, dataset: Dataset, part: Split, r1: float) -> GroundingReport:
    from passerby.evaluation.grounding import evaluate_grounding

    with counting("looking", "pictures") as count:
        return evaluate_grounding(
            model.explainer,
            dataset.root,
            part,
            name=model.name,
            r1=r1,
            progress=lambda done, total: count(done, total, ""),
        )


def _show_grounding(looked: GroundingReport) -> None:
    """Every mechanism with its measures, then what each points at, part by part."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from passerby.evaluation.grounding import CHANCE, MEASURES

    names = sorted(looked.figures, key=lambda name: (name == CHANCE, -looked.figures[name]["pointing"]))
    phrases, r1 = sum(looked.phrases.values()), "" if looked.r1 is None else f", R@1 {looked.r1:.1f}"
    title = f"grounding of {phrases:,} phrases in {looked.pictures:,} pictures, in per cent{r1}"
    whole = Table("mechanism", box=box.SIMPLE_HEAD, title=title)
    for heading in MEASURES.values():
        whole.add_column(heading, justify="right")
    for name in names:
        whole.add_row(name, *(f"{looked.figures[name][key]:.1f}" for key in MEASURES))
    shown = [*[name for name in names if name != CHANCE][:4], CHANCE]
    parts = Table("words about", "phrases", box=box.SIMPLE_HEAD, title="pointing game by part, in per cent")
    for name in shown:
        parts.add_column(name, justify="right")
    for part, count in looked.phrases.items():
        parts.add_row(part, f"{count:,}", *(f"{looked.by_class[name][part]['pointing']:.1f}" for name in shown))
    Console().print(whole, parts)


def _splits(dataset: Dataset, wanted: str) -> list[Split]:
    """The splits that a name or a pattern names, in the data set's order."""
    if not set("*?[") & set(wanted):
        return [dataset.split(wanted)]
    found = [part for name, part in dataset.splits.items() if fnmatchcase(name, wanted)]
    return found or [dataset.split(wanted)]  # which says that there is none, and what there is


def _show(reports: Mapping[str, Report], written: Mapping[str, Path], title: str) -> None:
    """The table, what has to be known about it, and where the sheets are."""
    from rich.console import Console

    from passerby.evaluation import rich_table

    console = Console()
    console.print(rich_table(list(reports.values()), title=title))
    notes = reports["model"].notes()
    if any(isfinite(low) for low, _ in reports["model"].intervals.values()):  # a mean over splits has none
        notes.append("below each figure: 95 % intervals, bootstrap by identity")
    if "mixture_oracle" in reports:
        notes.append(f"{reports['mixture_oracle'].warnings[-1]}; the model's own row is the one to report")
    for note in notes:
        console.print(f"  {note}", style="dim", highlight=False, markup=False)
    for name, path in written.items():
        console.print(f"  {name} queries: {path}", highlight=False, markup=False)
