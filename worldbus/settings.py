"""Settings: one frozen record, read once from a mapping, with every problem reported together.

The command line hands its options over as overrides of the same names, so a value means the same however it was given. Modules receive
values; nothing below the composition root reads the environment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from bus.errors import BadSettings

PREFIX = "WORLDBUS_"
ALSO = {"WORLDBUS_DATA": "WORLDBUS_DATA_DIR"}  # as the option is called
GAME = "WORLDBUS_GAME"  # names what is played, which is no setting of the bus (worldbus.games)
MAX_PARTITIONS = 256
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the alphabet of bus.subjects

Durability = Literal["strict", "relaxed"]
LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """The addresses of servers, and their promises. `repr` hides the passwords inside addresses."""

    nats_url: str | None = field(
        default=None, metadata={"help": "NATS server, nats://[user:password@]host:port[,…]; none: an embedded one"}
    )
    nats_monitor_url: str | None = field(
        default=None, metadata={"help": "that server's monitor, http://host:8222; `strict` proves its durability there"}
    )
    nats_server: Path | None = field(
        default=None, metadata={"help": "nats-server binary for the embedded server, in place of the packaged one"}
    )
    websocket: str | None = field(
        default=None, metadata={"help": "host:port of this machine where browsers reach the embedded NATS server; none: nowhere"}
    )
    postgres_dsn: str | None = field(
        default=None, metadata={"help": "Postgres as the owner of the tables, postgresql://…; none: an embedded one"}
    )
    reader_dsn: str | None = field(
        default=None, metadata={"help": "Postgres as the read-only role; none: the embedded one's, or postgres_dsn"}
    )
    data: Path = field(
        default=Path(".worldbus"), metadata={"help": "folder of the embedded servers; also WORLDBUS_DATA_DIR", "option": "data-dir"}
    )
    durability: Durability = field(
        default="strict", metadata={"help": "strict: on disk before it is acknowledged; relaxed: within two minutes"}
    )
    world: str = field(default="main", metadata={"help": "world that commands mean when they name none"})
    partitions: int | None = field(
        default=None,
        metadata={
            "help": f"shares of the entities, 1-{MAX_PARTITIONS}; fixed when the log is created; none: as it has them, 8 in a new one"
        },
    )
    release_feed: str | None = field(
        default=None, metadata={"help": "path or http(s) address of the engine's release feed, read by `up`; none: none is read"}
    )
    inference: Path | None = field(
        default=None, metadata={"help": "TOML file that names the engine of each tier; none: requests are answered without a model"}
    )
    node_labels: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": "labels of this machine, gpu=a10g,zone=b, or the file of Kubernetes' downward API; pools may ask for one"},
    )
    metrics: str | None = field(
        default=None, metadata={"help": "host:port where Prometheus fetches what this process's workers of inference count; none: nowhere"}
    )
    embedder: str = field(
        default="minilm",
        metadata={
            "help": "what turns texts into vectors: minilm, hashing, openai+http://…?model=…, vllm+http://…; asked of a new database"
        },
    )
    embedder_key: str | None = field(default=None, metadata={"help": "bearer token for that endpoint"})
    hang_report_s: float = field(
        default=0.5,
        metadata={"help": "seconds after which a decision that has not returned is reported, counted while its thread could run"},
    )
    hang_interrupt_s: float = field(default=3.0, metadata={"help": "such seconds after which it is interrupted, and its input parked"})
    hang_exit_s: float = field(
        default=6.0, metadata={"help": "such seconds after which a process ends, with code 71, in which it could not be interrupted"}
    )
    log: LogFormat = field(default="auto", metadata={"help": "auto: readable on a terminal, JSON elsewhere"})
    log_level: LogLevel = field(default="info", metadata={"help": "debug, info, warning or error"})
    given: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of the settings that `read` found a value for: what was not given may follow a world that runs already."""

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    def shown(self) -> dict[str, object]:
        """Every setting by its name, with what is secret hidden."""
        return {item.name: "***" if item.name == "embedder_key" else _hide(getattr(self, item.name)) for item in _settings()}

    @classmethod
    def read(cls, environ: Mapping[str, str], /, **overrides: object) -> Self:
        """Settings from `WORLDBUS_*`; an override that is not None wins. Empty means not given.

        Raises `BadSettings` naming every problem at once, with `facts["problems"]` as a tuple.
        """
        problems = _misspelt(environ)
        values: dict[str, object] = {}
        for item in _settings():
            override = overrides.pop(item.name, None)
            name = PREFIX + item.name.upper()
            raw = _found(environ, name, problems) if override is None else str(override)
            if not raw:
                continue
            try:
                values[item.name] = _PARSERS[item.name](raw)
            except ValueError as error:
                option = item.metadata.get("option", item.name.replace("_", "-"))
                problems.append(f"{name if override is None else '--' + option}: {error}")
        problems += [f"no setting is called {name!r}" for name in overrides]
        if not problems:
            settings = cls(**values, given=frozenset(values))  # type: ignore[arg-type]  # every value went through its field's parser
            problems = settings._contradictions()
        if problems:
            raise BadSettings("settings: " + "; ".join(problems), problems=tuple(problems))
        return settings

    @property
    def embedded_nats(self) -> bool:
        return self.nats_url is None

    @property
    def embedded_postgres(self) -> bool:
        return self.postgres_dsn is None

    def _contradictions(self) -> list[str]:
        problems = []
        if self.nats_server is not None and not self.embedded_nats:
            problems.append("nats_server chooses the embedded server's binary, but nats_url names a running server: give one of them")
        if self.websocket is not None and not self.embedded_nats:
            problems.append(
                "websocket opens the embedded server to browsers, but nats_url names a running server: give that one a `websocket` block"
            )
        if self.nats_monitor_url is not None and self.embedded_nats:
            problems.append("nats_monitor_url belongs to nats_url: give both, or neither for the embedded server")
        if self.reader_dsn is not None and self.embedded_postgres and "data" not in self.given:
            problems.append("reader_dsn belongs to postgres_dsn: give both, or neither for the embedded server")
        if not self.hang_report_s <= self.hang_interrupt_s < self.hang_exit_s:
            problems.append(
                "a decision that hangs is reported, then interrupted, then its process ends: wanted hang_report_s <= hang_interrupt_s < "
                f"hang_exit_s, found {self.hang_report_s:g}, {self.hang_interrupt_s:g} and {self.hang_exit_s:g}"
            )
        return problems


