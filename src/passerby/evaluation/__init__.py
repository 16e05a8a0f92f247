"""Numbers that carry their protocol: encode a split once, judge it, report it.

report = evaluate(model, dataset.split("test"), find_protocol("text-to-image", selection_split="val"))
report.r1, report.to_json()
"""

from passerby.evaluation.evaluate import (
    Task,
    evaluate,
    evaluate_chance,
    evaluate_features,
    evaluate_scores,
    query_vectors,
    set_up,
)
from passerby.evaluation.features import Encoder, Features, encode_split
from passerby.evaluation.protocol import PROTOCOLS, Protocol, find_protocol
from passerby.evaluation.report import FIGURES, Report, markdown_table, rich_table

__all__ = [
    "FIGURES",
    "PROTOCOLS",
    "Encoder",
    "Features",
    "Protocol",
    "Report",
    "Task",
    "encode_split",
    "evaluate",
    "evaluate_chance",
    "evaluate_features",
    "evaluate_scores",
    "find_protocol",
    "markdown_table",
    "query_vectors",
    "rich_table",
    "set_up",
]
