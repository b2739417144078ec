"""Builds and runs the C client, where a C compiler and libnats-dev are at hand."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

SOURCE = Path(__file__).with_name("limit.c")


async def build(folder: Path) -> Path | str:
    """The program, or why there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return "no C compiler"
    program = folder / "limit"
    process = await asyncio.create_subprocess_exec(
        compiler, "-O2", str(SOURCE), "-lnats", "-o", str(program), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    if process.returncode:
        return "libnats-dev is missing" if b"nats" in errors else "it does not compile here"
    return program


async def publish(program: Path, url: str, count: int, *, window: int, size: int, entities: int) -> float:
    """Events per second."""
    arguments = (url, str(count), str(window), str(size), str(entities))
    process = await asyncio.create_subprocess_exec(str(program), *arguments, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the C client ended with {process.returncode}")
    return float(said)
