"""The readers' views as a stranger's tool shows them: each has a word on what it holds, and so has each of its columns."""

from __future__ import annotations

import asyncpg
import pytest

from projections import Listed, Projector, glossary
from projections.rebuild import rebuild
from tests.duskmarket import PROJECTIONS

_SAID = """
    SELECT v.relname, a.attname, obj_description(v.oid, 'pg_class'), col_description(v.oid, a.attnum), format_type(a.atttypid, NULL)
      FROM pg_class v JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
     WHERE v.relnamespace = 'world'::regnamespace AND v.relkind = 'v'
"""


async def test_every_view_and_every_column_says_what_it_means(database: str, connection: asyncpg.Connection) -> None:
    await Projector(database, PROJECTIONS).run(Listed([]))
    said = {(view, column): (title, word) for view, column, title, word, _ in await connection.fetch(_SAID)}

    assert sorted({view for (view, _), (title, _) in said.items() if not title}) == []
    assert sorted(place for place, (_, word) in said.items() if not word) == []
    assert said["players", "zone"] == ("Every player that was ever seen.", "Where the player is, or was when last online.")
    columns = {column for _, column in said} | {f"{view}.{column}" for view, column in said}
    assert sorted(set(glossary.meanings()) - columns) == []


async def test_words_that_are_there_stay_and_a_rebuilt_view_has_them_again(database: str, connection: asyncpg.Connection) -> None:
    players = next(one for one in PROJECTIONS if one.name == "players")
    await Projector(database, [players]).run(Listed([]))
    await connection.execute("COMMENT ON COLUMN world.players.x IS 'ours'; DROP VIEW world.online")

    await rebuild(players, database)
    await Projector(database, [players]).run(Listed([]))

    said = {(view, column): word for view, column, _, word, _ in await connection.fetch(_SAID)}
    assert said["players", "x"] == "ours"
    assert said["online", "players"] == "How many are there now."


async def test_views_of_another_role_keep_nobody_from_projecting(
    database: str, connection: asyncpg.Connection, postgres_server: object
) -> None:
    admin = await asyncpg.connect(postgres_server.address("worldbus_admin", str(await connection.fetchval("SELECT current_database()"))))  # type: ignore[attr-defined]
    await admin.execute("ALTER VIEW world.events OWNER TO worldbus_admin")
    await admin.close()

    assert await Projector(database, []).run(Listed([])) == 0


@pytest.mark.parametrize("column", ["balance_minor", "sum_minor", "legs", "earned_minor", "cost_minor", "price_minor"])
async def test_money_is_one_type_everywhere(database: str, connection: asyncpg.Connection, column: str) -> None:
    await Projector(database, PROJECTIONS).run(Listed([]))

    assert {kind for _, name, _, _, kind in await connection.fetch(_SAID) if name == column} == {"bigint"}
