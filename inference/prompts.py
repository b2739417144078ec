"""The prompts that every engine refuses, in one place: those that contradict themselves, ask for missing abilities, or mean nothing."""

from __future__ import annotations

from typing import Final

from inference.engine import Abilities, Prompt
from inference.errors import PromptRejected
from inference.json_schema import schema

MAX_CHARACTERS: Final = 65_536
MAX_TOKEN_IDS: Final = 32_768
MAX_CHOICES: Final = 64
MAX_NEW_TOKENS: Final = 4_096
_RESEED: Final = 0x9E3779B97F4A7C15  # spreads neighbouring seeds; odd, so nothing is lost


def check(prompt: Prompt, abilities: Abilities, engine: str) -> None:
    """Raises `PromptRejected` unless an engine of these abilities can take the prompt."""
    _content(prompt)
    _settings(prompt)
    if prompt.json_schema:
        schema(prompt.json_schema)
    asked = {
        "json_schema": bool(prompt.json_schema),
        "choices": bool(prompt.choices),
        "token_ids": bool(prompt.token_ids),
        "resume": bool(prompt.spoken or prompt.spoken_ids),
    }
    for ability, wanted in asked.items():
        if wanted and not getattr(abilities, ability):
            raise PromptRejected(f"wanted {ability}, but engine {engine} cannot do it: ask another engine", ability=ability, engine=engine)


def dice(prompt: Prompt) -> int:
    """The seed for a model: what goes on from a spoken text needs other dice than its beginning had, or it says the beginning again."""
    return (prompt.seed + _RESEED * len(prompt.spoken)) % 2**63


def _content(prompt: Prompt) -> None:
    if bool(prompt.parts) == bool(prompt.token_ids):
        raise PromptRejected("wanted either parts or token ids to show to the model, found " + ("both" if prompt.parts else "neither"))
    characters = sum(len(part.text) for part in prompt.parts) + len(prompt.spoken)
    if characters > MAX_CHARACTERS or len(prompt.token_ids) > MAX_TOKEN_IDS:
        raise PromptRejected(
            f"wanted at most {MAX_CHARACTERS} characters or {MAX_TOKEN_IDS} tokens, found {characters} and {len(prompt.token_ids)}",
            code="PROMPT_TOO_LONG",
        )
    if not prompt.token_ids and not any(part.text for part in prompt.parts):
        raise PromptRejected("wanted text to show to the model, found only empty parts")
    try:
        "".join(part.text for part in prompt.parts).encode()
    except UnicodeEncodeError as error:
        raise PromptRejected(f"wanted text, found half a character (a lone surrogate): {error.reason}") from error
    if any(token < 0 for token in (*prompt.token_ids, *prompt.spoken_ids)):
        raise PromptRejected("wanted token ids of 0 or more, found a negative one")


def _settings(prompt: Prompt) -> None:
    if not 1 <= prompt.max_tokens <= MAX_NEW_TOKENS:
        raise PromptRejected(f"wanted 1 to {MAX_NEW_TOKENS} tokens, found {prompt.max_tokens}", code="BAD_SETTING")
    if not 0 <= prompt.seed < 2**63:
        raise PromptRejected(f"wanted a seed from 0 to 2^63 - 1, found {prompt.seed}", code="BAD_SETTING")
    if prompt.temperature is not None and not 0 <= prompt.temperature <= 2:
        raise PromptRejected(f"wanted a temperature from 0 to 2, found {prompt.temperature}", code="BAD_SETTING")
    if len(prompt.stop) > 8 or not all(prompt.stop):
        raise PromptRejected(f"wanted at most 8 stop texts, none of them empty, found {prompt.stop!r:.200}", code="BAD_SETTING")
    if prompt.json_schema and prompt.choices:
        raise PromptRejected("wanted a schema or choices, found both", code="BAD_CHOICES")
    if len(prompt.choices) > MAX_CHOICES or not all(prompt.choices) or len(set(prompt.choices)) < len(prompt.choices):
        raise PromptRejected(
            f"wanted at most {MAX_CHOICES} different choices, none of them empty, found {prompt.choices!r:.200}", code="BAD_CHOICES"
        )
    if (prompt.spoken or prompt.spoken_ids) and (prompt.json_schema or prompt.choices):
        raise PromptRejected("wanted to go on inside JSON or a choice: start over, no engine can resume there", ability="resume")
