"""Numbers that carry their protocol: encode a split once, judge it, report it.

report = evaluate(model, dataset.split("test"), find_protocol("text-to-image", selection_split="val"))
report.r1, report.to_json()
"""

from passerby.evaluation.branches import split_branches
from passerby.evaluation.evaluate import (
    evaluate,
    evaluate_chance,
    evaluate_features,
    evaluate_scores,
    rank_task,
    score_blocks,
)
from passerby.evaluation.features import Encoder, Features, encode_split
from passerby.evaluation.multi_query import pool_queries
from passerby.evaluation.protocol import PROTOCOLS, Protocol, find_protocol, natural_protocol
from passerby.evaluation.report import FIGURES, Report
from passerby.evaluation.reranking import ReRanking, find_reranking
from passerby.evaluation.scoring import Scoring, dot_product
from passerby.evaluation.several_splits import mean_report
from passerby.evaluation.tables import latex_rows, markdown_table, rich_table
from passerby.evaluation.task import Task, gallery_vectors, query_vectors, set_up

__all__ = [
    "FIGURES",
    "PROTOCOLS",
    "Encoder",
    "Features",
    "Protocol",
    "ReRanking",
    "Report",
    "Scoring",
    "Task",
    "dot_product",
    "encode_split",
    "evaluate",
    "evaluate_chance",
    "evaluate_features",
    "evaluate_scores",
    "find_protocol",
    "find_reranking",
    "gallery_vectors",
    "latex_rows",
    "markdown_table",
    "mean_report",
    "natural_protocol",
    "pool_queries",
    "query_vectors",
    "rank_task",
    "rich_table",
    "score_blocks",
    "set_up",
    "split_branches",
]
