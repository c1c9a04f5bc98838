"""Everything limrank raises on purpose.

LimrankError                what, where, what to do: the command line prints it as one line and exits with 1
 ├─ BadFile                 a file that cannot be read as what it should be; the message begins with file:line
 ├─ BadRecord               a value that breaks an invariant of a noun (NaN score, duplicate document, ...)
 ├─ Mismatch                two things that do not belong together (index of another model, run of other queries)
 ├─ Unknown                 a name nobody answers to; suggests the nearest known one
 ├─ MissingExtra            a package that is not installed; names the command that installs it
 └─ TooManyFailed           the language model failed more often than was allowed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LimrankError(Exception):
    """Base of all errors that a user can act on."""


class BadFile(LimrankError):
    """A file that cannot be read as what it should be."""


class BadRecord(LimrankError):
    """A value that breaks an invariant."""


class Mismatch(LimrankError):
    """Two things that do not belong together."""


class Unknown(LimrankError):
    """A name nobody answers to."""

    @classmethod
    def among(cls, what: str, name: str, known: Iterable[str]) -> Unknown:
        """An error for `name`, with the nearest known names, or all of them where none is near."""
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
        return cls(f"unknown {what} {name!r}; {advice}")


class MissingExtra(LimrankError):
    """A package that is not installed."""


class TooManyFailed(LimrankError):
    """The language model failed more often than was allowed."""
