"""What runs are worth: trec_eval's measures, and whether a difference is more than chance."""

from __future__ import annotations

from limrank.evaluate._ranx import from_ranx, to_ranx, to_ranx_report
from limrank.evaluate.averages import average, macro_average
from limrank.evaluate.comparison import Comparison, Difference, compare, compare_scores
from limrank.evaluate.instruction import evaluate_pairs, p_mrr
from limrank.evaluate.measures import DEFAULT
from limrank.evaluate.precision import Detectable
from limrank.evaluate.scores import Scores, evaluate

__all__ = [
    "DEFAULT",
    "Comparison",
    "Detectable",
    "Difference",
    "Scores",
    "average",
    "compare",
    "compare_scores",
    "evaluate",
    "evaluate_pairs",
    "from_ranx",
    "macro_average",
    "p_mrr",
    "to_ranx",
    "to_ranx_report",
]
