"""A language model server on loopback whose answers are a function of the prompt, and which fails on demand.

    with FaultServer() as good, FaultServer("500") as bad: ...

It speaks /v1/completions, /v1/chat/completions and /tokenize, with vLLM's additions unless `vllm=False`. A token is a
word with the space before it, or an id that a client sends; its log-probability is a digest of prompt and token.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LABELS = {" true": 7, " false": 8, "A": 9}
FAULTS = (
    *("429", "500", "503", "reset", "drip", "never", "endless"),
    *("half-json", "invalid-utf8", "wrong-json", "list", "empty-choices", "model"),
    *("nan", "missing-label", "wrong-number", "length"),
)


class FaultServer:
    """A server in a thread; `fault` may be changed while it runs, `seen` are the bodies posted to it."""

    def __init__(
        self, fault: str = "", *, vllm: bool = True, model: str = "m", shape: str = "", words: str = ""
    ) -> None:
        self.fault, self.vllm, self.model, self.shape, self.words = fault, vllm, model, shape, words
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.busy = self.most_busy = 0
        self.delay = 0.0
        self.slow = ""  # questions with this text take `delay`, all if it is empty
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        owner = self

        class Handler(_Handler):
            server_of = owner

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FaultServer:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    def questions(self) -> list[dict[str, Any]]:
        """The bodies of the questions proper, without those that find out what the server can do."""
        return [body for path, body in self.seen if "completions" in path and body.get("prompt") != "a"]

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the healthy model says."""
        if path == "/tokenize":
            pieces = re.findall(r" ?[^ ]+| ", body["prompt"])
            return {"tokens": [LABELS.get(piece, 100 + number(piece) % 900) for piece in pieces]}
        prompt = body.get("prompt", body.get("messages"))
        text = (
            "".join(message["content"] for message in prompt)
            if isinstance(prompt, list) and "messages" in body
            else prompt
        )
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        used = 1
        if "prompt_logprobs" in body:
            choice["prompt_logprobs"] = [None] + [
                {str(i): {"logprob": logprob(text[:n], i)}, "0": {"logprob": -0.5}} for n, i in enumerate(text) if n
            ]
        if body["max_tokens"] > 1:
            written = f"I think {number(text) % 97} of it </think>"
            used = len(written.split())
            choice |= {"finish_reason": "stop"}
            if self.vllm and "</think>" in body.get("stop", []):
                written, choice["stop_reason"] = written.removesuffix("</think>"), "</think>"
            choice |= (
                {"message": {"role": "assistant", "content": written}} if "messages" in body else {"text": written}
            )
        else:
            choice |= {"message": {"role": "assistant", "content": "x"}} if "messages" in body else {"text": "x"}
        if body.get("logprobs"):
            choice["logprobs"] = self.logprobs(text, body)
        usage = {"prompt_tokens": len(text.split()) if isinstance(text, str) else len(text), "completion_tokens": used}
        return {"model": self.model, "choices": [choice], "usage": usage}

    def logprobs(self, text: Any, body: dict[str, Any]) -> dict[str, Any]:
        """In the shape of vLLM with ids, of completions, or of chat."""
        if self.vllm and "logprob_token_ids" in body:
            names = {i: name for name, i in LABELS.items()}
            ids = body["logprob_token_ids"]
            return {"top_logprobs": [{f"token_id:{i}": logprob(text, names.get(i, i)) for i in ids}]}
        pairs = {name: logprob(text, name) for name in LABELS} | {" maybe": -0.1}
        if "messages" in body or self.shape == "llama.cpp":
            entries = [{"token": name, "logprob": value} for name, value in pairs.items()]
            return {"content": [{"token": "x", "logprob": -1.0, "top_logprobs": entries}]}
        return {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [pairs]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: FaultServer

    def do_POST(self) -> None:
        owner = self.server_of
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with owner.lock:
            owner.seen.append((self.path, body))
            owner.headers.append(dict(self.headers))
            owner.busy += 1
            owner.most_busy = max(owner.most_busy, owner.busy)
        try:
            time.sleep(owner.delay if owner.slow in json.dumps(body) else 0)
            self.respond(owner, body)
        except OSError:
            pass  # the client has gone, which is what some faults are for
        finally:
            with owner.lock:
                owner.busy -= 1

    def respond(self, owner: FaultServer, body: dict[str, Any]) -> None:
        fault = owner.fault
        if fault == "never":
            owner.stopped.wait(5)
            self.close_connection = True
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault == "drip":
            self.start(200, {"Content-Length": "100000"})
            while not owner.stopped.wait(0.02):
                self.wfile.write(b" ")
        elif fault == "endless":
            self.start(200, {"Transfer-Encoding": "chunked"})
            while not owner.stopped.wait(0.005):
                self.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        elif fault.isdecimal():
            told = owner.words or f"failing with {fault} on demand"
            self.send(json.dumps({"error": {"message": told}}).encode(), int(fault), {"Retry-After": "0.05"})
        else:
            path = self.path.removeprefix("/v1")
            answer = faulty(owner.answer(path, body), fault if "completions" in path else "", body)
            self.send(disturbed(json.dumps(answer).encode(), fault))

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.start(status, {"Content-Length": str(len(content)), "Content-Type": "application/json"} | (headers or {}))
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def faulty(answer: Any, fault: str, body: dict[str, Any]) -> Any:
    """The answer, wrong in its content."""
    if fault == "wrong-json":
        return {"hello": "world"}
    if fault == "list":
        return [answer]
    if fault == "empty-choices":
        return answer | {"choices": []}
    if fault == "model":
        return answer | {"model": "another-model"}
    if not fault:
        return answer
    choice = answer["choices"][0]
    if fault == "length" and body["max_tokens"] > 1:
        choice["text"], choice["finish_reason"] = choice["text"][:5], "length"
        answer["usage"]["completion_tokens"] = 2
    first = (choice.get("logprobs") or {}).get("top_logprobs")
    if first and fault == "nan":
        first[0][next(iter(first[0]))] = float("nan")
    if first and fault == "missing-label":
        first[0].pop(next(iter(first[0])))
    if first and fault == "wrong-number":
        first.append(dict(first[0]))
    return answer


def disturbed(content: bytes, fault: str) -> bytes:
    """The answer's bytes, wrong as bytes."""
    if fault == "half-json":
        return content[: len(content) // 2]
    return content[:-1] + b', "x": "\xff\xfe"}' if fault == "invalid-utf8" else content


def number(*values: Any) -> int:
    """A large number that depends on the values."""
    return int.from_bytes(hashlib.sha256(repr(values).encode()).digest()[:6])


def logprob(prompt: Any, token: Any) -> float:
    """Between -8 and 0."""
    return -8 * number(prompt, token) / 2**48
