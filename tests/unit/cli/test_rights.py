"""`worldbus rights`: the rows as people, programs and nats-server read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bus.errors import BadSettings, BadSubject
from handlers.permissions import ANY, ROLES
from handlers.rights import HANDLERS, RIGHTS, owner_field, scope
from schemas.registry import all_events
from worldbus.cli.app import app
from worldbus.nats_permissions import Permissions, block, permissions, said_by
from worlds.duskmarket import game

EVENTS = {kind.DESCRIPTOR.name: kind.DESCRIPTOR.full_name for kind in all_events()}


def told(*words: str) -> str:
    found = CliRunner().invoke(app, ["rights", *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def published(found: Permissions) -> set[str]:
    """The events among what may be published."""
    return {one for one in found.publish if one.startswith("evt.")}


@pytest.mark.parametrize("role", sorted(ROLES - {"client"}))
def test_a_role_publishes_what_the_table_lets_it_say_about_any_entity_and_nothing_else(role: str) -> None:
    wanted = {f"evt.w1.{role}.*.{name}" for name, full in EVENTS.items() if game.emitters.may(role, full) and scope(role, full) == ANY}

    assert published(permissions(role, world="w1")) == wanted


@pytest.mark.parametrize("role", sorted(ROLES))
def test_with_entities_a_role_speaks_about_these_alone(role: str) -> None:
    found = permissions(role, world="w1", entities=("mira", "tomas"))
    names = {name for name, full in EVENTS.items() if game.emitters.may(role, full) and not owner_field(full)}

    assert published(found) == {f"evt.w1.{role}.{entity}.{name}" for name in names for entity in ("mira", "tomas")}
    assert set(found.left_out) == {name for name, full in EVENTS.items() if game.emitters.may(role, full) and owner_field(full)}


@pytest.mark.parametrize("role", [*sorted(ROLES), "my-game"])
@pytest.mark.parametrize("reads", [True, False])
def test_nobody_is_granted_what_the_server_answers_for_him(role: str, reads: bool) -> None:
    found = permissions(role, entities=("mira",), reads=reads)
    others = [one for one in found.publish if not one.startswith(f"evt.*.{role}.mira.")]

    assert all(
        one.startswith(("$JS.API.STREAM.INFO.LOG", "$JS.API.STREAM.MSG.GET.LOG", "$JS.API.CONSUMER.", "$JS.FC.LOG.")) for one in others
    )
    assert not any("MSG.NEXT" in one or "DIRECT" in one or "DELETE" in one for one in others)
    assert any("CONSUMER" in one for one in others) is reads
    assert all(one.startswith(("_INBOX.", "sig.")) for one in found.subscribe)


def test_a_source_that_no_role_names_is_a_game_servers() -> None:
    assert {one.name for one in said_by("my-game")} == {one.name for one in said_by("game")}


@pytest.mark.parametrize("part", [*sorted(HANDLERS), "inference", "payments-provider"])
def test_parts_of_worldbus_itself_have_no_such_permissions(part: str) -> None:
    with pytest.raises(BadSettings, match="a NATS user without permissions"):
        permissions(part)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadSettings, match="wanted entities for a client"):
        permissions("client")
    for role, world, entity in (
        ("a.b", "w1", "mira"),
        ("game", "w.1", "mira"),
        ("game", "w1", "*"),
        ("game", "w1", ">"),
        ("game", "w1", ""),
    ):
        with pytest.raises(BadSubject):
            permissions(role, world=world, entities=(entity,))


def test_the_block_has_every_subject_once() -> None:
    found = permissions("game", world="w1", reads=True)

    assert re.findall(r'^    "(.*)"$', block(found), re.MULTILINE) == [*found.publish, *found.subscribe]
    assert block(found) == told("--nats", "--reads", "--world", "w1").rstrip("\n")


def test_the_verb_shows_the_rows() -> None:
    shown = json.loads(told("--json"))

    assert {row["role"] for row in shown} == ROLES
    assert {"role": "client", "type": "TradeAcceptRequested", "about": "own", "owner": "player"} in shown
    assert {row["type"] for row in shown if row["role"] == "operator"} >= {
        kind.DESCRIPTOR.name for kind, right in RIGHTS.items() if "operator" in right.may
    }
    assert "CouponDefinitionRequested" not in told("--role", "game")
    assert re.search(r"^studio +CouponDefinitionRequested +any +entity$", told("--role", "studio"), re.MULTILINE)


def test_the_verb_says_what_it_leaves_out() -> None:
    found = CliRunner().invoke(app, ["rights", "--nats", "--role", "client", "--entity", "mira", "--json"])

    assert "TradeAcceptRequested" in found.stderr
    assert "TradeAcceptRequested" in json.loads(found.stdout)["left_out"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nats", "--role", "client"), "wanted entities for a client"),
        (("--nats", "--role", "npc"), "is a part of worldbus"),
        (("--nats", "--entity", "a.b"), "entity must be"),
        (("--entity", "mira"), "give --nats with them"),
        (("--reads",), "give --nats with them"),
    ],
)
def test_wrong_use_is_2_and_says_what_to_do(words: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-c", "from worldbus.cli import main; main()", "rights", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, said in done.stderr, done.stdout) == (2, True, "")
