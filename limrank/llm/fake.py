"""A language model without a model: answers from a function, a digest or judgments, with faults on demand.

For tests, limrank's own and yours: every answer is a function of the request alone, so that batches, resumed runs and
other machines give the same. Answers as a real backend would: in batches, with the batch as one delivery.

    open_llm("fake:hash seed=1")                 arbitrary and fixed
    open_llm("fake:oracle qrels=my.qrels")       what the judgments say, of one document or of many
    open_llm("fake:oracle qrels=my.qrels noise=0.5 bias=1")   a ranker that errs, and likes what it sees first
    open_llm("fake:hash failed=0.1 delay=0.2")   one request in ten fails, a batch takes 0.2 seconds
    Fake(lambda request: Response(...))          whatever you like
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist

from limrank.errors import LimrankError, Unknown
from limrank.llm import Delivery
from limrank.llm._calls import digest, key_of
from limrank.qrels import Qrels
from limrank.records import Request, Response

Answer = Callable[[Request], Response]


def load(
    model: str = "hash",
    *,
    seed: int = 0,
    qrels: Path | None = None,
    noise: float = 0.0,
    fixed: float = 0.0,
    bias: float = 0.0,
    batch: int = 8,
    delay: float = 0.0,
    failed: float = 0.0,
    malformed: float = 0.0,
    nan: float = 0.0,
    short: float = 0.0,
) -> Fake:
    """A fake language model.

    Args:
        model: `hash` answers by a digest of the request; `oracle` by judgments, the more relevant the more probable.
        seed: Other answers and other faults.
        qrels: For `oracle`: a TREC or BEIR file.
        noise: For `oracle`: standard deviation of what is added to a relevance, drawn anew in each question.
        fixed: The same, but drawn once for a document of a query: an error that no further question corrects.
        bias: For `oracle`: how much less relevant the last document of a prompt seems than the first; those between
            lose in proportion.
        batch: Requests answered together.
        delay: Seconds that a batch takes.
        failed: Share of requests, 0 to 1, that end with status `failed`.
        malformed: Share that end with status `malformed`.
        nan: Share whose log-probabilities are not numbers.
        short: Share that get one log-probability too few.

    Raises:
        Unknown: No such model.
        BadFile: The judgments cannot be read.
        LimrankError: The options do not go together.
    """
    model = model or "hash"
    if model not in ("hash", "oracle"):
        raise Unknown.among("fake model", model, ("hash", "oracle"))
    if (model == "oracle") != (qrels is not None):
        raise LimrankError(f"fake:{model} {'needs' if model == 'oracle' else 'takes no'} qrels=FILE")
    errors = {"noise": noise, "fixed": fixed, "bias": bias}
    if min(noise, fixed) < 0 or (any(errors.values()) and qrels is None):
        raise LimrankError(f"fake:{model} noise={noise} fixed={fixed} bias={bias}: oracle errs, by 0 or more")
    name = f"fake:{model} seed={seed}"
    answer = by_digest(name)
    if qrels is not None:
        judgments = Qrels.read(qrels)
        name += f" qrels={judgments.sha256()[:12]}" + "".join(f" {key}={by:g}" for key, by in errors.items() if by)
        answer = by_judgments(judgments, seed=seed, **errors)
    faults = {"failed": failed, "malformed": malformed, "nan": nan, "short": short}
    return Fake(faulty(answer, faults, seed), name=name, batch=batch, delay=delay)


class Fake:
    """An LLM whose answers come from a function of the request.

    Attributes:
        name: As `LLM.name`; give two functions two names.
        seen: All requests answered so far, in order, if `keep` was asked for.
    """

    def __init__(
        self, answer: Answer, *, name: str = "fake", batch: int = 8, delay: float = 0.0, keep: bool = False
    ) -> None:
        """Answer `batch` requests at a time, a batch in `delay` seconds."""
        self.name = name
        self.seen: list[Request] = []
        self._answer, self._batch, self._delay, self._keep = answer, batch, delay, keep

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`."""
        batch: list[tuple[int, Request]] = []
        position = 0
        for request in feed:
            if request is not None:
                batch.append((position, request))
                position += 1
            if batch and (request is None or len(batch) == self._batch):
                yield self._deliver(batch)
                batch = []
        if batch:
            yield self._deliver(batch)

    def _deliver(self, batch: list[tuple[int, Request]]) -> Delivery:
        if self._delay:
            time.sleep(self._delay)
        if self._keep:
            self.seen += [request for _, request in batch]
        return [(position, self._answer(request)) for position, request in batch]


