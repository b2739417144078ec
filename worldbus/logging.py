"""Logging: structlog to stderr, readable on a terminal and JSON lines elsewhere.

Log lines are events with fields: a fixed snake_case name, then facts. What belongs to one delivery (event id, handler, position) is bound
once with `structlog.contextvars.bound_contextvars` and appears on every line beneath it, across awaits. Libraries that log through
`logging` come out the same way.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO

from bus.lean import without

with without("rich"):  # we render tracebacks plainly, and its formatter costs more than all else that structlog loads
    import structlog
    from structlog.typing import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]

# Local variables hold addresses with passwords, and players' words.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure(log: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging for the process. Calling it again replaces the set-up.

    `log` is `auto`, `json` or `console`; `stream` is stderr unless given.
    """
    out: Any = _Unfailing(sys.stderr if stream is None else stream)
    readable = log == "console" or (log == "auto" and out.isatty())
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[*_SHARED, *_renderers(readable, out)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(readable, out)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak up at WARNING: their INFO lines are about their own insides.
    root.setLevel(max(threshold, logging.WARNING) if threshold > logging.DEBUG else logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class _Unfailing:
    """A stream that swallows what it cannot write: a terminal that was closed, a full disk under a log file. The work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._stream.isatty()
        return False


def _renderers(readable: bool, out: TextIO) -> list[Processor]:
    if readable:
        return [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer()]
