"""The meaning of an endpoint's events, in the words of every vendor that was met (tests/conformance/dialects.py names them)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from inference.engine import Chunk, End, Finish, Prompt
from inference.engines.openai.body import CHOICE
from inference.engines.openai.sse import DONE
from inference.errors import AnswerFailed, AnswerRefused

_LENGTH: Final = frozenset({"length", "max_tokens", "model_length", "max_output_tokens", "max_length", "token_limit"})
_REFUSED: Final = frozenset(
    {"content_filter", "contentfilter", "content-filter", "safety", "refusal", "recitation", "blocklist", "prohibited_content", "spii"}
    | {"sensitive", "language", "guardrail", "moderation", "image_safety"}
)
_BROKEN: Final = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "malformed_function_call"}
)
_NONE: Final = frozenset({"", "null", "none"})  # texts with which some say that it goes on
_POLICY: Final = (
    "content_filter",
    "content filter",
    "content_policy",
    "content policy",
    "responsibleai",
    "content management policy",
    "moderation",
)


def finish_of(word: str) -> Finish:
    """The reason for which an answer ended, by any vendor's word. Raises `AnswerRefused` or `AnswerFailed` for those that are no end."""
    plain = word.strip().lower().removeprefix("finish_reason_")
    if plain in _REFUSED:
        raise AnswerRefused(f"the endpoint ended the answer by its policy: {word!r:.100}")
    if plain in _BROKEN:
        raise AnswerFailed(f"the endpoint broke the answer off: {word!r:.100}")
    return "length" if plain in _LENGTH else "stop"


def is_policy(text: str) -> bool:
    """True if the words of an error speak of a content policy."""
    return any(word in text.lower() for word in _POLICY)


class Answering:
    """One answer as it comes: a stream of events, or a whole JSON document in place of it."""

    def __init__(self, prompt: Prompt, wrapped: bool) -> None:
        self._prompt = prompt
        self._wrapped = wrapped
        self._held: list[str] = []  # of a wrapped choice: it can be spoken only when it is whole
        self._finish: str | None = None
        self._tokens = 0
        self._unspoken = 0  # tokens of thoughts, as far as they come in fields of their own
        self._usage: Mapping[str, Any] = {}
        self._done = False
        self._said = False
        self._half = ""  # a surrogate that waits for its other half

    @property
    def over(self) -> bool:
        """True if the answer is whole, whatever comes behind it."""
        return self._done or self._finish is not None

    def take(self, event: str) -> Chunk | None:
        """The chunk in an event, if it has text. Raises `AnswerFailed` for what cannot be read, `AnswerRefused` for a policy's word."""
        if event == DONE:
            self._done = True
            return None
        if event[:1] not in ("{", "["):
            return None  # a sign of life in words
        try:
            value = json.loads(event)
        except (ValueError, RecursionError) as error:
            raise AnswerFailed(f"wanted an event of a chat completion, found {event!r:.200}: the endpoint garbles its answer") from error
        if not isinstance(value, dict):
            raise AnswerFailed(f"wanted an event of a chat completion, found {event!r:.200}: the endpoint speaks another protocol")
        self._fail(value)
        usage = value.get("usage")
        self._usage = usage if isinstance(usage, dict) and usage else self._usage
        choices = value.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        return self._choice_of(choice) if isinstance(choice, dict) else None

    def _fail(self, value: Mapping[str, Any]) -> None:
        error = value.get("error")
        if not error and value.get("object") == "error":
            error = value.get("message") or value
        if error:
            said = json.dumps(error, ensure_ascii=False) if not isinstance(error, str) else error
            kind = AnswerRefused if is_policy(said) else AnswerFailed
            raise kind(f"the endpoint failed while it spoke: {said:.300}")

    def _choice_of(self, choice: Mapping[str, Any]) -> Chunk | None:
        ended = self._finish is not None
        said = choice.get("delta") if isinstance(choice.get("delta"), dict) else None
        said = said or (choice.get("message") if isinstance(choice.get("message"), dict) else {}) or {}
        if said.get("refusal"):
            raise AnswerRefused(f"the model refuses: {said['refusal']!r:.200}")
        text = _text(said.get("content")) or _text(choice.get("text"))
        if any(_text(said.get(name)) for name in ("reasoning_content", "reasoning", "thinking")):
            self._unspoken += 1
        word = choice.get("finish_reason")
        if isinstance(word, str) and word.strip().lower() not in _NONE:
            self._finish = word
        return None if ended else self._chunk(self._joined(text))

    def _joined(self, text: str) -> str:
        """`text` with surrogate pairs joined, also over two events; a half without its other one is left out."""
        text, self._half = self._half + text, ""
        if not text or text.isascii():
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")

    def _chunk(self, text: str) -> Chunk | None:
        if not text:
            return None
        self._tokens += 1
        self._said = True
        if self._wrapped:
            self._held.append(text)
            return None
        return Chunk(text)

    def end(self) -> Chunk:
        """The last chunk. Raises `AnswerFailed` if the stream was cut off, `AnswerRefused` if a policy ended it."""
        finish: Finish = "stop"
        if self._finish is not None:
            finish = finish_of(self._finish)
        elif not (self._done and self._said):
            raise AnswerFailed("wanted the answer's end, found the stream's end: the endpoint broke off")
        if finish == "stop" and (self._prompt.choices or self._prompt.json_schema):
            finish = "matched"
        details = self._usage.get("prompt_tokens_details")
        tokens = max(_count(self._usage.get("completion_tokens")), self._tokens + self._unspoken)
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
        end = End(finish, _count(self._usage.get("prompt_tokens")), cached, tokens)
        # An event may hold several tokens and does not say so: what is missing from the count comes with the end.
        return Chunk(self._choice(), tokens=tokens - (0 if self._wrapped else self._tokens), end=end)

    def _choice(self) -> str:
        if not self._wrapped:
            return ""
        text = "".join(self._held)
        try:
            said = json.loads(text)[CHOICE]
        except (ValueError, TypeError, KeyError) as error:
            raise AnswerFailed(f"wanted one of the choices, found {text!r:.200}: the endpoint ignores schemas") from error
        if said not in self._prompt.choices:
            raise AnswerFailed(f"wanted one of the choices, found {said!r:.200}: the endpoint ignores schemas")
        return str(said)


def _text(content: Any) -> str:
    """The text of a message: as it is, or the texts among its parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_parts(content))
    return ""


def _parts(content: list[Any]) -> Iterator[str]:
    for part in content:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            text = part.get("text")
            yield text if isinstance(text, str) else ""


def _count(value: object) -> int:
    """A count of tokens, however it is written; 0 for what is none."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if isinstance(value, float):
        value = int(value) if 0 < value < 1e9 else 0
    return min(value, 10**9) if isinstance(value, int) and value > 0 else 0
