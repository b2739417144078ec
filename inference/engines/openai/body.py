"""The body of a request, as the endpoint's profile wants it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from inference.engine import Prompt
from inference.engines.openai.profiles import Profile, Roles
from inference.engines.openai.settings import OpenAiSettings
from inference.json_schema import schema
from inference.prompts import dice

_CONTROL: Final = re.compile(r"<\|(?=[^<>|\s]{1,40}\|>)")  # how most templates write what is no word
CHOICE: Final = "choice"  # the property in which a wrapped choice travels

Message = dict[str, str]


def body_of(settings: OpenAiSettings, profile: Profile, prompt: Prompt, roles: Roles) -> dict[str, Any]:
    """The JSON of a request."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": messages(prompt, roles),
        "max_tokens": prompt.max_tokens,
        "temperature": settings.temperature if prompt.temperature is None else prompt.temperature,
        "seed": dice(prompt),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.stop:
        body["stop"] = list(prompt.stop)
    if prompt.json_schema:
        body["response_format"] = _format(schema(prompt.json_schema), profile)
    elif wrapped(prompt, profile):
        body["response_format"] = _format(_choice(prompt.choices), profile)
    elif prompt.choices:
        body["structured_outputs"] = {"choice": list(prompt.choices)}
    if prompt.spoken:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if profile.vllm and prompt.deadline is not None:
        body["priority"] = int(prompt.deadline * 1000)
    sent = {profile.rename.get(name, name): value for name, value in body.items() if name not in profile.leave_out}
    return sent | dict(settings.extra)


def wrapped(prompt: Prompt, profile: Profile) -> bool:
    """True if choices travel as a schema, because the endpoint knows no other way."""
    return bool(prompt.choices) and not profile.vllm


def messages(prompt: Prompt, roles: Roles) -> list[Message]:
    """The parts of a prompt as messages, joined where the endpoint's template wants roles to take turns."""
    parts = [{"role": part.role, "content": harmless(part.text)} for part in prompt.parts]
    if prompt.spoken:
        parts.append({"role": "assistant", "content": harmless(prompt.spoken)})
    if roles == "any":
        return parts
    return _merged(_folded(parts) if roles == "folded" else _system_first(parts))


def _merged(parts: Sequence[Message]) -> list[Message]:
    groups = groupby(parts, key=lambda part: part["role"])
    return [{"role": role, "content": "\n\n".join(part["content"] for part in group)} for role, group in groups]


def _system_first(parts: Sequence[Message]) -> list[Message]:
    """Strict templates take one system part, at the beginning; and then a user, so an answer without a question gets one."""
    system = [part for part in parts if part["role"] == "system"]
    return [*system, *_question([part for part in parts if part["role"] != "system"])]


def _folded(parts: Sequence[Message]) -> list[Message]:
    system = [{"role": "user", "content": part["content"]} for part in parts if part["role"] == "system"]
    return _question([*system, *(part for part in parts if part["role"] != "system")])


def _question(parts: list[Message]) -> list[Message]:
    return parts if parts and parts[0]["role"] == "user" else [{"role": "user", "content": "..."}, *parts]


def harmless(text: str) -> str:
    """`text` without control tokens: servers put texts into the model's template as they are, where `<|im_end|>` would end the part."""
    return _CONTROL.sub("< |", text)


def _format(shape: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    fitting = dict(shape) if profile.vllm and not profile.schema_without else _fitting(shape, profile.schema_without)
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": fitting, "strict": True}}


def _fitting(shape: Any, without: frozenset[str]) -> Any:
    """A schema without the keywords that the endpoint refuses, every enumeration of texts with its type, as many want it."""
    if not isinstance(shape, Mapping):
        return [_fitting(one, without) for one in shape] if isinstance(shape, list) else shape
    fitting = {
        key: {name: _fitting(inner, without) for name, inner in value.items()}
        if key in ("properties", "$defs", "definitions") and isinstance(value, Mapping)
        else value
        if key in ("enum", "const", "required", "default", "examples")
        else _fitting(value, without)
        for key, value in shape.items()
        if key not in without
    }
    values = fitting.get("enum")
    if isinstance(values, list) and "type" not in fitting and all(isinstance(value, str) for value in values):
        fitting["type"] = "string"
    return fitting


def _choice(choices: Sequence[str]) -> dict[str, Any]:
    shape = {CHOICE: {"type": "string", "enum": list(choices)}}
    return {"type": "object", "properties": shape, "required": [CHOICE], "additionalProperties": False}
