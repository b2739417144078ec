"""Schemas that are worked on: a changed .proto is compiled; the code that comes of it is then a change like any other."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

COMMAND: Final = (sys.executable, "-P", "-m", "worldbus.dev.compiling")
ADVICE: Final = "put them back"
_LINES: Final = 20  # of what the compiler says


class Schemas:
    """Compiles, one run after the other. `tell` prints a line with the time; `broken` says what is wrong, and what runs meanwhile."""

    def __init__(self, tell: Callable[[str], None], broken: Callable[[Sequence[str]], None]) -> None:
        self._tell = tell
        self._broken = broken
        self._one_at_a_time = asyncio.Lock()

    @staticmethod
    def among(files: Sequence[str]) -> bool:
        """True if a schema is among these files."""
        return any(file.endswith(".proto") for file in files)

    async def compile(self) -> None:
        """Compile the schemas; what is wrong with them is told, with file and line."""
        async with self._one_at_a_time:
            process = await asyncio.create_subprocess_exec(*COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
            try:
                printed, _ = await process.communicate()
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
        lines = printed.decode(errors="replace").replace(f"{Path.cwd()}{os.sep}", "").strip().splitlines()[-_LINES:]
        if not process.returncode:
            self._tell("; ".join(lines))
            return
        self._broken([line.strip() for line in lines if not line.endswith(":") and not line.startswith(ADVICE)])
