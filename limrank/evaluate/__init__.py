"""What runs are worth: trec_eval's measures, and whether a difference is more than chance."""

from __future__ import annotations

from limrank.evaluate._ranx import to_ranx_report
from limrank.evaluate.comparison import Comparison, Difference, compare
from limrank.evaluate.measures import DEFAULT
from limrank.evaluate.scores import Scores, evaluate

__all__ = ["DEFAULT", "Comparison", "Difference", "Scores", "compare", "evaluate", "to_ranx_report"]
