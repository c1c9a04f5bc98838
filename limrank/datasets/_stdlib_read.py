"""Print the docstrings of this interpreter's standard library as JSON lines; run as a script of its own.

Importing the whole library opens files, changes hooks and prints poems, so it is done in a process that ends
afterwards. Uses the standard library only and runs on Python 3.11 and later. Knows nothing of queries or of limrank.

The first line describes the reading ({"python", "skipped"}), each further line is one object
({"doc_id", "signature", "docstring"}), sorted by doc_id.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import ModuleType

MIN_WORDS = 6

# Easter eggs, what needs a screen (often not installed), demos and tests. The modules below encodings are 120 copies
# of the same four sentences and are left out further down.
LEFT_OUT = {
    "antigravity",
    "this",
    "idlelib",
    "turtledemo",
    "turtle",
    "tkinter",
    "curses",
    "test",
    "tests",
    "pydoc_data",
}
# Gone in Python 3.12 and 3.13: without them the versions have nearly the same documents.
# fmt: off
LEFT_OUT |= {
    "aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp",
    "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau",
    "telnetlib", "uu", "xdrlib",
}
# fmt: on
# These speak about os and os.path under the platform's name; the ids must be the same on every platform.
PLATFORM = {"posix", "nt", "posixpath", "ntpath", "genericpath", "nturl2path"}


def module_names() -> list[str]:
    """Public modules, packages before what is in them."""
    return [*sorted(name for name in sys.stdlib_module_names if is_public(name)), "os.path"]


def is_public(name: str) -> bool:
    """Whether a module of this name is read."""
    last = name.rpartition(".")[2]
    return not last.startswith("_") and last not in LEFT_OUT and name not in PLATFORM


def load_modules(skipped: list[str]) -> dict[str, ModuleType]:
    """Import every public module by name; add those that cannot be imported here to `skipped`."""
    modules: dict[str, ModuleType] = {}
    waiting = module_names()
    while waiting:
        name = waiting.pop(0)
        try:
            module = importlib.import_module(name)
        # A module may raise anything at all when it is on the wrong platform, SystemExit included.
        except BaseException:
            skipped.append(name)
            continue
        modules[name] = module
        if name == "encodings":
            continue
        children = pkgutil.iter_modules(getattr(module, "__path__", []), name + ".")
        waiting += sorted(child.name for child in children if is_public(child.name))
    return modules


def exposed(module: ModuleType, name: str) -> Iterator[tuple[str, object, bool]]:
    """Public (name, object, listed in __all__) of a module; without __all__ what is its own or an accelerator's."""
    listed = getattr(module, "__all__", None)
    for key in sorted(vars(module) if listed is None else set(listed)):
        value = getattr(module, key, None)
        if key.startswith("_") or inspect.ismodule(value):
            continue
        home = home_of(value)
        if listed is not None or name == "builtins" or home == name or home.startswith("_") or home in PLATFORM:
            yield key, value, listed is not None


def home_of(value: object) -> str:
    """The module that an object says it is from, or nothing."""
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def own_docstring(value: object) -> str:
    """The object's docstring, nothing where it is only the one of its type."""
    doc = getattr(value, "__doc__", None)
    if not isinstance(doc, str):
        return ""
    if not isinstance(value, type) and doc == getattr(type(value), "__doc__", None):
        return ""
    return without_addresses(inspect.cleandoc(doc))