def _settings() -> list[Field[object]]:
    return [item for item in fields(Settings) if item.name != "given"]


def _found(environ: Mapping[str, str], name: str, problems: list[str]) -> str:
    """The variable's text, or that of its other name; two texts that differ are a problem."""
    texts = {one: environ[one] for one in (name, ALSO.get(name, name)) if environ.get(one)}
    if len(set(texts.values())) > 1:
        problems.append(f"{' and '.join(texts)}: two names of one setting with different values: give one of them")
    return next(iter(texts.values()), "")


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Variables that are almost a setting. Others may be the platform's (Kubernetes sets WORLDBUS_PORT for a service of that name)."""
    known = {item.name.upper() for item in _settings()} | {name.removeprefix(PREFIX) for name in (*ALSO.values(), GAME)}
    problems = []
    for name in sorted(environ):
        word = name.removeprefix(PREFIX)
        if word == name or word in known:
            continue
        meant = difflib.get_close_matches(word, known, n=1, cutoff=0.85)
        if meant:
            problems.append(f"{name}: no such setting; did you mean {PREFIX}{meant[0]}?")
    return problems


def _hide(value: object) -> object:
    """The value with passwords in addresses (user part, query) replaced."""
    if not isinstance(value, str) or "://" not in value:
        return value
    return ",".join(_hide_one(part) for part in value.split(","))


