"""The one option that an id may carry behind a question mark: `followir/core17?revision=main`.

Knows nothing of what an option means. A folder's `?split=` is folder.py's, because a path may hold anything.
"""

from __future__ import annotations

from limrank.errors import LimrankError, Unknown


def take_option(rest: str, key: str, *, of: str) -> tuple[str, str]:
    """What stands before the question mark, and the value behind `?key=`; an empty value where there is no option.

    Args:
        rest: What follows the first part of an id.
        key: The only option there is.
        of: Whose option, for messages.

    Raises:
        Unknown: Another option.
        LimrankError: The option has no value.
    """
    place, mark, typed = rest.partition("?")
    if not mark:
        return rest, ""
    name, _, value = typed.partition("=")
    if name != key:
        raise Unknown.among(f"option of {of}", name, [key])
    if not value:
        raise LimrankError(f"option {key} of {of} has no value; write it as ?{key}=VALUE")
    return place, value
