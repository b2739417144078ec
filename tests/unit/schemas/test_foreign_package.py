"""Events of a game's own packages, generated outside this tree: known to the registry, the documents and the rights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.message import Message

from bus.check import check_type
from bus.event import Draft, Event
from bus.json_format import payload_from_json
from bus.testing import given, recorded
from bus.unreadable import undecodable
from handlers.answering import ANSWERS, answering
from handlers.permissions import ANY, CLIENT, GAME, OWN, Right
from handlers.plausible import UNBOUNDED
from handlers.rights import RIGHTS
from projections.knowledge.knowledge import knowledge
from schemas import late, registry
from schemas import upcast as upcasting
from schemas.asyncapi import document
from schemas.errors import BadPackage, UnknownMessage
from schemas.gen.worldbus.payment.v1.payment_pb2 import ChargeRequested
from schemas.gen.worldbus.request.v1.request_pb2 import RequestRefused
from schemas.generate import generate, protoc
from schemas.jsonschema import comments
from schemas.registry import all_events, by_name, message_class, subsystem, suggestions
from schemas.upcast import Upcast, Upcasters, recorded_names
from tests import spaceport
from worldbus.game import Game
from worldbus.gateway.openapi.events import event_schemas
from worldbus.project import nearest

NAME = "spaceport.docking.v1.{}".format


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = spaceport.write(tmp_path_factory.mktemp("spaceport"))
    project = nearest(folder, "proto")
    assert project is not None
    generate(project.layout())
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def module(repository: Path) -> Iterator[Any]:
    """The generated module of a package that nobody has registered yet."""
    with spaceport.known_here():  # importing the game registers it
        found = import_module("spaceport.gen.spaceport.docking.v1.docking_pb2")
    with spaceport.known_here():
        yield found


@pytest.fixture
def game(module: Any) -> Game:
    """The game, made anew."""
    made: Game = import_module("spaceport").game
    return replace(made)


def names(events: Any) -> list[str]:
    return [cls.DESCRIPTOR.full_name for cls in events]


def test_a_package_is_known_by_its_name_or_as_a_module_and_twice_is_once(module: ModuleType) -> None:
    with pytest.raises(UnknownMessage):
        by_name("BerthAssigned")
    wanted = [NAME("BerthAssigned"), NAME("DockingRefused"), NAME("DockingRequested")]

    assert names(registry.add(module)) == wanted
    before = all_events()
    assert names(registry.add("spaceport.gen", module, import_module("spaceport.gen"))) == wanted

    assert all_events() == before
    assert by_name("BerthAssigned") == check_type("BerthAssigned") == NAME("BerthAssigned")
    assert message_class(NAME("Berth")).DESCRIPTOR.full_name == NAME("Berth"), "a part is a message"
    with pytest.raises(UnknownMessage, match="found .Berth."):
        by_name("Berth")
    assert subsystem(message_class(NAME("BerthAssigned"))) == "docking"
    assert "DockingRequested" in suggestions("DockingRequsted")


def test_making_a_game_makes_its_packages_known(game: Game, module: Any) -> None:
    message = payload_from_json(check_type("DockingRequested"), {"length_m": 20})

    assert message == module.DockingRequested(length_m=20)
    assert recorded(message, entity="heron").data == message
    docking = game.handler("docking").of("main")
    given(docking, entity="heron").when(message, entity="heron").then(module.BerthAssigned(berth={"number": 7}))


def test_types_of_a_package_that_was_forgotten_are_refused_when_the_game_is_made(game: Game) -> None:
    words = r"docking names spaceport.docking.v1.DockingRequested, which is in no package of the game spaceport: add 'spaceport.gen"
    with spaceport.known_here():
        for name in [name for name in registry._messages if name.startswith("spaceport.")]:
            del registry._messages[name]
        with pytest.raises(BadPackage, match=words):
            replace(game, packages=())


def generated(folder: Path, package: str, message: str, *, python: str) -> str:
    """A module of one event, of this package, below the Python package `python`."""
    source = folder / "proto" / package.replace(".", "/") / "it.proto"
    source.parent.mkdir(parents=True)
    source.write_text(f'syntax = "proto3";\npackage {package};\nmessage {message} {{\n  string text = 1;\n}}\n')
    (folder / "pyproject.toml").write_text(f'[tool.worldbus]\nproto = "proto"\ngen = "{python}/gen"\n')
    out = folder / python / "gen"
    out.mkdir(parents=True)
    protoc(f"-I{folder / 'proto'}", f"--python_out={out}", str(source))
    sys.path.insert(0, str(folder))
    return f"{python}.gen"


@pytest.mark.parametrize(
    ("package", "message", "words"),
    [
        (
            "freight.cargo.v1",
            "WeatherChanged",
            r"WeatherChanged twice: worldbus.weather.v1.WeatherChanged and freight.cargo.v1.WeatherChanged",
        ),
        ("worldbus.cargo.v1", "CargoSeized", r"packages worldbus.\* are worldbus's own, found worldbus.cargo.v1.CargoSeized"),
        (
            "freight.manifest",
            "ManifestSigned",
            r"wanted a module of events, of a package <game>.<subsystem>.v<n>, .*found freight.manifest",
        ),
        ("freight.holds.v1", "HoldState", None),
    ],
)
def test_names_that_are_taken_are_refused_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, message: str, words: str | None
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    python = generated(tmp_path, package, message, python=f"py_{package.replace('.', '_')}")
    before = all_events()

    with spaceport.known_here():
        if words is None:
            assert registry.add(python) == (), "a snapshot is no event"
        else:
            with pytest.raises(BadPackage, match=words):
                registry.add(python)
        assert all_events() == before, "nothing of it was taken"


def test_a_simple_name_means_the_newest_version_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    first = generated(tmp_path / "1", "freight.holds.v9", "HoldSealed", python="py_holds_9")
    second = generated(tmp_path / "2", "freight.holds.v10", "HoldSealed", python="py_holds_10")

    with spaceport.known_here():
        registry.add(second)
        assert check_type("HoldSealed") == "freight.holds.v10.HoldSealed"
        registry.add(first)
        assert check_type("HoldSealed") == "freight.holds.v10.HoldSealed"
        assert registry.first_version("HoldSealed") == "freight.holds.v9.HoldSealed"
        assert {"freight.holds.v9.HoldSealed", "freight.holds.v10.HoldSealed"} <= set(names(all_events()))


def test_what_cannot_be_imported_is_named() -> None:
    with pytest.raises(BadPackage, match=r"wanted a package of events as no.such.gen, found no module no: generate it"):
        registry.add("no.such.gen")


def test_a_game_is_loaded_at_the_first_name_that_is_not_known(module: Any) -> None:
    loaded = []
    late.otherwise(lambda: loaded.append(registry.add("spaceport.gen")))
    try:
        raw = recorded_by_a_stranger(module.DockingRefused(reason="no"))
        assert loaded == []

        assert message_class(NAME("DockingRefused")).FromString(raw).reason == "no"  # type: ignore[attr-defined]

        assert len(loaded) == 1
        with pytest.raises(UnknownMessage):
            by_name("NoSuchThing")
        assert len(loaded) == 1, "once"
    finally:
        late.load()


def recorded_by_a_stranger(message: Message) -> bytes:
    return message.SerializeToString()


def test_a_later_version_of_a_games_type_is_waited_for_and_another_type_of_that_name_is_not(game: Game, module: Any) -> None:
    draft = Draft(data=module.BerthAssigned(), world="w", entity="e", subsystem="docking", id="x")
    for package, waits in (("spaceport.docking.v2", True), ("spaceport.landing.v2", False)):
        raw = draft.encode().replace(b"spaceport.docking.v1", package.encode())
        event = Event(raw=raw, subject=draft.subject, partition=0, position=1)

        assert (undecodable(event) is None) == waits, package


def test_upcasts_of_a_game_are_steps_among_ours(game: Game, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Upcasters()
    monkeypatch.setattr(upcasting, "_SHIPPED", steps)
    monkeypatch.setattr(upcasting, "add", steps.add)
    monkeypatch.setattr("bus.event.upcast", steps.upcast)
    assert recorded_names((module.DockingRefused,)) == {"DockingRefused"}
    refused = Upcast(module.DockingRequested, module.DockingRefused, lambda old: module.DockingRefused(reason=f"{old.length_m} m"))

    replace(game, upcasts=(refused,), handlers=(), projections=())
    replace(game, upcasts=(refused,), handlers=(), projections=())

    assert recorded(module.DockingRequested(length_m=3)).data == module.DockingRefused(reason="3 m")
    assert recorded_names((module.DockingRefused,)) == {"DockingRefused", "DockingRequested"}


def test_the_rights_of_a_game_stand_beside_ours(game: Game, module: Any) -> None:
    asked, assigned = NAME("DockingRequested"), NAME("BerthAssigned")

    assert [game.emitters.problem(source, asked) for source in ("game", "client")] == ["", ""]
    assert "wanted it from client, game" in game.emitters.problem("studio", asked)
    assert (game.allowed.scope("client", asked), game.allowed.scope("game", asked)) == ("own", "any")
    assert game.emitters.problem("docking", assigned) == ""
    assert game.emitters.problem("game", assigned).startswith("wanted BerthAssigned from docking, found it from 'game'")
    assert game.emitters.problem("game", ChargeRequested.DESCRIPTOR.full_name), "our own rows hold"
    assert replace(game, rights={}).emitters.problem("game", asked) == "", "without a row, game servers may"
    assert "let the game server say it" in replace(game, rights={}).emitters.problem("client", asked), "and clients may not"
    assert replace(game, may_not=lambda subsystem, name: "closed").emitters.problem("game", asked) == "DockingRequested: closed"
    with pytest.raises(BadPackage, match=r"rights: worldbus.payment.v1.ChargeRequested is worldbus's own"):
        replace(game, rights={ChargeRequested: Right(may={GAME: ANY, CLIENT: OWN})})


def test_a_handler_of_the_game_refuses_by_its_rows_what_was_recorded_all_the_same(game: Game, module: Any) -> None:
    docking = game.handler("docking").of("main")
    strict = answering(replace(docking, emits=(*docking.emits, *ANSWERS)), UNBOUNDED, rights={**RIGHTS, **game.rights})
    request = module.DockingRequested(length_m=3)

    (refused,) = given(strict, entity="heron").when(request, entity="heron", subsystem="studio").said
    assert isinstance(refused, RequestRefused)
    assert (refused.handler, refused.code) == ("docking", "NOT_ALLOWED")
    given(strict, entity="heron").when(request, entity="heron", subsystem="client").then(module.BerthAssigned(berth={"number": 4}))


def test_documents_show_a_games_events_with_their_comments(game: Game, module: Any) -> None:
    assert comments()[NAME("DockingRequested.length_m")] == "Length of the ship, metres, 1 or more."
    found = document(game.handlers)

    assert found["channels"]["BerthAssigned"]["parameters"]["subsystem"]["enum"] == ["docking"]
    assert found["components"]["schemas"][NAME("DockingRequested")]["description"] == "A ship asks for a berth."
    schemas = event_schemas([module.BerthAssigned])
    assert {"BerthAssigned", "BerthAssignedEvent", "SpaceportDockingBerth", "TimeWorldTime"} <= schemas.keys()


def test_lore_may_wait_for_what_a_game_says(game: Game, module: Any) -> None:
    assert module.BerthAssigned not in knowledge.on

    (found,) = replace(game, projections=(knowledge,)).projections

    assert module.BerthAssigned in found.on
    assert module.DockingRequested not in found.on, "a command is nothing that happened"
    event = recorded(module.BerthAssigned(), entity="heron", subsystem="docking")
    assert [change.key for change in found.on[module.BerthAssigned](event, event.data)] == [  # type: ignore[union-attr]
        ("testworld", "event:BerthAssigned"),
        ("testworld", "event:BerthAssigned:heron"),
    ]
    assert Draft(data=module.BerthAssigned(), world="w", entity="e", subsystem="docking").subject.name == "BerthAssigned"
