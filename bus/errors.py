"""All errors, sorted by what the caller does next.

    WorldbusError
    ├── Rejected            this input can never be handled: refuse it at the edge, park it on the bus
    │   ├── BadSubject          a token or subject outside the allowed alphabet or length
    │   ├── BadEvent            bytes, JSON or text that are not a valid event (`code` says which rule)
    │   │   ├── UnknownType         no such event type
    │   │   └── TooLarge            over a size limit
    │   ├── IdReused            the same event id was already recorded with another body
    │   ├── BrokenRule          a handler refused an input that the game should never have produced
    │   └── HandlerHung         a handler's function did not return
    ├── Conflict            the entity moved on: look again and decide again
    ├── Transient           the same call may succeed later: retry it
    │   ├── Unknown             sent, no answer: it may be in the log; retry with the same id
    │   ├── Disconnected        not connected to NATS at the moment; nothing was sent
    │   ├── NoLog               nobody stores what is published there: the stream is missing or its server is starting
    │   ├── StorageFull         the server has no room left for the log
    │   └── StoreUnavailable    Postgres cannot be reached or is restarting
    ├── Stopped             the runtime is shutting down or lost its partition: start again from the log
    ├── LaneStopped         this release cannot fold a lane's state: its inputs are put aside until one can
    └── Misuse              configuration or calling code is wrong: stop the process
        ├── BadSettings         settings that cannot work together
        │   ├── MissingExtra        an extra of worldbus is needed and not installed
        │   └── NoWorld             the data folder that was meant holds no world
        ├── NotDurable          the server does not prove the durability that was asked for
        ├── PermissionDenied    the credentials may not publish or subscribe there
        ├── LogDamaged          the log has a gap, is shorter than the archive, or differs from it
        ├── CheckpointMoved     another projector owns this projection
        ├── FolderInUse         another worldbus runs on this data folder
        └── ServerFailed        an embedded server did not start, or ended by itself too often

Every message says what was wanted, what was found and the next step; the facts are attributes as well.
"""

from __future__ import annotations


class WorldbusError(Exception):
    """Base of every error that worldbus raises on purpose."""

    code = "WORLDBUS"

    def __init__(self, message: str, /, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts


class Rejected(WorldbusError):
    """Can never be handled."""

    code = "REJECTED"


class BadSubject(Rejected):
    """A subject or token that the log does not allow."""

    code = "BAD_SUBJECT"


class BadEvent(Rejected):
    """Not a valid event. `code` is the stable name of the rule that was broken."""

    code = "BAD_PAYLOAD"

    def __init__(self, message: str, /, code: str | None = None, **facts: object) -> None:
        super().__init__(message, **facts)
        if code is not None:
            self.code = code


class UnknownType(BadEvent):
    """No event type of that name in the registry."""

    code = "UNKNOWN_TYPE"


class TooLarge(BadEvent):
    """Over a size limit; `facts` holds `limit` and `found`, in bytes."""

    code = "TOO_LARGE"


class IdReused(Rejected):
    """The id is taken by an event with another body. Nothing was recorded."""

    code = "ID_REUSED_WITH_DIFFERENT_BODY"


class BrokenRule(Rejected):
    """Raised by `decide` for an input that should be impossible; the event is parked."""

    code = "BROKEN_RULE"


class HandlerHung(Rejected):
    """A handler's function did not return in time; the input is parked. `stack` is what it was executing, at most 8 KiB."""

    code = "HANDLER_HUNG"

    def __init__(self, message: str, /, *, stack: str = "", **facts: object) -> None:
        super().__init__(message, **facts)
        self.stack = stack


class Conflict(WorldbusError):
    """The entity is not at the expected position. `facts`: `expected`, `found`."""

    code = "CONFLICT"


class Transient(WorldbusError):
    """May succeed later."""

    code = "TRANSIENT"


class Unknown(Transient):
    """Sent, but no acknowledgement came. Neither success nor failure: retry with the same id."""

    code = "UNKNOWN_OUTCOME"


class Disconnected(Transient):
    """An event that was not sent, because there is no connection."""

    code = "DISCONNECTED"


class NoLog(Transient):
    """No stream takes the subject; nothing was recorded."""

    code = "NO_SUCH_STREAM"


class StorageFull(Transient):
    """The server refused to store for want of room; nothing was recorded."""

    code = "STORAGE_FULL"


class StoreUnavailable(Transient):
    """Postgres does not answer."""

    code = "STORE_UNAVAILABLE"


class Stopped(WorldbusError):
    """The runtime ended this work before it was done; the log has all that is needed to resume."""

    code = "STOPPED"


class LaneStopped(WorldbusError):
    """The state of a lane cannot be folded from its own history here. Its inputs wait in the log for a release that can."""

    code = "LANE_HISTORY"
    stack = ""  # of a handler that did not return


class Misuse(WorldbusError):
    """Settings or calling code are wrong."""

    code = "MISUSE"


class BadSettings(Misuse):
    """All problems found in the settings, together."""

    code = "BAD_SETTINGS"


class MissingExtra(BadSettings):
    """An extra of worldbus is needed and not installed. `facts`: `extras`, and `missing`, the modules or programs that were looked for."""

    code = "MISSING_EXTRA"

    @classmethod
    def of(cls, wanting: str, extras: tuple[str, ...], missing: tuple[str, ...], otherwise: str = "") -> MissingExtra:
        """The error with its message: `wanting` stands behind "wanted ... for", `otherwise` is another way out than to install."""
        step = f"pip install 'worldbus[{','.join(extras)}]'{f', or {otherwise}' if otherwise else ''}"
        return cls(f"wanted {' and '.join(missing)} for {wanting}, found none installed: {step}", extras=extras, missing=missing)


class StoreRefused(BadSettings):
    """Postgres does not let this role in, or not do its work. At the first start an address or a grant is wrong; later it is waited out."""

    code = "STORE_REFUSED"


class NoWorld(BadSettings):
    """No world in that data folder, and the caller makes none. `facts`: `folder`, and `running`, the folders of worlds that run."""

    code = "NO_WORLD"


class NotDurable(Misuse):
    """`strict` was asked for and the server does not prove it."""

    code = "NOT_DURABLE"


class PermissionDenied(Misuse):
    """The server refused a publish or subscribe of these credentials."""

    code = "PERMISSION_DENIED"


class LogDamaged(Misuse):
    """The log lost or changed events that were recorded. Next step: `worldbus log repair --from-archive`."""

    code = "LOG_DAMAGED"


class CheckpointMoved(Misuse):
    """Another runner moved this projection's checkpoint."""

    code = "CHECKPOINT_MOVED"


class FolderInUse(Misuse):
    """Another process owns the data folder."""

    code = "FOLDER_IN_USE"


class ServerFailed(Misuse):
    """An embedded server cannot run here; the message ends with what the server itself said."""

    code = "SERVER_FAILED"
