"""The cellar: a game of one handler, with a table of its chests."""

from pathlib import Path

from chest import chest
from gen.cellar.chest.v1.chest_pb2 import ChestFoundEmpty, ChestOpened

from worldbus import Content, Game, Projection, Table, sql_beside
from worldbus.standard import projections

CHESTS = Table("chests", key=("world", "chest"), adds=("came_too_late",))

chests = Projection(
    name="chests",
    version=1,
    said_by="chest",
    schema=sql_beside(__file__),
    tables=(CHESTS,),
    on={
        ChestOpened: lambda event, it: CHESTS.put(event.world, event.entity, finder=it.player),
        ChestFoundEmpty: lambda event, it: CHESTS.put(event.world, event.entity, came_too_late=1),
    },
)

game = Game(
    name="cellar",
    packages=("gen",),
    handlers=(chest,),
    projections=(projections.lanes, chests),
    content=Content(Path(__file__).parent),
)
