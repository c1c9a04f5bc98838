"""Rerank many queries over one language model.

A method is a generator for one query: it yields the requests it wants answered and is sent their answers, until it
returns its ranking. Knows nothing of prompts, scores or files, and leaves all concurrency to `limrank.llm._drive`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, get_args

from limrank.llm import LLM
from limrank.llm import _drive as driver
from limrank.records import Request, Response, Status
from limrank.rerank._ranking import Job, Ranking

Steps: TypeAlias = Generator[list[Request], list[Response], Ranking]
Method: TypeAlias = Callable[[Job], Steps]


@dataclass(frozen=True)
class Driven:
    """A reranker made of a language model and a method written for one query.

    Attributes:
        name: The method's.
        llm: Who answers.
        method: Makes the generator of a job.
        tally: What the method counts itself, such as answers that were malformed; the method's to write.
    """

    name: str
    llm: LLM
    method: Method
    tally: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> Mapping[str, int]:
        """The language model's counts, if it keeps any, and the method's own, which win where both count the same.

        An answer that the method could not use, or asked for again (`retried`), is not `ok`, whatever the model says of
        it: the statuses and `retried` are together as many as there were answers.
        """
        model: Mapping[str, int] = getattr(self.llm, "counts", {})
        both = {**model, **self.tally}
        if "ok" in model:
            others = sum(both.get(name, 0) for name in ("forced", "malformed", "failed", "retried"))
            both["ok"] = max(sum(model.get(status, 0) for status in get_args(Status)) - others, 0)
        return both

    def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
        """As `Reranker.rerank`."""
        return drive(self.llm, jobs, self.method)


def drive(llm: LLM, jobs: Iterable[Job], method: Method, *, open_queries: int = 256) -> Iterator[Ranking]:
    """Rankings in the order in which they get finished.

    Args:
        llm: Who answers.
        jobs: Pulled one by one, when the model has room and no begun query has anything to ask.
        method: Makes the generator of a job.
        open_queries: Begun and unfinished ones at a time; bounds the memory.

    Raises:
        LimrankError: The model stopped; answers that were recorded stay recorded.
    """
    return driver.drive(llm, jobs, method, label=lambda job: job.query.query_id, open_jobs=open_queries)
