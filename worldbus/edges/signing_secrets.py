"""Signing secrets of a payment provider's webhooks: a file with one a line, read again when it changes."""

from __future__ import annotations

from pathlib import Path

import structlog

from bus.errors import BadSettings

log = structlog.get_logger(__name__)


class SigningSecrets:
    """The secrets in force. Rolling one: add the new secret as a line, roll at the provider's, and remove the old line a day later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._secrets: tuple[str, ...] = ()
        self._read()

    def __call__(self) -> tuple[str, ...]:
        """The secrets in the file now. A file that cannot be read, or that is empty, changes nothing."""
        try:
            if self._stamp_now() != self._stamp:
                self._read()
                log.info("webhook_secrets_read", count=len(self._secrets))
        except (OSError, BadSettings) as error:
            log.error("webhook_secrets_not_read", reason=str(error))
        return self._secrets

    def _stamp_now(self) -> tuple[int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size

    def _read(self) -> None:
        try:
            stamp = self._stamp_now()
            found = tuple(self._path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"--webhook-secrets: wanted a file with one secret a line, found {error}") from error
        if not found:
            raise BadSettings(f"--webhook-secrets: wanted at least one secret in {self._path}, found none")
        self._stamp, self._secrets = stamp, found
