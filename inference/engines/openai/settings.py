"""The address and the abilities of an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from bus.errors import BadSettings
from inference.engines.openai.profiles import PROFILES, Profile, Roles

NEEDED: Final = frozenset({"model", "messages", "stream"})  # without them there is no request


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiSettings:
    """One endpoint. Raises `BadSettings` with everything that cannot work."""

    url: str
    """Up to and with the version, e.g. `http://127.0.0.1:8000/v1`; of Azure up to and with the deployment."""
    model: str
    key: str = field(default="", repr=False)
    """Sent in a header only; never in messages."""
    slots: int = 8
    context: int = 0
    """Most tokens of prompt and answer together, if known."""
    dialect: str = "openai"
    """The kind of endpoint: one of `profiles.PROFILES`."""
    leave_out: Sequence[str] = ()
    """Further fields that it refuses."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Fields that it calls otherwise."""
    roles: str = ""
    """`any`, `merged` or `folded`, as in `profiles.Profile`; empty: as its kind has it. Learned where the endpoint refuses roles."""
    schema_without: Sequence[str] = ()
    """Further keywords of JSON Schema that it refuses."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Behind the address of every request, e.g. Azure's `api-version`."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of every request."""
    thinks: bool = False
    """The model's answers begin inside a thought, without an opening mark: nothing is spoken before the closing one."""
    schemas: bool = True
    seeds: bool = False
    """True if the same seed means the same answer. OpenAI itself promises no more than its best effort."""
    caches: bool = False
    """True if the endpoint says how many tokens of a prompt it had cached (vLLM's server: `--enable-prompt-tokens-details`)."""
    temperature: float = 0.7
    connect_seconds: float = 2.0
    silent_seconds: float = 30.0
    """Seconds without a byte after which an answer has failed."""
    keep_alive_seconds: float = 4.0
    """The life of an idle connection: below the 5 seconds after which vLLM's server closes it."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every request."""

    def __post_init__(self) -> None:
        wrong = sorted(NEEDED & {*self.leave_out, *self.rename})
        faults = [
            *([] if self.url.startswith(("http://", "https://")) else [f"url: wanted http:// or https://, found {self.url!r}"]),
            *([] if self.model else ["model: wanted a name, found nothing"]),
            *([] if self.slots >= 1 else [f"slots: wanted 1 or more, found {self.slots}"]),
            *([] if self.dialect in PROFILES else [f"dialect: wanted one of {', '.join(PROFILES)}, found {self.dialect!r}"]),
            *([] if self.roles in ("", *get_args(Roles)) else [f"roles: wanted {', '.join(get_args(Roles))}, found {self.roles!r}"]),
            *([f"leave_out, rename: no request can do without {', '.join(wrong)}"] if wrong else []),
            *([] if min(self.connect_seconds, self.silent_seconds, self.keep_alive_seconds) > 0 else ["wanted times above 0"]),
        ]
        if faults:
            raise BadSettings("openai: " + "; ".join(faults))

    @property
    def profile(self) -> Profile:
        """The profile of the endpoint's kind, with the differences that these settings name."""
        kind = PROFILES[self.dialect]
        roles: Any = self.roles or kind.roles
        return Profile(
            leave_out=kind.leave_out | frozenset(self.leave_out),
            rename={**kind.rename, **self.rename},
            roles=roles,
            schema_without=kind.schema_without | frozenset(self.schema_without),
            key_header=kind.key_header,
            vllm=kind.vllm,
        )
