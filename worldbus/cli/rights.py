"""`worldbus rights`: who may ask for what, and the same as permissions of NATS users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worldbus.cli.app import app
from worldbus.cli.options import json_option, settings_options
from worldbus.cli.output import remark, say, say_json, table

if TYPE_CHECKING:
    from worldbus.settings import Settings


@app.command()
@click.option("--role", metavar="SOURCE", help="This role or source alone.  [default: all roles; with --nats: game]")
@click.option(
    "--entity", "entities", metavar="NAME", multiple=True, help="With --nats: about this entity alone; may be given several times."
)
@click.option("--nats", "as_nats", is_flag=True, help="Print the `permissions` of a NATS user in that role.")
@click.option("--reads", is_flag=True, help="With --nats: it may also read the log, every world of it.")
@json_option
@settings_options("world")
def rights(role: str | None, entities: tuple[str, ...], as_nats: bool, reads: bool, as_json: bool, settings: Settings) -> None:
    """Show who may publish which events; with --nats, print it as permissions for nats-server. Asks no server.

    `own` means about its own entities alone. The gateway and `publish` refuse by this table, and handlers refuse what was recorded all the
    same; a NATS server refuses by it once each of its users has these permissions, as worldbus itself runs as a user without any.
    """
    from handlers.permissions import GAME, ROLES
    from worldbus import nats_permissions

    if not as_nats:
        if entities or reads:
            raise click.UsageError("--entity and --reads say what a NATS user may do: give --nats with them")
        found = [row for one in ([role] if role else sorted(ROLES)) for row in nats_permissions.rows(one)]
        if as_json:
            say_json(found)
        else:
            say(table([tuple(row.values()) for row in found], ("role", "type", "about", "owner")))
        return
    made = nats_permissions.permissions(role or GAME, world=settings.world, entities=entities, reads=reads)
    if made.left_out:
        why = "whose they are, their payload says" if entities else "only about its own entities, and no --entity is given"
        remark(f"not granted ({why}): {', '.join(made.left_out)}")
    if as_json:
        say_json({"publish": made.publish, "subscribe": made.subscribe, "left_out": made.left_out})
    else:
        say(nats_permissions.block(made))
