"""Query likelihood: how probable is the query after the passage?

model score = ln P(query | prompt with the passage) / number of query tokens. The number is the same for all documents
of a query, so that it changes the scale, not the order. The run shows

    mix * z(model score) + (1 - mix) * z(first-stage score)

with z over the query's judged documents. The one zero-shot method that helps models too small to judge.

Source: UPR (Sachan et al., EMNLP 2022, arXiv:2204.07496).
"""

from __future__ import annotations

from functools import partial

from limrank.errors import BadFile
from limrank.llm import LLM
from limrank.prompt import Prompt
from limrank.records import Request, Response
from limrank.rerank._drive import Driven, Steps
from limrank.rerank._ranking import Job, Verdict, check_mix, mixed, ranked

PROMPT = "upr"
NEEDS = ("query", "passage")


def load(llm: LLM, prompt: Prompt, *, mix: float = 0.5) -> Driven:
    """A reranker that measures how well a passage explains the query.

    Args:
        llm: Must know the full distribution (`choices` of several tokens).
        prompt: With a `target`, the text whose probability is measured.
        mix: Weight of the model against the first stage, 0 to 1; 1 shows the model's own score.

    Raises:
        BadFile: The prompt has no target.
        LimrankError: mix is outside 0 to 1.
    """
    if not prompt.target:
        raise BadFile(f'prompt {prompt.name}: has no target; likelihood measures one, as in target = " {{query}}"')
    check_mix(mix)
    return Driven("likelihood", llm, partial(_steps, prompt=prompt, mix=mix))


def _steps(job: Job, *, prompt: Prompt, mix: float) -> Steps:
    answers = yield [_request(job, i, prompt) for i in range(len(job.documents))]
    return ranked(job, mixed(job, [_verdict(answer) for answer in answers], mix))


def _request(job: Job, i: int, prompt: Prompt) -> Request:
    document = job.documents[i]
    filled = prompt.fill(job.query, document)
    return Request(
        filled.messages,
        doc_ids=(document.doc_id,),
        shared=filled.shared,
        cut=filled.cut,
        choices=(prompt.fill_target(job.query, document),),
    )


def _verdict(answer: Response) -> Verdict:
    if answer.status not in ("ok", "forced"):
        return Verdict(None, answer.error or answer.status)
    return Verdict(answer.logprobs[0] / max(answer.choice_tokens[0], 1))
