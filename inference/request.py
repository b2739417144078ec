"""A request as a worker holds it, and the rules that it has to keep before anybody tries it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, cast

from bus.event import Event
from inference.deadlines import deadline_of, deadline_problem
from inference.dressing import plain, speakable
from inference.engine import Part, Prompt, Role
from inference.errors import PromptRejected
from inference.fairness import Flow
from inference.json_schema import schema
from inference.ladder import Ladder, Ladders
from inference.passages import Passage, shown
from inference.tiers import TIERS
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested

MAX_PARTS: Final = 32
MAX_NAME: Final = 64
MAX_CHARS: Final = 65_536
MAX_IDS: Final = 32_768
MAX_TOKENS: Final = 4096
MAX_CHOICES: Final = 64
MAX_STOPS: Final = 8
MAX_QUERY: Final = 1024
MAX_PASSAGES: Final = 32
MAX_PASSAGE_TOKENS: Final = 8192
MAX_AUDIENCE: Final = 64
MAX_EXCLUDED: Final = 64
MAX_SPEAKABLE: Final = 8
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ROLES: Final = frozenset({"system", "user", "assistant"})


@dataclass(slots=True, eq=False)
class Ask:
    """One delivered request that keeps the rules. `attempt` counts deliveries from 1; `reply` settles the delivery."""

    event: Event
    request: InferenceRequested
    ladder: Ladder
    deadline_ns: int
    attempt: int
    reply: bytes
    passages: tuple[Passage, ...] = ()
    """Passages of the knowledge base that the model is shown."""
    knowledge: str = ""
    """Outcome of the search for them, as in `Measured`."""
    retrieval_us: int = 0
    flow: Flow = field(init=False)
    """The player whose share of the slots it takes."""
    salience: float = field(init=False)
    """Importance: as the asker says, as far as this asker has a say in it."""

    def __post_init__(self) -> None:
        asker, player = self.event.subsystem, self.request.player
        # Whom another subsystem than the kind's askers names cannot be checked: it shall not eat into that player's own share.
        self.flow = Flow(self.event.world, player if self.ladder.trusts(asker) else f"{asker}/{player}")
        self.salience = min(max(self.request.salience, 0.0), self.ladder.most_salience(self.event.subsystem))

    @property
    def id(self) -> str:
        return self.request.request_id

    @property
    def world(self) -> str:
        return self.event.world

    @property
    def speakable(self) -> tuple[str, ...]:
        """Properties of the answer whose texts are spoken."""
        return speakable(self.request.speakable)

    @property
    def grammar(self) -> str:
        """The grammar for this request, empty if its kind has none."""
        return self.request.fallback.grammar or self.ladder.grammar

    @property
    def wants_passages(self) -> bool:
        """True if there is anything to look up for it."""
        return self.request.HasField("knowledge") and not self.request.token_ids

    def choices(self) -> tuple[str, ...]:
        """Prepared lines among which an engine may choose."""
        return tuple(self.request.choices) or tuple(self.request.fallback.lines)[:MAX_CHOICES] or self.ladder.lines


def request_of(event: Event) -> InferenceRequested:
    """The payload; raises `BadEvent`."""
    return cast(InferenceRequested, event.data)


def who_of(event: Event) -> dict[str, Any]:
    """The fields that every end of a request has about its asker and its subject."""
    request = request_of(event)
    return {
        "request_id": request.request_id[:64],
        "requester_subsystem": event.subsystem,
        "requester_entity": event.entity,
        "kind": request.kind[:64],
        "player": request.player[:64],
        "npc": request.npc[:64],
    }


def ask_of(event: Event, ladder: Ladder, attempt: int, reply: bytes) -> Ask:
    """The ask of a request without problems."""
    request = request_of(event)
    return Ask(event, request, ladder, deadline_of(request, event.recorded_ns), attempt, reply)


def prompt_of(ask: Ask, max_tokens: int, *, choice: bool = False) -> Prompt:
    """Make the engine's prompt. With `choice` the engine only chooses among the prepared lines."""
    request = ask.request
    narrow = choice and not request.choices
    temperature = request.temperature if request.HasField("temperature") else ask.ladder.temperature
    prompt = Prompt(
        parts=tuple(Part(cast(Role, part.role), part.text) for part in request.prompt),
        token_ids=tuple(request.token_ids),
        json_schema="" if narrow else request.json_schema,
        choices=ask.choices() if narrow else tuple(request.choices),
        max_tokens=max_tokens,
        seed=request.seed,
        temperature=temperature,
        stop=tuple(request.stop),
        others=_names(request.player),
        own=_names(request.npc),
        id=request.request_id,
        grammar=ask.grammar,
        slots=tuple((slot.name, plain(slot.text)) for slot in request.fallback.slots),
    )
    return shown(prompt, ask.passages) if ask.passages else prompt


def _names(token: str) -> tuple[str, ...]:
    """An entity as a model may write its name."""
    return (token, token.replace("-", " ").replace("_", " ")) if token else ()


