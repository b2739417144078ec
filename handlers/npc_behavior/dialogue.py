"""Talk: words of a player become a question to a model, and its answer is checked before the character says or does anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from handlers.answers import by_model
from handlers.npc_behavior.feelings import affected, feel
from handlers.npc_behavior.memory import plain, room, words_of
from handlers.npc_behavior.mind import tie_now
from handlers.npc_behavior.prompt import MAX_SAY, NO_DEED, forbidden, own_line, request, seed
from handlers.npc_behavior.state import HEARD, Npc, Question, Tie
from handlers.npc_behavior.tables import Action, Effect, Persona, Tables
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.inference.v1.inference_pb2 import (
    InferenceCancelled,
    InferenceCancelRequested,
    InferenceCompleted,
    InferenceDegraded,
    InferenceExpired,
    InferenceRejected,
)
from schemas.gen.worldbus.npc.v1.npc_pb2 import NpcActed, NpcActionRejected, NpcKeptSilent, NpcSpoke

MAX_WORDS: Final = 2000  # characters of a player
MAX_ANSWER: Final = 8000  # characters of a model
MOST_MENTIONS: Final = 3  # that make words more worth remembering
MOST_PULSES: Final = 1  # at the pulse after so many of them nobody will answer any more
TOO_AFRAID: Final = 900  # fear from which on a character does not talk
AUTHORED: Final = "authored"

Ended = InferenceCompleted | InferenceDegraded | InferenceExpired | InferenceCancelled | InferenceRejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The words and the deed that a character wants; `problem` is (code, finding) of a fault in them."""

    say: str
    emotion: str = "neutral"
    action: str = ""
    problem: tuple[str, str] | None = None


# ---- hearing --------------------------------------------------------------------------------------------------------------------------


def heard(tables: Tables, persona: Persona, npc: Npc, event: Event, it: PlayerSpoke) -> Iterator[Message]:
    """A player speaks to the character: a question to the model, a line of its own, or silence and the reason for it."""
    player, tie = event.entity, tie_now(tables, persona, npc.tie(event.entity), npc.world_ms)
    if (no := _silent(tables, npc, it, tie)) is not None:
        yield NpcKeptSilent(player=player, code=no[0], reason=no[1])
        return
    for name, question in npc.questions.items():
        if question.player == player:
            yield InferenceCancelRequested(request_id=name, reason=f"{player} said something else meanwhile")
            yield NpcKeptSilent(player=player, code="TALKED_OVER", reason="the player went on talking; that is answered", request_id=name)
    mentions = min(len(words_of(it.text) & persona.cares), MOST_MENTIONS)
    effect = tables.effects["talk"]
    effect = replace(effect, salience=effect.salience + tables.dialogue.mention * mentions) if mentions and effect.salience else effect
    yield from affected(
        tables,
        persona,
        npc,
        event,
        effect,
        cause="talk",
        kind="talk",
        player=player,
        words={"words": plain(it.text, 200) or "nothing"},
    )
    if sum(question.player != player for question in npc.questions.values()) >= tables.dialogue.most_open:
        yield _own_line(tables, persona, npc, player, tie, seed(event, npc.entity), it.text)
        return
    yield request(tables, persona, npc, event, player, it.text)


def _silent(tables: Tables, npc: Npc, it: PlayerSpoke, tie: Tie) -> tuple[str, str] | None:
    action = tables.actions.get(npc.action)
    if len(it.text) > MAX_WORDS:
        return "TOO_LONG", f"at most {MAX_WORDS} characters are heard at once, found {len(it.text)}"
    if it.place not in ("", npc.place):
        return "NOT_HERE", f"{npc.entity} is at {npc.place}, not at {it.place}"
    if action is not None and action.asleep:
        return "ASLEEP", f"{npc.entity} sleeps: come back later"
    if tie.fear >= TOO_AFRAID:
        return "AFRAID", f"{npc.entity} is too afraid to talk (fear {tie.fear} of 1000)"
    return None


# ---- answering ------------------------------------------------------------------------------------------------------------------------


def answered(tables: Tables, persona: Persona, npc: Npc, event: Event, it: Ended) -> Iterator[Message]:
    """The model's answer, or that there is none. Answers that nobody waits for any more say nothing."""
    question = npc.questions.get(it.request_id)
    if question is None:
        return
    match it:
        case InferenceCompleted() | InferenceDegraded():
            yield from _said(tables, persona, npc, event, question, it)
        case InferenceCancelled(spoken=spoken) if plain(spoken, MAX_SAY):
            yield _spoke(npc, persona, question, Turn(say=plain(spoken, MAX_SAY)), it.request_id, "full", interrupted=True)
        case InferenceCancelled():
            reason = plain(it.reason, 200) or "called off before the first word"
            yield NpcKeptSilent(player=question.player, code="INTERRUPTED", reason=reason, request_id=it.request_id)
        case _:
            yield from given_up(tables, persona, npc, it.request_id, question)


def given_up(tables: Tables, persona: Persona, npc: Npc, name: str, question: Question) -> Iterator[Message]:
    """No model will answer: the character says a line of its own."""
    tie = tie_now(tables, persona, npc.tie(question.player), npc.world_ms)
    die = int(name.rpartition("-")[2][:8] or "0", 16)
    yield _own_line(tables, persona, npc, question.player, tie, die, question.words, name)


