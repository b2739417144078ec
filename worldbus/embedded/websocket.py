"""The way of browsers to the embedded nats-server: WebSocket on this machine, as a user that may say what a game says and read the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from handlers.permissions import GAME
from worldbus.embedded.conf import quoted

USER = "browser"


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsers:
    """The address and password for browsers. Without TLS, so only from this machine."""

    host: str
    port: int
    password: str = field(repr=False)

    @classmethod
    def at(cls, address: str, password: str) -> Browsers:
        """`address` as the settings have it: HOST:PORT."""
        host, _, port = address.rpartition(":")
        return cls(host=host, port=int(port), password=password)

    @property
    def url(self) -> str:
        """The address for a page, password included."""
        return f"ws://{USER}:{self.password}@{self.host}:{self.port}"

    def user(self) -> str:
        """The entry among the server's users."""
        from worldbus.nats_permissions import permissions  # brings every handler along: only where browsers come in

        return f"{{ user: {USER}, password: {quoted(self.password)}, {permissions(GAME, reads=True).words()} }}"

    def block(self) -> str:
        """The server's `websocket` block."""
        return f"websocket {{ host: {quoted(self.host)}, port: {self.port}, no_tls: true }}\n"
