"""The gateway comes to Postgres as a role of its own, that sees what it asks for and nothing else."""

from __future__ import annotations

import asyncpg
import pytest

from projections import Listed, Projector
from projections.payments import payments
from projections.rebuild import rebuild
from tests.projected import events
from worldbus.edges.payments import OWNER, owners_in
from worldbus.gateway.known import _CHECKPOINT, _FIND, Archive
from worldbus.testing.servers import PASSWORDS

ROLE = "worldbus_gateway"


def as_gateway(dsn: str) -> str:
    """The gateway's address of a test's database."""
    return dsn.replace(f"worldbus_owner:{PASSWORDS['worldbus_owner']}@", f"{ROLE}:{PASSWORDS[ROLE]}@")


async def test_it_answers_what_the_gateway_asks_also_after_a_rebuild(fresh_database: str) -> None:
    await Projector(fresh_database, [payments]).run(Listed(events(30)))
    await rebuild(payments, fresh_database)
    async with asyncpg.create_pool(as_gateway(fresh_database), min_size=1, max_size=1) as pool:
        for _ in range(2):  # a connection that came back is in order
            archive = Archive(pool)
            assert await archive.checkpoint() == 30
            assert await archive.find(["e7", "e8", "none"]) == {"e7": 7, "e8": 8}
            assert await owners_in(pool)("nobody's") is None
    assert {_FIND, _CHECKPOINT, OWNER}  # what the gateway asks at all


@pytest.mark.parametrize(
    "asked",
    [
        *("SELECT raw FROM world.events", "SELECT * FROM world.events", "SELECT 1 FROM world.skipped", "SELECT 1 FROM world.balances"),
        *("SELECT paid_minor FROM world.real_payments", "SELECT 1 FROM worldbus.events", "SELECT world.kb_search('main', 'x')"),
        *(
            "SET default_transaction_read_only = off; COMMIT; CREATE TABLE world.mine (n int)",
            "SELECT pg_sleep(1)",
            "SELECT pg_advisory_lock(1)",
        ),
        "SET default_transaction_read_only = off; COMMIT; DELETE FROM world.checkpoint",
    ],
)
async def test_it_sees_and_does_nothing_else(fresh_database: str, asked: str) -> None:
    await Projector(fresh_database, [payments]).run(Listed(events(3)))
    connection = await asyncpg.connect(as_gateway(fresh_database))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(asked)
    finally:
        await connection.close()