def _said(
    tables: Tables, persona: Persona, npc: Npc, event: Event, question: Question, it: InferenceCompleted | InferenceDegraded
) -> Iterator[Message]:
    tie = tie_now(tables, persona, npc.tie(question.player), npc.world_ms)
    turn = checked(tables, persona, tie, read(it.text) if by_model(it) else _words_only(read(it.text)))
    if turn.problem is not None:
        code, reason = turn.problem
        yield NpcActionRejected(player=question.player, action=plain(turn.action, 64), code=code, reason=reason, request_id=it.request_id)
    if not turn.say:
        yield from given_up(tables, persona, npc, it.request_id, question)
        return
    yield _spoke(npc, persona, question, turn, it.request_id, it.rung)
    if turn.action and turn.problem is None:
        yield from _did(tables, persona, npc, turn.action, question.player, tie, it.request_id)


def _did(tables: Tables, persona: Persona, npc: Npc, name: str, player: str, tie: Tie, request_id: str) -> Iterator[Message]:
    yield NpcActed(
        action=name,
        target=player,
        place=npc.place,
        previous_place=npc.place,
        cause="dialogue",
        world_ms=npc.world_ms,
        request_id=request_id,
    )
    action = tables.actions[name]
    if not action.hands_over:
        yield from settled(tables, persona, npc, action, player, tie)


def settled(tables: Tables, persona: Persona, npc: Npc, action: Action, player: str, tie: Tie) -> Iterator[Message]:
    """The effect of a deed between the two."""
    if action.effect != Effect() or action.settles:
        repaid = max(tie.debt_minor, 0) * action.settles // 1000
        yield from room(npc, player)
        yield from feel(tables, persona, npc, action.effect, player=player, cause="deed", debt_minor=-repaid)


def read(text: str) -> Turn:
    """A model's answer: the JSON object it was asked for, or (from the lower rungs) plain words. Never raises."""
    if len(text) > MAX_ANSWER:
        return Turn(say="", problem=("TOO_LONG", f"an answer has at most {MAX_ANSWER} characters, found {len(text)}"))
    if not text.lstrip().startswith("{"):
        say = plain(text, MAX_SAY)
        return Turn(say=say, problem=None if say else ("BAD_ANSWER", "wanted words, found none"))
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Turn(say="", problem=("BAD_ANSWER", plain(f"wanted a JSON object, found {error}", 200)))
    fields = [answer.get(name, default) for name, default in (("say", ""), ("emotion", "neutral"), ("action", NO_DEED))]
    if not all(isinstance(each, str) for each in fields):
        return Turn(say="", problem=("BAD_ANSWER", "say, emotion and action must be texts"))
    say, emotion, action = fields
    say = plain(say, MAX_SAY)
    problem = None if say else ("BAD_ANSWER", "wanted words in `say`, found none")
    return Turn(say=say, emotion=emotion, action="" if action == NO_DEED else action, problem=problem)


def _words_only(turn: Turn) -> Turn:
    """An answer that no model chose: its words and how they are said, but no deed."""
    return replace(turn, action="")


def checked(tables: Tables, persona: Persona, tie: Tie, turn: Turn) -> Turn:
    """The turn as far as the character may take it: a deed or an emotion that is none of its own is a problem, and is not shown."""
    if turn.problem is not None:
        return turn
    if turn.action and (no := _not_allowed(tables, persona, tie, turn.action)) is not None:
        emotion = turn.emotion if turn.emotion in tables.emotions else "neutral"
        return replace(turn, emotion=emotion, problem=no)
    if turn.emotion not in tables.emotions:
        found = plain(ascii(turn.emotion), 64)
        return replace(turn, emotion="neutral", problem=("UNKNOWN_EMOTION", f"wanted one of {', '.join(tables.emotions)}, found {found}"))
    return turn


def _not_allowed(tables: Tables, persona: Persona, tie: Tie, name: str) -> tuple[str, str] | None:
    action = tables.actions.get(name)
    if action is None:
        return "UNKNOWN_ACTION", f"there is no deed {plain(ascii(name), 64)}"
    if name not in persona.may:
        return "NOT_ALLOWED", f"{persona.name} may not {name}"
    if action.kind != "spoken":
        return "NOT_SPOKEN", f"{name} is a deed of kind {action.kind}, not part of an answer"
    if code := forbidden(tables, name, tie):
        wanted = f"trust {action.min_trust}, affection {action.min_affection} and fear at most {action.max_fear}"
        return code, f"{name} wants {wanted}, found {tie.trust}, {tie.affection} and {tie.fear}"
    return None


# ---- speaking -------------------------------------------------------------------------------------------------------------------------


def _own_line(tables: Tables, persona: Persona, npc: Npc, player: str, tie: Tie, die: int, words: str, name: str = "") -> NpcSpoke:
    turn = Turn(say=own_line(persona, tie, die))
    return _spoke(npc, persona, Question(player, words), turn, name, AUTHORED)


def _spoke(npc: Npc, persona: Persona, question: Question, turn: Turn, name: str, rung: str, *, interrupted: bool = False) -> NpcSpoke:
    return NpcSpoke(
        player=question.player,
        text=turn.say,
        language=persona.night_language if npc.time_of_day == "night" else persona.language,
        emotion=turn.emotion,
        place=npc.place,
        request_id=name,
        rung=rung,
        interrupted=interrupted,
        heard=plain(question.words, HEARD),
    )
