"""Help, of all commands and of each."""

import subprocess
import sys

import pytest

from limrank.cli import COMMANDS


def limrank(*arguments):
    return subprocess.run([sys.executable, "-m", "limrank", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_and_loads_no_package_for_it(arguments):
    done = limrank(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    program = f"import sys; from limrank.cli import run; run({arguments}); print('cyclopts' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.endswith("False\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = limrank(command, "--help")
    assert done.returncode == 0 and f"limrank {command}" in done.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("compare", "Several --dataset (or --qrels) are the tasks of a benchmark: a RUN is then a name"),
        ("evaluate", "With p-mrr two are a pair of instructions"),
        ("report", "The page needs no network"),
    ],
)
def test_help_has_what_the_docstring_explains(command, words):
    assert words in " ".join(limrank(command, "--help").stdout.split())
