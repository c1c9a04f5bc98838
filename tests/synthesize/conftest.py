"""A teacher and judge who follow a script: well-formed answers that depend on the question alone."""

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

NOUNS = [
    "valve", "harbour", "ledger", "ribbon", "kettle", "lantern", "orchard", "saddle", "glacier", "tunnel",
    "meadow", "carbon", "violin", "pension", "hinge", "filter", "beacon", "cellar", "pigment", "anchor",
    "turbine", "parcel", "mortar", "thicket", "gasket", "canvas", "ladder", "pillar", "quarry", "sensor",
]  # fmt: skip
VERBS = [
    "holds", "moves", "dries", "cools", "bends", "lifts", "turns", "marks", "keeps", "fills", "heats",
    "splits", "guards", "weighs", "sorts",
]  # fmt: skip
ADJECTIVES = [
    "old", "narrow", "heavy", "copper", "wet", "early", "northern", "quiet", "loose", "bright", "hollow",
    "steep", "dusty", "frozen", "plain",
]  # fmt: skip


def sentences(seed: str, words: int) -> str:
    """English text of about so many words that depends on the seed."""
    rng, said = random.Random(seed), []
    while sum(len(one.split()) for one in said) < words:
        noun, other, third = rng.sample(NOUNS, 3)
        first, second = rng.sample(ADJECTIVES, 2)
        amount = rng.randrange(999)
        said.append(f"The {first} {noun} of the {other} {rng.choice(VERBS)} the {second} {third} with {amount} of it.")
    return " ".join(said)


def script(text: str) -> str:
    """What the teacher says to the text of a prompt."""
    key = hashlib.sha256(text.split("Your last answer")[0].encode()).hexdigest()
    if "plain search query" in text:
        instruction = {"instruction": "Only what is valid since 2020 counts."} if '"instruction": ' in text else {}
        query = f"My {sentences(key, 25)} What can I do about it?"
        return json.dumps({"query": query, "needs": [f"remedy {key[:6]}", "a second thing"], **instruction})
    if "Think it through" in text:
        return sentences(key, 60)
    if "Describe these passages" in text:
        keys = [part.strip().strip('."') for part in text.split("keys are exactly:")[1].split(". Each")[0].split(",")]
        return json.dumps({kind: f"[{kind}] {sentences(key + kind, 20)}" for kind in keys})
    if "Write this passage" in text:
        remedy = "The remedy that helps is a new gasket. " if "<<<[positive" in text else ""
        return json.dumps({"title": "On gaskets", "passage": remedy + sentences(key, 60)})
    if "Is the passage relevant" in text:
        passage = text.split("Passage:")[1]
        label = "true" if "remedy that helps" in passage else "false"
        return f"<think>What is wanted is a remedy. {sentences(key, 40)} That decides it.</think> {label}"
    raise AssertionError(f"nobody wrote an answer to: {text[:200]}")


class Server(NamedTuple):
    """A server of the scripted teacher, and what it was asked: bodies in order, and how often each."""

    url: str
    bodies: list[dict[str, Any]]
    answer: list[Callable[[str], str]]
    delay: list[float]

    def asked(self) -> Counter[str]:
        return Counter(json.dumps(body, sort_keys=True) for body in self.bodies)


@pytest.fixture
def server() -> Iterator[Server]:
    """An OpenAI-compatible server; `answer[0]` and `delay[0]` can be changed."""
    bodies: list[dict[str, Any]] = []
    answer: list[Callable[[str], str]] = [script]
    delay = [0.0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            time.sleep(delay[0])
            text = "".join(message["content"] for message in body["messages"])
            choice = {"index": 0, "message": {"content": answer[0](text)}, "finish_reason": "stop"}
            usage = {"prompt_tokens": len(text.split()), "completion_tokens": 7}
            said = json.dumps({"model": "teacher", "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield Server(f"http://127.0.0.1:{httpd.server_port}/v1", bodies, answer, delay)
    httpd.shutdown()
    httpd.server_close()
