"""The operation that tells the time of a world."""

from __future__ import annotations

from typing import Any, Final

from worldbus.gateway.openapi.parts import COUNT, GUARDED, OPEN, TOKEN, Schema, problems, ref

_WORDS: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_WORLD_MS: Final[Schema] = {**COUNT, "description": "World milliseconds since the clock started."}


def _all_of(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


_MOMENT: Final[Schema] = _all_of(
    {
        "world_ms": _WORLD_MS,
        **dict.fromkeys(("year", "day", "day_of_season", "hour", "minute", "season_ends_world_ms"), COUNT),
        **dict.fromkeys(("season", "next_season", "time_of_day"), _WORDS),
    }
)
_ANCHOR: Final[Schema] = _all_of(
    {
        "at": {"type": "string", "format": "date-time", "description": "When the log took the clock's last step, by the log's own clock."},
        "world_ms": _WORLD_MS,
        "owed_thousandths": {**COUNT, "description": "Thousandths of a world millisecond that `world_ms` lacks."},
        "scale": {**COUNT, "description": "World milliseconds per real second."},
        "running": _FLAG,
        "rests_ms": {**COUNT, "description": "For how many real milliseconds world time goes on without another step; 0: it stands."},
    }
)
CLOCK: Final[Schema] = _all_of(
    {
        "world": _WORDS,
        "clock": _WORDS,
        "asleep": {**_FLAG, "description": "Nobody is about: the world's own life waits."},
        "now": _MOMENT,
        "anchor": _ANCHOR,
        "calendar": OPEN,
    }
)


def show() -> dict[str, Any]:
    """The operation that shows a world's clock."""
    return {
        "operationId": "clock",
        "summary": "What a world's clock shows now.",
        "description": (
            "`now` is the moment of the answer. A client counts on from `anchor` by itself: while `running`, world time is `world_ms` + "
            "(`owed_thousandths` + `scale` times the milliseconds since `at`, at most `rests_ms` of them) / 1000."
        ),
        "parameters": [{"name": "world", "in": "query", "description": "Needed unless the token has one world.", "schema": TOKEN}],
        "responses": {
            "200": {"description": "The present moment.", "content": {"application/json": {"schema": ref("Clock")}}},
            **GUARDED,
            **problems(
                s403="The token may not listen, or not in that world.",
                s404="No clock was started in that world.",
                s429="Too many questions for this token.",
                s503="The log cannot be read at the moment.",
            ),
        },
    }