def without_addresses(text: str) -> str:
    """The text without what differs between two processes."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def signature_of(value: object, name: str) -> str:
    """`name(parameters)`, or nothing where Python cannot tell; annotations are left out."""
    if not callable(value):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (ValueError, TypeError, AttributeError, NameError):
        return ""
    shown = [
        parameter.replace(annotation=parameter.empty, default=shown_default(parameter.default))
        for parameter in parameters
        if parameter.name not in ("self", "cls")
    ]
    # replace() can leave an order that Signature refuses (a parameter without default behind one that has it).
    try:
        return name + str(inspect.Signature(shown))
    except ValueError:
        return ""


class Shown(str):
    """A default that prints as itself."""

    def __repr__(self) -> str:
        return str(self)


def shown_default(value: object) -> object:
    """A stand-in whose repr is the same in every process and holds nothing of the environment."""
    if value is inspect.Parameter.empty or type(value) in (type(None), bool, int, float, complex):
        return value
    if isinstance(value, (str, bytes)):
        is_path = len(value) > 1 and os.sep.encode() in os.fsencode(value)
        return Shown("...") if is_path else value
    if isinstance(value, tuple) and all(isinstance(item, (str, int, type(None))) for item in value):
        return value
    return Shown(getattr(value, "__qualname__", "..."))


def members(cls: type, known: set[int]) -> Iterator[tuple[str, object]]:
    """Public members that a class brings, together with those of its private bases."""
    seen: set[str] = set()
    for owner in cls.__mro__:
        # A public base describes its own members; so does everything in builtins.
        if owner is not cls and (id(owner) in known or home_of(owner) == "builtins"):
            seen.update(vars(owner))
            continue
        for name in sorted(vars(owner)):
            if name not in seen and not name.startswith("_"):
                yield name, vars(owner)[name]
            seen.add(name)


def is_member(value: object) -> bool:
    """Whether a class attribute is a method, a property or a class of its own, and no constant."""
    return (
        inspect.isroutine(value)
        or inspect.isdatadescriptor(value)
        or isinstance(value, (type, staticmethod, classmethod, functools.cached_property, functools._lru_cache_wrapper))
    )


def unwrapped(value: object) -> object:
    """The function behind a static, class or bound method."""
    return getattr(value, "__func__", value)


def rank(module: str, key: str, value: object, listed: bool) -> tuple[object, ...]:
    """Where an object is at home: the smallest of its places.

    Its own package before others (of which an accelerator `_name` is a part), its own name before aliases, then the
    shortest path, which is the one that the manual uses: asyncio.gather rather than asyncio.tasks.gather.
    """
    home = home_of(value)
    own_package = module.split(".")[0] == home.split(".")[0].lstrip("_")
    return (
        module != "builtins",
        not own_package and not (module in ("os", "os.path") and home in PLATFORM),
        key != getattr(value, "__name__", key),
        module.count(".") - (module == "os.path"),
        home != module,
        not listed,
        module,
        key,
    )


def places(modules: dict[str, ModuleType]) -> dict[str, object]:
    """Every public object of the modules under its one public name."""
    best: dict[int, tuple[tuple[object, ...], str, object]] = {}
    for module, content in modules.items():
        for key, value, listed in exposed(content, module):
            place = rank(module, key, value, listed)
            value = unwrapped(value)
            if id(value) not in best or place < best[id(value)][0]:
                name = key if module == "builtins" else f"{module}.{key}"
                best[id(value)] = (place, name, value)
    objects = {name: value for _, name, value in sorted(best.values(), key=lambda item: item[1])}
    return {name: value for name, value in objects.items() if not is_shadowed(name, value, objects)}


def is_shadowed(name: str, value: object, objects: dict[str, object]) -> bool:
    """Whether a class is only the private half of one that goes by its name (socket.SocketType of socket.socket)."""
    namesake = objects.get(f"{name.rpartition('.')[0]}.{getattr(value, '__name__', '')}")
    return isinstance(value, type) and isinstance(namesake, type) and value in namesake.__mro__[1:]


def documents(modules: dict[str, ModuleType]) -> Iterator[tuple[str, str, str]]:
    """(doc_id, signature, docstring) of every module, class, function, method and property, in any order."""
    for name, module in modules.items():
        yield name, "", own_docstring(module)
    objects = places(modules)
    known = {id(value) for value in objects.values()}
    taken = {id(unwrapped(value)) for value in objects.values()}
    # Members of a private base go to the class with the shortest name: ExitStack rather than AsyncExitStack.
    waiting = sorted(objects.items(), key=lambda item: (len(item[0]), item[0]))
    while waiting:
        name, value = waiting.pop(0)
        yield name, signature_of(value, name.rpartition(".")[2]), own_docstring(value)
        if not isinstance(value, type):
            continue
        # The member's own name first: an alias of it is then no document.
        found = [(key, item) for key, item in members(value, known) if is_member(item)]
        for key, item in sorted(found, key=lambda pair: pair[0] != getattr(unwrapped(pair[1]), "__name__", pair[0])):
            item = unwrapped(item)
            if id(item) not in taken:
                taken.add(id(item))
                known.add(id(item))
                waiting.append((f"{name}.{key}", item))


def read() -> tuple[list[str], dict[str, tuple[str, str]]]:
    """Skipped modules, and (signature, docstring) by doc_id for every docstring of six words or more."""
    skipped: list[str] = []
    modules = load_modules(skipped)
    found: dict[str, tuple[str, str]] = {}
    for doc_id, signature, docstring in documents(modules):
        if len(docstring.split()) >= MIN_WORDS:
            found.setdefault(doc_id, (without_addresses(signature), docstring))
    return skipped, found


def main() -> None:
    """Write everything to what was standard output; what the imported modules print goes nowhere."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        with contextlib.redirect_stdout(nowhere):
            skipped, found = read()
    head = {"python": ".".join(map(str, sys.version_info[:3])), "skipped": skipped}
    print(json.dumps(head), file=out)
    for doc_id, (signature, docstring) in sorted(found.items()):
        line = {"doc_id": doc_id, "signature": signature, "docstring": docstring}
        print(json.dumps(line, ensure_ascii=False), file=out)
    out.flush()
    # Some modules start threads or register exit functions when they are imported.
    os._exit(0)


if __name__ == "__main__":
    main()
