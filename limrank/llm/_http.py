"""JSON to a server and JSON back, within a deadline, or the reason why not.

A message of an error holds no key: what a server says is cleared of secrets, then shortened. Redirects are not
followed, so that a key goes nowhere but where the user said. Knows nothing of models.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

from limrank.errors import LimrankError
from limrank.extras import require

CONNECT_SECONDS = 10.0
MAX_BYTES = 64 * 2**20
MAX_WORDS = 300
# Worth another try: timeout, conflict, too early, too many requests.
PASSING = (408, 409, 425, 429)
# Nothing that limrank could ask differently.
HOPELESS = (401, 403, 404, 405)
JSON = {"Content-Type": "application/json"}
KEY_NAME = re.compile(r"(?i)(api|access|auth)[-_]?(key|token)|authorization|bearer|passw|secret|credential")
VARIABLE = re.compile(r"[A-Za-z_]\w*")
SECRET = re.compile(r"(?i)\bbearer\s+\S+|\bsk-[\w*.-]{6,}|//[^/@\s]+@")


class Unanswered(Exception):
    """No answer came; the same question may get one later or elsewhere. The server asked for `rest` seconds."""

    def __init__(self, message: str, rest: float = 0.0) -> None:
        super().__init__(message)
        self.rest = rest


class Unusable(Exception):
    """What came is no answer to the question, and the same server would say the same again."""


class Http:
    """A client for any number of servers; to be used and closed within one event loop.

    Args:
        key_env: The environment variable with the key that is sent as a bearer token; empty for none.
        timeout: Seconds from the question's first byte to the answer's last.
    """

    def __init__(self, *, key_env: str, timeout: float) -> None:
        self._httpx = require("httpx2", needed_for="the openai backend")
        self._key = key = key_of(key_env)
        self._key_env, self._timeout = key_env, timeout
        self._client = self._httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self._httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            limits=self._httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object with which the server answers.

        Raises:
            Unanswered: Timeout, lost connection, 429, 5xx, or something that is no JSON.
            Unusable: The server refuses this question (400), or answers with JSON that is no object.
            LimrankError: It would refuse any question (401, 403, 404).
        """
        try:
            async with asyncio.timeout(self._timeout):
                status, retry_after, content = await self._exchange(url, body)
        except TimeoutError:
            raise Unanswered(f"{url}: no answer within {self._timeout:g} seconds") from None
        except (self._httpx.HTTPError, self._httpx.StreamError) as error:
            raise Unanswered(f"{url}: {type(error).__name__}: {self.clean(str(error))}".rstrip(": ")) from None
        if not 200 <= status < 300:
            raise self._refusal(url, status, retry_after, content)
        try:
            answer = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Unanswered(f"{url}: not an answer in JSON ({type(error).__name__})") from None
        if not isinstance(answer, dict):
            raise Unusable(f"{url}: answered with a JSON {type(answer).__name__}, not an object")
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def clean(self, text: str) -> str:
        """The text in one line, without secrets, shortened."""
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(SECRET.sub("***", text).split())
        return text if len(text) <= MAX_WORDS else text[:MAX_WORDS] + "..."

    async def _exchange(self, url: str, body: dict[str, Any]) -> tuple[int, str, bytes]:
        content = bytearray()
        # Escaped to ASCII: a document with half a surrogate pair is the server's to refuse, not a crash here.
        sent = json.dumps(body).encode("ascii")
        async with self._client.stream("POST", url, content=sent, headers=JSON) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise Unusable(f"{url}: the answer is longer than {MAX_BYTES} bytes")
            return response.status_code, response.headers.get("retry-after", ""), bytes(content)

    def _refusal(self, url: str, status: int, retry_after: str, content: bytes) -> Exception:
        message = f"{url}: {status}: {self.clean(_words(content))}".rstrip(": ")
        if status in PASSING or status >= 500:
            return Unanswered(message, seconds_of(retry_after))
        if status in (401, 403):
            had = (
                f"the key in {self._key_env} was sent"
                if self._key
                else "no key was sent; name its variable: key_env=..."
            )
            return LimrankError(f"{message} ({had})")
        if status in HOPELESS or status < 400:
            return LimrankError(f"{message}; are url and model right?")
        return Unusable(message)


def key_of(key_env: str) -> str:
    """The key in an environment variable; empty where no variable is named.

    Raises:
        LimrankError: It is not set, or cannot be a key.
    """
    if key_env and not VARIABLE.fullmatch(key_env):
        # It may be the key itself, so it is not repeated.
        raise LimrankError("key_env: expected the name of an environment variable, as in key_env=MY_SERVERS_KEY")
    key = os.environ.get(key_env, "").strip() if key_env else ""
    if key_env and not key:
        raise LimrankError(f"the environment variable {key_env} is not set; it should hold the server's key")
    if not all("!" <= character <= "~" for character in key):
        raise LimrankError(f"the environment variable {key_env} holds characters that no key has")
    return key


def without_secrets(body: dict[str, Any]) -> dict[str, Any]:
    """The body, which may be written down everywhere, as it is.

    Raises:
        LimrankError: It holds what looks like a key; the message does not.
    """

    def look(value: object, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                look(item, key)
        elif isinstance(value, list):
            for item in value:
                look(item, name)
        elif isinstance(value, str) and (KEY_NAME.search(name) or SECRET.search(value)):
            raise LimrankError(f"body: {name} looks like a key, which would be written down; use key_env=VARIABLE")

    look(body, "")
    return body


def seconds_of(retry_after: str) -> float:
    """What a Retry-After header asks for, as seconds or a date; 0 where it makes no sense."""
    try:
        return max(float(retry_after), 0.0) if retry_after.strip() else 0.0
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _words(content: bytes) -> str:
    """What an error page says, which is mostly `{"error": {"message": ...}}`."""
    text = content[: 64 * 1024].decode("utf-8", errors="replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(told, dict) and name in told:
            told = told[name]
    return told if isinstance(told, str) else json.dumps(told)
