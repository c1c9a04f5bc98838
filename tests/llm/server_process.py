"""A model server in a process of its own, for tests that want a real one."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class Server:
    """A server in a process of its own, which ends with the block, whatever happens in it."""

    def __init__(self, module: str, *options: object, log: Path, seconds: float) -> None:
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self.log = log
        command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port), *map(str, options)]
        with open(log, "wb") as written:
            told_at_once = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(
                command, stdout=written, stderr=written, start_new_session=True, env=told_at_once
            )
        self.ready_by = time.monotonic() + seconds

    def __enter__(self) -> "Server":
        while time.monotonic() < self.ready_by and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/models", timeout=5):
                return self
            time.sleep(0.2)
        self.stop()
        raise AssertionError(f"the server did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and all that it has started."""
        for how, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and group_lives(self.process.pid):
            time.sleep(0.1)
        assert not group_lives(self.process.pid)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
