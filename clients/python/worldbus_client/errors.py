"""Errors, sorted by what the caller does next."""

from __future__ import annotations


class ClientError(Exception):
    """Any error of this client: what was wanted, what was found, the next step."""


class BadEvent(ClientError, ValueError):
    """The event or a name breaks the bus's rules. It was not sent, and never can be as it is: change it."""


class QueueFull(ClientError):
    """A queue with as many events as may wait. The event was not taken: count it, or try again later."""


class NotConnected(ClientError):
    """No server answers. Start it, or look at the address."""


class Refused(ClientError):
    """The log does not take it, and will not: it is not recorded."""


class Conflict(ClientError):
    """A lane is not at the position where it was expected: nothing was recorded. Look again, and decide again."""

    def __init__(self, subsystem: str, entity: str, expected: int, found: int) -> None:
        """`found` is where the last event of `subsystem` about `entity` is, 0 if there is none."""
        super().__init__(f"expected the last event of {subsystem}/{entity} at {expected}, found it at {found}: look again and decide again")
        self.subsystem, self.entity, self.expected, self.found = subsystem, entity, expected, found


class Unknown(ClientError):
    """No answer came: it may be recorded. Publish it again with the same id within two minutes to be sure."""


class Closed(ClientError):
    """The client is closed. It was not sent."""


class BadSettings(ClientError, ValueError):
    """The client cannot work with these settings: change them."""


class WrongThread(ClientError):
    """Called on the client's own thread, in a callback: it would wait for itself. Nothing was done: submit, or use another thread."""
