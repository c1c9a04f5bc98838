"""A Hugging Face hub on the loopback address, which the real client is sent to in a process of its own."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

API = re.compile(r"/api/datasets/([^/]+/[^/]+)/(revision|tree)/([^/?]+)")
RESOLVE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
# The client fixes the address of the hub while it is imported.
CHILD = """
import json, sys
from limrank.datasets import open_dataset
from limrank.errors import LimrankError

def answer(ask):
    try:
        return ask()
    except LimrankError as error:
        return f"{type(error).__name__}: {error}"

found = {}
exec(sys.stdin.read())
print(json.dumps(found))
"""


class Hub:
    """Repositories by name and commit, and everything that was asked for.

    `short` and `cut` are paths whose next download has other than the promised size, or breaks off in the middle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.requests: list[str] = []
        self.short: set[str] = set()
        self.cut: set[str] = set()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, repo: str, commit: str, card: dict[str, Any], files: dict[str, list[dict] | bytes]) -> None:
        """Put files into a repository: rows become JSON lines or parquet, as the name says."""
        lines = "".join(
            f"- config_name: {config}\n  data_files:\n  - split: full\n    path: {json.dumps(path)}\n"
            for config, path in card.items()
        )
        content = {path: rows if isinstance(rows, bytes) else packed(path, rows) for path, rows in files.items()}
        content = {"README.md": f"---\nconfigs:\n{lines}---\n# A card\n".encode()} | content
        self.files[repo, commit] = content
        self.branches[repo, "main"] = commit

    def environment(self, *, home: str = "home", cache: str = "cache", offline: bool = False) -> dict[str, str]:
        """What sends the real client here, with its files under `home` and limrank's under `cache`."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))} | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(self.folder / home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "IR_DATASETS_HOME": str(self.folder / "irds"),
            "LIMRANK_CACHE": str(self.folder / cache),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def ask(self, code: str, **places: Any) -> Any:
        """What `code` leaves in `found`, run by the real client."""
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=code,
            capture_output=True,
            text=True,
            env=self.environment(**places),
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.hub.requests.append(f"{self.command} {self.path}{f' {wanted}' if wanted else ''}")
        match = API.match(self.path) or RESOLVE.match(self.path)
        if match is None:
            return self.send(404, b"")
        is_api = match.re is API
        repo, revision = match[1], match[3] if is_api else match[2]
        if not any(repo == known for known, _ in self.hub.files):
            return self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
        commit = self.hub.branches.get((repo, revision), revision)
        files = self.hub.files.get((repo, commit))
        if files is None:
            return self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if is_api:
            listed = tree(files) if match[2] == "tree" else {"id": repo, "sha": commit, "siblings": []}
            return self.send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
        if match[3] not in files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        return self.send_file(match[3], files[match[3]], commit)

    def send_file(self, path: str, content: bytes, commit: str) -> None:
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest(path, content)}"', "Accept-Ranges": "bytes"}
        if self.command == "HEAD":
            return self.send(200, content, headers)
        if path in self.hub.short:
            self.hub.short.remove(path)
            return self.send(200, content[:-3], headers)
        start = int(re.match(r"bytes=(\d+)-|", self.headers.get("Range", ""))[1] or 0)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if path in self.hub.cut:
            self.hub.cut.remove(path)
            self.close_connection = True
            return self.send(200, content, headers, only=len(content) // 2)
        return self.send(206 if start else 200, content[start:], headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, only: int | None = None) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:only])


def is_large(path: str) -> bool:
    """Whether the hub would keep a file outside git, under its sha256."""
    return not path.endswith(".md")


def digest(path: str, content: bytes) -> str:
    """What the hub calls a file's content."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """The listing of a repository."""
    return [
        {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        | ({"lfs": {"oid": digest(path, content), "size": len(content), "pointerSize": 130}} if is_large(path) else {})
        for path, content in files.items()
    ]


def packed(path: str, rows: list[dict]) -> bytes:
    """Rows as the file that the name says."""
    if path.endswith(".parquet"):
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file.getvalue()
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """An empty hub for the tests of a module."""
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
