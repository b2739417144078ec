"""The telling of a beat: the request to a model, and the part of its answer that is taken.

Whatever comes back, something is told and no fact is broken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final

from google.protobuf.message import Message

from handlers.storyteller.state import Arc
from handlers.storyteller.tables import ArcTable, Beat
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Fallback, Knowledge, PromptPart
from schemas.gen.worldbus.storyteller.v1.storyteller_pb2 import StoryFactEstablished, StoryFactRefused, StoryNarrated

KIND: Final = "story_beat"
BUDGET_MS: Final = 2_000  # real milliseconds for the whole answer
MAX_TOKENS: Final = 220
MAX_TEXT: Final = 4_000  # characters told
MOST_PASSAGES: Final = 4  # of the knowledge base
PASSAGE_TOKENS: Final = 500  # of all of them together
MAX_QUERY: Final = 1_024  # characters
MAX_CLAIMS: Final = 8  # facts looked at in one answer
MAX_NAME: Final = 64
AUTHORED: Final = "authored"
RULES: Final = (
    "You tell one beat of a story in two to four sentences, past tense, dry and exact. "
    "What is listed as known is true: never contradict it, never decide what is not asked of you."
)

Said = Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer that came back: a text, its source, and the facts that it claims."""

    text: str
    rung: str
    claims: Mapping[str, str] = field(default_factory=dict)


def asked(table: ArcTable, arc: Arc, beat: Beat, number: int, event_id: str) -> InferenceRequested:
    """The request for the narration of a beat; `arc` already knows what the beat itself establishes."""
    digest = blake2b(f"{event_id}\n{table.name}\n{number}".encode(), digest_size=16)
    open_facts = {fact: table.facts[fact] for fact in beat.narrates if not arc.fact(fact)}
    return InferenceRequested(
        request_id=f"story-{digest.hexdigest()}",
        tier="silver",
        kind=KIND,
        prompt=_prompt(table, arc, beat, open_facts),
        json_schema=_schema(open_facts) if open_facts else "",
        speakable=("text",) if open_facts else (),
        max_tokens=MAX_TOKENS,
        budget_ms=BUDGET_MS,
        salience=beat.tension / 1000,
        seed=int.from_bytes(digest.digest()[:7], "big"),
        cancel_key=table.name,
        fallback=Fallback(lines=[json.dumps({"text": beat.text, "facts": {}}) if open_facts else beat.text]),
        knowledge=_knowledge(beat),
    )


def _knowledge(beat: Beat) -> Knowledge:
    """The model's knowledge of the world: the public part of it, for everybody hears the beat.

    Secrets come into a story through its beats, in their author's words; no model is shown them whose words players hear.
    """
    query = f"{beat.title}. {beat.text}"[:MAX_QUERY]
    return Knowledge(query=query, audience=("public",), most=MOST_PASSAGES, token_budget=PASSAGE_TOKENS)


def _prompt(table: ArcTable, arc: Arc, beat: Beat, open_facts: Mapping[str, Sequence[str]]) -> list[PromptPart]:
    known = "\n".join(f"- {fact}: {value}" for fact, value in arc.facts) or "- nothing yet"
    before = "\n".join(f"- {table.beats[name].title}: {table.beats[name].text}" for name in arc.played[-4:] if name in table.beats)
    decide = "".join(f"\nDecide, if it fits, {fact}: one of {', '.join(values)}." for fact, values in open_facts.items())
    return [
        PromptPart(role="system", name="rules", text=RULES),
        PromptPart(role="system", name="premise", text=f"{table.title}. {table.premise}"),
        PromptPart(role="system", name="continuity", text=f"Known:\n{known}"),
        PromptPart(role="system", name="before", text=f"Told before:\n{before or '- nothing yet'}"),
        PromptPart(role="user", name="situation", text=f"Tell this beat: {beat.title}. {beat.text}{decide}"),
    ]


def _schema(open_facts: Mapping[str, Sequence[str]]) -> str:
    facts = {fact: {"type": "string", "enum": list(values)} for fact, values in open_facts.items()}
    shape = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "facts": {"type": "object", "properties": facts, "additionalProperties": False}},
        "required": ["text", "facts"],
        "additionalProperties": False,
    }
    return json.dumps(shape)


def read(beat: Beat, text: str, rung: str) -> Answer:
    """The words of a model, taken with care; what cannot be used is told in the author's words."""
    if not beat.narrates or not text.lstrip().startswith("{"):
        return Answer(text=text[:MAX_TEXT], rung=rung) if text.strip() else authored(beat)
    try:
        shape = json.loads(text)
    except (ValueError, RecursionError):
        return authored(beat)
    told = shape.get("text") if isinstance(shape, dict) else None
    if not isinstance(told, str) or not told.strip() or not _encodable(told):
        return authored(beat)
    return Answer(text=told[:MAX_TEXT], rung=rung, claims=_claims(shape.get("facts")))


def _encodable(text: str) -> bool:
    """JSON can spell half a surrogate pair, which no event can carry."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _claims(facts: Any) -> dict[str, str]:
    if not isinstance(facts, dict):
        return {}
    whole = {fact: value for fact, value in facts.items() if isinstance(value, str) and _encodable(fact) and _encodable(value)}
    return {fact[:MAX_NAME]: value[:MAX_NAME] for fact, value in list(whole.items())[:MAX_CLAIMS]}


def authored(beat: Beat) -> Answer:
    """The author's own words."""
    return Answer(text=beat.text, rung=AUTHORED)


def told(table: ArcTable, arc: Arc, beat: Beat, answer: Answer) -> tuple[Said, Arc]:
    """The events after a beat has been told, and the arc with the facts that its narration established."""
    number = len(arc.played)
    said: list[Message] = [StoryNarrated(number=number, beat=beat.name, text=answer.text, rung=answer.rung, request_id=arc.request)]
    for fact, value in answer.claims.items():
        known = arc.fact(fact)
        if known == value:
            continue
        if known or fact not in beat.narrates or value not in table.facts[fact]:
            said.append(StoryFactRefused(fact=fact, value=value, known=known, number=number, source="narration"))
            continue
        said.append(StoryFactEstablished(fact=fact, value=value, number=number, source="narration"))
        arc = replace(arc, facts=(*arc.facts, (fact, value)))
    return said, arc
