"""The command line: every command is a thin function around a public one; nothing else knows a terminal.

It is a package because the commands of one stage read best together; each file loads only when one of its commands is
asked for. Exit codes: 0 done, 1 an error the user can act on, printed as one line, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

PURPOSE = "Retrieval with LLM rerankers that reason. Fast, and every number can be believed."
COMMANDS = {
    "demo": ("about", "The whole chain on Python's own documentation, in a few minutes."),
    "index": ("first_stage", "Build a Lucene or FAISS index of a dataset."),
    "retrieve": ("first_stage", "Search an index with a dataset's queries: a run."),
    "rerank": ("second_stage", "Put a run's best documents into a better order."),
    "estimate": ("estimate", "What a rerank will take: calls, tokens, hours, money."),
    "fuse": ("second_stage", "Combine several runs into one."),
    "synthesize": ("synthesize", "Training examples for rerankers that reason, from simple queries."),
    "evaluate": ("judge", "trec_eval's measures of a run."),
    "compare": ("judge", "Which of these runs is better, and is that more than chance?"),
    "benchmark": ("benchmark", "A whole table, from the index to the comparison, beside the published numbers."),
    "report": ("report", "A comparison as one page with figures and every query, or as tables."),
    "list": ("about", "What there is: datasets, backends, methods, models, prompts, indexes, runs."),
    "show": ("show", "What a run, an index, a prompt, a model or a manifest holds."),
    "doctor": ("about", "What is installed here, what is missing and how to get it."),
    "completion": ("about", "A completion script for bash, zsh or fish."),
}


def application() -> Any:
    """The cyclopts application; its commands are imported when they are used."""
    from cyclopts import App, Parameter

    from limrank._version import __version__

    app = App(
        name="limrank",
        help=PURPOSE,
        help_format="plaintext",
        version=f"limrank {__version__}",
        result_action="return_value",
        # It would end without a word.
        suppress_keyboard_interrupt=False,
        # No --empty-norm beside --norm: a list that is not given is empty.
        default_parameter=Parameter(negative_iterable=()),
    )
    for order, (name, (module, _)) in enumerate(COMMANDS.items()):
        function = {"list": "list_", "index": "index_"}.get(name, name)
        app.command(f"limrank.cli.{module}:{function}", name=name, sort_key=order)
    return app


def overview() -> str:
    """What `limrank --help` prints; made here, because loading cyclopts and rich takes longer than all the rest."""
    commands = "\n".join(f"  {name:10}  {summary}" for name, (_, summary) in COMMANDS.items())
    return f"{PURPOSE}\n\nUsage: limrank COMMAND ...   (limrank COMMAND --help tells the rest)\n\n{commands}"


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error becomes one line on stderr."""
    if list(arguments) in ([], ["--help"], ["-h"]):
        print(overview())
        return 0
    from cyclopts import CycloptsError

    from limrank.errors import LimrankError

    try:
        code = application()(list(arguments), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        print(f"limrank: {one_line(error).rstrip('.;')}; {hint(error, arguments)}", file=sys.stderr)
        return 2
    except LimrankError as error:
        print(f"limrank: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("limrank: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has had enough; without this, Python complains once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"limrank: {in_words(error)}", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0


def hint(error: Exception, arguments: Sequence[str]) -> str:
    """What to do about a wrong command line."""
    from cyclopts import UnusedCliTokensError

    if isinstance(error, UnusedCliTokensError) and "=" in "".join(error.unused_tokens or ()):
        return 'what takes options is one word for the shell: "pointwise think=full"'
    known = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    return f"see limrank {known} --help" if known else "see limrank --help"


def in_words(error: OSError) -> str:
    """What the system said, with the file, if it named one, and without its number."""
    if error.errno == errno.ENOSPC and not error.filename:
        return "the output could not be written, for the disk is full; make room, and give the same command again"
    said = one_line(error) if error.strerror is None else error.strerror
    return f"{error.filename}: {said}" if error.filename else said


def one_line(error: Exception) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())
