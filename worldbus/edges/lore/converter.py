"""The process that converts one document: `python -m worldbus.edges.lore.converter FILE`. See `worldbus.edges.lore.convert`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Final

from markitdown import MarkItDown, converters

MAX_MEMORY: Final = 4 << 30  # bytes of address space


def convert(path: str) -> None:
    """Write the document's Markdown to stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    ending = Path(path).suffix.lower()
    kind = {".pdf": converters.PdfConverter, ".docx": converters.DocxConverter}.get(ending, converters.HtmlConverter)
    reader = MarkItDown(enable_builtins=False, enable_plugins=False)
    reader.register_converter(kind())  # this one and no other: what is broken is not read as plain text instead
    with Path(path).open("rb") as file:
        found = reader.convert_stream(file, file_extension=ending)
    sys.stdout.buffer.write(found.markdown.encode(errors="replace"))


if __name__ == "__main__":
    try:
        convert(sys.argv[1])
    except Exception as problem:
        sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        raise SystemExit(1) from problem
