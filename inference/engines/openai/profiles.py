"""The peculiarities of the endpoints that people use, as data. A setting of the same name overrides a value of the profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Roles = Literal["any", "merged", "folded"]
LENGTHS: Final = ("minLength", "maxLength", "minItems", "maxItems", "pattern", "format", "minimum", "maximum", "multipleOf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of endpoint.

    leave_out       fields of the request that it refuses or does not know
    rename          fields that it calls otherwise
    roles           `any` order; `merged`: neighbours of one role are joined; `folded`: also `system` stands before the first user's words
    schema_without  keywords of JSON Schema that it refuses; answers are checked for them here in any case
    key_header      header that carries the key; `Authorization` with `Bearer` before it if empty
    """

    leave_out: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    roles: Roles = "any"
    schema_without: frozenset[str] = frozenset()
    key_header: str = ""
    vllm: bool = False
    """Choices, going on from a spoken text, and priorities, by fields that vLLM's server adds to the protocol."""


PROFILES: Final[Mapping[str, Profile]] = {
    "openai": Profile(),
    "openai-chat": Profile(rename={"max_tokens": "max_completion_tokens"}),
    "openai-reasoning": Profile(
        rename={"max_tokens": "max_completion_tokens"},
        leave_out=frozenset({"temperature", "stop", "seed"}),
        schema_without=frozenset(LENGTHS),
    ),
    "azure": Profile(key_header="api-key", rename={"max_tokens": "max_completion_tokens"}),
    "vllm": Profile(vllm=True),
    "llama.cpp": Profile(roles="merged", leave_out=frozenset({"stream_options"})),
    "ollama": Profile(leave_out=frozenset({"stream_options"})),
    "lmstudio": Profile(roles="merged", leave_out=frozenset({"stream_options"})),
    "mistral": Profile(rename={"seed": "random_seed"}, leave_out=frozenset({"stream_options"})),
    "gemini": Profile(leave_out=frozenset({"seed", "stream_options"}), schema_without=frozenset({*LENGTHS, "additionalProperties"})),
}