def _hide_one(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    user, at, place = parts.netloc.rpartition("@")
    shown = (user.split(":")[0] + ":***" if ":" in user else "***") if at else ""
    query = "&".join(f"{key}={'***' if key in ('password', 'token', 'sslpassword') else item}" for key, item in parse_qsl(parts.query))
    return urlunsplit(parts._replace(netloc=shown + at + place, query=query))


def _url(*schemes: str, host: bool = True) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        for part in raw.split(",") if host else (raw,):
            try:
                url = urlsplit(part)
                _ = url.port
            except ValueError as error:
                raise ValueError(f"wanted an address like {schemes[0]}://host:port, found one that cannot be parsed ({error})") from None
            if url.scheme not in schemes or (host and not url.hostname):
                raise ValueError(f"wanted an address like {schemes[0]}://host:port, found {_hide(part)!r}")
        return raw

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in allowed:
            raise ValueError(f"wanted {', '.join(allowed[:-1])} or {allowed[-1]}, found {raw!r}")
        return raw

    return parse


def _token(raw: str) -> str:
    if not _TOKEN.fullmatch(raw):
        raise ValueError(f"wanted 1-64 letters, digits, '_' or '-', found {raw!r}")
    return raw


def _partitions(raw: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", raw) or not 1 <= int(raw) <= MAX_PARTITIONS:
        raise ValueError(f"wanted a whole number from 1 to {MAX_PARTITIONS}, found {raw!r}")
    return int(raw)


def _seconds(raw: str) -> float:
    try:
        seconds = float(raw)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 86_400:
        raise ValueError(f"wanted seconds from 0.01 to 86400, found {raw!r}")
    return seconds


def _path(raw: str) -> Path:
    if "\0" in raw:
        raise ValueError("wanted a path, found one with a zero byte")
    return Path(raw).expanduser()


def _address(raw: str) -> str:
    host, _, port = raw.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"wanted HOST:PORT with a port of 0 to 65535, like 127.0.0.1:9464, found {raw!r}")
    return raw


def _own_address(raw: str) -> str:
    host, _, port = raw.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"wanted an address of this machine like 127.0.0.1:8443, since it speaks without TLS, found {raw!r}")
    return raw


def _labels(raw: str) -> dict[str, str]:
    """`gpu=a10g,zone=b`, or a file of lines like `gpu="a10g"`, as Kubernetes' downward API writes it."""
    if "=" not in raw:
        try:
            raw = Path(raw).expanduser().read_text(encoding="utf-8").replace('"', "")
        except (OSError, ValueError) as error:
            raise ValueError(f"wanted labels like gpu=a10g,zone=b, or a file of such lines, found {raw!r} ({error})") from None
    labels = {}
    for part in re.split(r"[,\n]", raw):
        name, equals, value = part.strip().partition("=")
        if not part.strip():
            continue
        if not equals or not name:
            raise ValueError(f"wanted labels like gpu=a10g,zone=b, found {part.strip()!r}")
        labels[name] = value
    return labels


_PARSERS: dict[str, Callable[[str], object]] = {
    "nats_url": _url("nats", "tls", "ws", "wss"),
    "nats_monitor_url": _url("http", "https"),
    "nats_server": _path,
    "websocket": _own_address,
    "postgres_dsn": _url("postgresql", "postgres", host=False),
    "reader_dsn": _url("postgresql", "postgres", host=False),
    "data": _path,
    "durability": _one_of("strict", "relaxed"),
    "world": _token,
    "partitions": _partitions,
    "release_feed": str,
    "inference": _path,
    "embedder": str,
    "embedder_key": str,
    "node_labels": _labels,
    "metrics": _address,
    "hang_report_s": _seconds,
    "hang_interrupt_s": _seconds,
    "hang_exit_s": _seconds,
    "log": _one_of("auto", "json", "console"),
    "log_level": _one_of("debug", "info", "warning", "error"),
}
