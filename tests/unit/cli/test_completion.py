"""Shell completion: the script of each shell, and what it is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-c", "from worldbus.cli import main; main()"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell: str) -> None:
    done = subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True)

    assert "_WORLDBUS_COMPLETE" in done.stdout


def _complete(*words: str) -> set[str]:
    environment = {**os.environ, "_WORLDBUS_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_verbs_options_and_names_are_completed() -> None:
    assert _complete("worldbus", "re") == {"rebuild", "replay"}
    assert _complete("worldbus", "demo", "--pl") == {"--players"}
    assert "weather" in _complete("worldbus", "rebuild", "we")
