"""Other documents as Markdown: PDF, DOCX and HTML, by markitdown.

The converter runs in a process of its own: a document that makes it hang, crash or eat memory ends that process and nothing else. It is
given bytes, never an address to fetch. Front matter, and so an audience, stands in `<file>.yaml` beside the document; lines are those of
the Markdown that comes out.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from worldbus.edges.lore.errors import BadLore

ENDINGS: Final = frozenset({".pdf", ".docx", ".html", ".htm"})
TIMEOUT_S: Final = 120
CONVERTER: Final = "worldbus.edges.lore.converter"
EXTRA: Final = "documents"


def available() -> bool:
    """Return whether the extra is installed."""
    return find_spec("markitdown") is not None


def to_markdown(path: Path) -> str:
    """The document as Markdown. Raises `BadLore`."""
    if not available():
        raise BadLore(
            f"wanted a converter for {path.suffix} files, found none: install it with `pip install 'worldbus[{EXTRA}]'`, or write Markdown",
            code="NO_CONVERTER",
        )
    try:
        done = subprocess.run([sys.executable, "-m", CONVERTER, str(path)], capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadLore(f"the converter needed more than {TIMEOUT_S} s: save the document as Markdown", code="NOT_CONVERTED") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadLore(
            f"wanted a {path.suffix} document, the converter found: {(reason or ['nothing it understands'])[-1][:200]}",
            code="NOT_CONVERTED",
        )
    return done.stdout.decode(errors="replace").replace("\0", "\ufffd")
