"""Import an optional or heavy package, or say in one line how to install it."""

from __future__ import annotations

import importlib
from types import ModuleType

from limrank.errors import MissingExtra


def require(module: str, *, extra: str = "", install: str = "", needed_for: str = "") -> ModuleType:
    """The imported module.

    Args:
        module: Dotted module name.
        extra: limrank's extra that brings it; empty for a core dependency.
        install: The pip arguments to recommend, where they are neither the extra nor limrank itself.
        needed_for: What the user was about to do, for the message.

    Raises:
        MissingExtra: The module, or one that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        wanted = install or (f"'limrank[{extra}]'" if extra else "--force-reinstall limrank")
        purpose = needed_for or module
        raise MissingExtra(f"{purpose} needs {error.name}; install it with: pip install {wanted}") from error