def prompt_hash(prompt: Prompt) -> str:
    """32 hexadecimal digits of everything that the model was shown and how it was asked to answer."""
    said = [
        [[part.role, part.text] for part in prompt.parts], prompt.token_ids, prompt.json_schema, prompt.choices, prompt.max_tokens,
        prompt.seed, prompt.temperature, prompt.stop, prompt.spoken,
    ]  # fmt: skip
    return blake2b(json.dumps(said, separators=(",", ":")).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def problem_of(request: InferenceRequested, recorded_ns: int, ladders: Ladders) -> tuple[str, str] | None:
    """(code, reason) of the first rule that a request breaks, as in `InferenceRejected`; None if it keeps them all."""
    if _TOKEN.fullmatch(request.request_id) is None:
        return "BAD_ID", f"request_id must be 1 to 64 of A-Z a-z 0-9 _ -, found {ascii(request.request_id)[:80]}: choose another"
    if request.cancel_key and _TOKEN.fullmatch(request.cancel_key) is None:
        return "BAD_ID", f"cancel_key must be up to 64 of A-Z a-z 0-9 _ -, found {ascii(request.cancel_key)[:80]}: choose another"
    for name, value in (("player", request.player), ("npc", request.npc)):
        if len(value) > MAX_NAME:
            return "BAD_ID", f"{name} must have at most {MAX_NAME} characters, found {len(value)}: use the id of the entity"
    if request.tier not in TIERS:
        return "UNKNOWN_TIER", f"wanted one of {', '.join(TIERS)}, found {ascii(request.tier)[:80]}"
    if _TOKEN.fullmatch(request.kind) is None or ladders.of(request.kind) is None:
        return "UNKNOWN_KIND", f"wanted a kind with a ladder, found {ascii(request.kind)[:80]}: add it to ladder.toml"
    if late := deadline_problem(request, recorded_ns):
        return "BAD_DEADLINE", late
    return _bad_prompt(request) or _bad_shape(request) or _bad_setting(request) or _bad_knowledge(request)


def _bad_prompt(request: InferenceRequested) -> tuple[str, str] | None:
    parts, ids = request.prompt, request.token_ids
    if bool(parts) == bool(ids):
        return "BAD_PROMPT", f"wanted either prompt parts or token_ids, found {len(parts)} parts and {len(ids)} ids"
    if len(parts) > MAX_PARTS:
        return "BAD_PROMPT", f"at most {MAX_PARTS} parts, found {len(parts)}: join some"
    roles = {part.role for part in parts} - _ROLES
    if roles:
        return "BAD_PROMPT", f"wanted the roles {', '.join(sorted(_ROLES))}, found {ascii(min(roles))[:80]}"
    chars = sum(len(part.text) for part in parts)
    if chars > MAX_CHARS or len(ids) > MAX_IDS:
        return "PROMPT_TOO_LONG", f"at most {MAX_CHARS} characters or {MAX_IDS} tokens, found {chars} and {len(ids)}: show the model less"
    return None


def _bad_shape(request: InferenceRequested) -> tuple[str, str] | None:
    if request.json_schema and request.choices:
        return "BAD_SCHEMA", "wanted json_schema or choices, found both: give one"
    if request.json_schema and (wrong := _bad_schema(request.json_schema)):
        return "BAD_SCHEMA", wrong
    names = request.speakable
    if len(names) > MAX_SPEAKABLE or len(set(names)) < len(names) or not all(1 <= len(name) <= MAX_NAME for name in names):
        wanted = f"at most {MAX_SPEAKABLE} different names of 1 to {MAX_NAME} characters"
        return "BAD_SCHEMA", f"speakable: wanted {wanted}, found {ascii(list(names[:9]))[:200]}"
    if len(request.choices) > MAX_CHOICES or not all(request.choices) or len(set(request.choices)) != len(request.choices):
        return "BAD_CHOICES", f"wanted at most {MAX_CHOICES} different texts, none empty, found {len(request.choices)}"
    return None


def _bad_schema(text: str) -> str:
    try:
        schema(text)
    except PromptRejected as error:
        return str(error)
    return ""


def _bad_setting(request: InferenceRequested) -> tuple[str, str] | None:
    if not 1 <= request.max_tokens <= MAX_TOKENS:
        return "BAD_SETTING", f"max_tokens must be 1 to {MAX_TOKENS}, found {request.max_tokens}"
    if not 0 <= request.salience <= 1:
        return "BAD_SETTING", f"salience must be 0 to 1, found {request.salience}"
    if request.HasField("temperature") and not 0 <= request.temperature <= 2:
        return "BAD_SETTING", f"temperature must be 0 to 2, found {request.temperature}"
    if request.seed < 0:
        return "BAD_SETTING", f"seed must be 0 or more, found {request.seed}"
    if len(request.stop) > MAX_STOPS or not all(request.stop):
        return "BAD_SETTING", f"at most {MAX_STOPS} stop texts, none empty, found {len(request.stop)}"
    return None


def _bad_knowledge(request: InferenceRequested) -> tuple[str, str] | None:
    if not request.HasField("knowledge"):
        return None
    wanted = request.knowledge
    if not 1 <= len(wanted.query) <= MAX_QUERY:
        return "BAD_KNOWLEDGE", f"the query must have 1 to {MAX_QUERY} characters, found {len(wanted.query)}"
    if not (1 <= wanted.most <= MAX_PASSAGES and 1 <= wanted.token_budget <= MAX_PASSAGE_TOKENS):
        limits = f"most must be 1 to {MAX_PASSAGES} and token_budget 1 to {MAX_PASSAGE_TOKENS}"
        return "BAD_KNOWLEDGE", f"{limits}, found {wanted.most} and {wanted.token_budget}"
    if len(wanted.audience) > MAX_AUDIENCE or len(wanted.exclude) > MAX_EXCLUDED:
        limits = f"at most {MAX_AUDIENCE} tokens of an audience and {MAX_EXCLUDED} excluded passages"
        return "BAD_KNOWLEDGE", f"{limits}, found {len(wanted.audience)} and {len(wanted.exclude)}"
    if wanted.as_of < 0 or (wanted.owner and _TOKEN.fullmatch(wanted.owner) is None):
        return "BAD_KNOWLEDGE", f"as_of must be 0 or more and owner a name, found {wanted.as_of} and {ascii(wanted.owner)[:80]}"
    return None