def by_digest(name: str) -> Answer:
    """Log-probabilities between -8 and 0 that depend on the name and on what is asked, and on nothing else."""

    def answer(request: Request) -> Response:
        key = key_of(name, request)
        logprobs = tuple(-8 * _fraction(key, choice.text) for choice in request.choices)
        text = key.hex()[: request.max_tokens]
        return _answered(request, logprobs, text)

    return answer


def by_judgments(qrels: Qrels, *, noise: float = 0.0, fixed: float = 0.0, bias: float = 0.0, seed: int = 0) -> Answer:
    """A judge who knows, or errs by what `load` says.

    About one document: the log-odds of the first choice are its relevance. About several, each with a choice: the
    log-probabilities rise with the relevance. About several without choices: their order in text, `[2] > [1] > [3]`, by
    number, or by letter where the prompt has letters; equals stay in the order of the prompt. Where the answer is to
    stop at `</answer>`, a thought that mentions all documents comes first. A character is a token.
    """

    def seen(request: Request) -> list[float]:
        judged, last = qrels.get(request.query_id, {}), max(len(request.doc_ids) - 1, 1)
        values = [judged.get(doc_id, 0) - bias * place / last for place, doc_id in enumerate(request.doc_ids)]
        if noise:
            # A thought and its answer are one question, which has one opinion.
            whole = request._replace(max_tokens=0, stop=(), after=None, bridge="", reserve=0)
            key = key_of(f"noise {seed}", whole)
            values = [value + noise * _normal(key, doc_id) for value, doc_id in zip(values, request.doc_ids)]
        if fixed:
            key = digest("fixed", seed, request.query_id)
            values = [value + fixed * _normal(key, doc_id) for value, doc_id in zip(values, request.doc_ids)]
        return values

    def answer(request: Request) -> Response:
        values = seen(request)
        if len(values) > 1 and len(values) == len(request.choices):
            total = math.log(math.fsum(math.exp(value) for value in values))
            return _answered(request, tuple(value - total for value in values), "")
        if len(values) > 1 and request.max_tokens:
            return _written(request, sorted(range(len(values)), key=lambda place: -values[place]))
        relevance = max(values, default=0)
        yes, no = -math.log1p(math.exp(-relevance)), -math.log1p(math.exp(relevance))
        return _answered(request, tuple(no if i else yes for i in range(len(request.choices))), "")

    return answer


def faulty(answer: Answer, rates: dict[str, float], seed: int = 0) -> Answer:
    """The same answers, but for a fixed share of the requests, which go wrong in a given way, always the same ones."""

    def fault(request: Request) -> str:
        place = _fraction(key_of(f"fault {seed}", request), "")
        for kind, rate in rates.items():
            if place < rate:
                return kind
            place -= rate
        return ""

    def disturbed(request: Request) -> Response:
        kind = fault(request)
        if kind == "failed":
            return Response(status="failed", error="failed on demand")
        if kind == "malformed":
            return Response("?", status="malformed", error="malformed on demand")
        good = answer(request)
        if kind == "nan":
            return good._replace(logprobs=(float("nan"),) * len(good.logprobs))
        return good._replace(logprobs=good.logprobs[1:]) if kind == "short" else good

    return disturbed if any(rates.values()) else answer


def _written(request: Request, order: list[int]) -> Response:
    """The order in words, behind a thought if there is to be one, as far as the tokens go."""
    texts = {part.text for message in request.messages for part in message.parts}
    lettered = "A" in texts and "1" not in texts
    labels = [f"[{chr(ord('A') + i) if lettered else i + 1}]" for i in range(len(order))]
    text = " > ".join(labels[place] for place in order)
    if "</answer>" in request.stop:
        text += "</answer>"
        if not request.bridge:
            thought = " ".join(f"{label} may say something about it." for label in labels)
            text = f"<think>{thought}</think>\n<answer>{text}"[len(request.after.text) if request.after else 0 :]
    cut = text[: request.max_tokens]
    ending = "length" if cut != text else "stop" if text.endswith(request.stop or ("\0",)) else "eos"
    return _answered(request, (), cut)._replace(finish_reason=ending)


def _normal(key: bytes, word: str) -> float:
    """A number from the standard normal distribution that depends on nothing else."""
    return NormalDist().inv_cdf(_fraction(key, word) * (1 - 2**-40) + 2**-41)


def _answered(request: Request, logprobs: tuple[float, ...], text: str) -> Response:
    words = sum(len(part.text.split()) for message in request.messages for part in message.parts)
    return Response(text, "ok", logprobs, (1,) * len(logprobs), prompt_tokens=words, completion_tokens=len(text))


def _fraction(key: bytes, word: str) -> float:
    return int.from_bytes(digest(key.hex(), word)[:6]) / 2**48
