"""Schemas that are worked on: a changed .proto is compiled; the code that comes of it is then a change like any other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Final

COMMAND: Final = (sys.executable, "-P", "-m", "schemas.generate")
_LINES: Final = 20  # of what the compiler says


class Protos:
    """Compiles, one run after the other. `say` prints a line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._one_at_a_time = asyncio.Lock()

    def concerned(self, files: Sequence[str]) -> bool:
        """True if a schema is among these files."""
        return any(file.endswith(".proto") for file in files)

    async def generate(self) -> None:
        """Compile the schemas; what is wrong with them is said, with file and line."""
        async with self._one_at_a_time:
            process = await asyncio.create_subprocess_exec(*COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
            try:
                said, _ = await process.communicate()
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
        if process.returncode:
            self._say("broken: the schemas do not compile; what ran before runs on")
            for line in said.decode(errors="replace").strip().splitlines()[-_LINES:]:
                self._say(f"  {line}")
