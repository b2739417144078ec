"""Names in the world's tables and its canon: everything that lore may speak of."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers.time_manager.calendar import Calendar, load
from worldbus.lore_check.finding import Finding

CANON = "lore/canon.toml"
FACTIONS = "factions.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One world's tables, read once. `endings` are the outcomes of each quest, `factions` the members of each."""

    folder: Path
    calendar: Calendar
    canon: Mapping[str, Any]
    npcs: frozenset[str]
    buyers: frozenset[str]
    places: frozenset[str]
    goods: frozenset[str]
    items: frozenset[str]
    creatures: frozenset[str]
    scenes: frozenset[str]
    arcs: frozenset[str]
    endings: Mapping[str, frozenset[str]]
    factions: Mapping[str, frozenset[str]]
    patrons: frozenset[str]

    @classmethod
    def of(cls, folder: Path) -> World:
        """Read the tables in `folder`."""
        npcs, quests, scenes = (_table(folder / f"{name}.toml") for name in ("npcs", "quests", "scenes"))
        market, prices, factions = (_table(folder / f"{name}.toml") for name in ("market", "prices", "factions"))
        walked = {place for npc in npcs["npcs"].values() for place in _npc_places(npc)}
        return cls(
            folder=folder,
            calendar=load(folder / "calendar.toml"),
            canon=_table(folder / CANON),
            npcs=frozenset(npcs["npcs"]),
            buyers=frozenset(market["buyers"]),
            places=frozenset(walked | {scene["place"] for scene in scenes["scenes"].values()} | set(market["sources"]) | _sites(market)),
            goods=frozenset(market["goods"]),
            items=frozenset(prices["items"]) | frozenset(_items(quests, scenes)),
            creatures=frozenset(quests["patterns"]["cull"]["targets"]),
            scenes=frozenset(scenes["scenes"]),
            arcs=frozenset(_table(folder / "story.toml")["arcs"]),
            endings={name: frozenset(quest["endings"]) for name, quest in quests["quests"].items()},
            factions={name: frozenset(faction["members"]) for name, faction in factions["factions"].items()},
            patrons=frozenset(buyer for faction in factions["factions"].values() for buyer in faction.get("buyers", ())),
        )

    def table(self, file: str, path: str) -> Any:
        """The value at a dotted path of a table; None if there is none."""
        value: Any = _table(self.folder / file)
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def factions_of(self, npc: str) -> frozenset[str]:
        """The factions that this character belongs to."""
        return frozenset(name for name, members in self.factions.items() if npc in members)


def _table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _npc_places(npc: Mapping[str, Any]) -> Iterator[str]:
    yield npc["home"]
    yield from npc.get("places", {}).values()
    yield from (entry["place"] for entry in npc["schedule"])


def _sites(market: Mapping[str, Any]) -> set[str]:
    return {buyer["place"] for buyer in market["buyers"].values()}


def _items(quests: Mapping[str, Any], scenes: Mapping[str, Any]) -> Iterator[str]:
    for quest in quests["quests"].values():
        yield from (item["sku"] for ending in quest["endings"].values() for item in ending.get("items", ()))
    for pattern in quests["patterns"].values():
        yield from pattern["targets"] if pattern["kind"] == "collect" else ()
    for scene in scenes["scenes"].values():
        yield from (item["sku"] for item in scene.get("items", ()))


def canon_findings(world: World) -> Iterator[Finding]:
    """The names in the canon or the factions that no table knows."""
    canon = world.canon
    for what, named, known in (
        ("person", canon["people"], world.npcs | world.buyers),
        ("place", canon["places"], world.places),
        ("good", canon["goods"]["dealt"], world.goods),
        ("item", canon["goods"]["items"], world.items),
        ("creature", canon["creatures"]["killed"], world.creatures),
    ):
        for name in sorted(set(named) - known):
            yield Finding(CANON, 0, "unknown-id", f"{what} {name} is in no table: correct it or add it there")
        for name in sorted(known - set(named)) if what != "item" else ():
            yield Finding(CANON, 0, "missing-id", f"{what} {name} is in the tables and not in the canon: say what it is called")
    for name in sorted(world.npcs - frozenset().union(*world.factions.values())):
        yield Finding(FACTIONS, 0, "no-faction", f"{name} belongs to no faction: make it a member of one")
    for name in sorted((frozenset().union(*world.factions.values()) - world.npcs) | (world.patrons - world.buyers)):
        yield Finding(FACTIONS, 0, "unknown-id", f"{name} is no character of npcs.toml nor a buyer of market.toml")
    for feast in canon["feasts"]:
        days = {season.name: season.days for season in world.calendar.seasons}.get(feast["season"], 0)
        if not 1 <= feast["day_of_season"] <= days:
            yield Finding(
                CANON, 0, "bad-date", f"{feast['name']}: {feast['season']} has the days 1 to {days}, found {feast['day_of_season']}"
            )
    for money in canon["sums"]:
        if (found := world.table(money["file"], money["path"])) != money["minor"]:
            yield Finding(
                CANON, 0, "wrong-sum", f"{money['words']}: {money['file']} says {found} at {money['path']}, the canon {money['minor']}"
            )
