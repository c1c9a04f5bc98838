"""The answers about one document, or about several at once, as one account of what was said.

Knows nothing of queries, documents or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from limrank.records import Response, Status


class Said(NamedTuple):
    """What a language model said about the same documents, in one or many answers.

    Attributes:
        status: Of the last verdict; of the last answer where that is a failure, or where there is no verdict.
        log_odds: Of the first choice against the second, in nats; None where there are not two.
        thought: A thought in pieces is put together; several (samples, or other options earlier) are paragraphs.
        error: Why there is no answer.
    """

    status: Status
    log_odds: float | None
    thought: str
    error: str


def put_together(answers: Sequence[Response]) -> Said:
    """One account of answers in order of time, of which there is at least one."""
    thoughts, goes_on = [""], True
    for answer in answers:
        if answer.text:
            thoughts += [] if goes_on else [""]
            thoughts[-1] += answer.text
            goes_on = answer.finish_reason == "length"
        elif answer.status != "ok":
            # A forced verdict closed the thought; a look at the labels that is `ok` may be followed by more of it.
            goes_on = False
    verdicts = [answer for answer in answers if answer.logprobs]
    decides = verdicts[-1] if verdicts and answers[-1].status in ("ok", "forced") else answers[-1]
    odds = decides.logprobs[0] - decides.logprobs[1] if len(decides.logprobs) == 2 else None
    return Said(decides.status, odds, "\n\n".join(thoughts), decides.error)
