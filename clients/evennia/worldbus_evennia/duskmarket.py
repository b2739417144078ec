"""Duskmarket on the stage of Evennia's tutorial world: where they meet, who lives there, and the market."""

import re

from evennia import Command

from worldbus_client.gen.worldbus.broker.v1 import AcquisitionRequested, SaleRequested
from worldbus_evennia import facts
from worldbus_evennia.names import TOKEN
from worldbus_evennia.shows import refused, told

PLACES = {
    "Outside Evennia Inn": "quay",
    "The Evennia Inn": "fishmarket",
    "Cliff by the coast": "reed-path",
    "The old bridge": "old-moor",
    "Ruined gatehouse": "north-pass",
}
PEOPLE = {
    "widow-hask": ("Widow Hask", "quay"),
    "doctor-vane": ("Doctor Vane", "fishmarket"),
    "warden-pell": ("Warden Pell", "north-pass"),
    "old-marrow": ("Old Marrow", "fishmarket"),
    "mother-sedge": ("Mother Sedge", "reed-path"),
    "pockets": ("Pockets", "quay"),
}
AWAY = (
    "Not now. The tide is talking.",
    "Hm? Say it again when the bell is done.",
    "I heard you. I am thinking about it.",
    "Later. My head is elsewhere tonight.",
)


class CmdFetch(Command):
    """
    Come by a good at one of the market's sources.

    Usage:
      fetch <source>
    """

    key = "fetch"
    aliases = ["buy"]
    help_category = "worldbus"

    def func(self):
        source = self.args.strip()
        if TOKEN.fullmatch(source):
            facts.say(self.caller, AcquisitionRequested(source=source))
            self.caller.msg(f"You go about it: {source}.")
        else:
            self.caller.msg("Usage: fetch <source>, e.g. 'fetch paupers-field'.")


class CmdSell(Command):
    """
    Offer a good to a buyer of the market.

    Usage:
      sell <good> to <buyer> for <price>
    """

    key = "sell"
    help_category = "worldbus"

    def func(self):
        found = re.fullmatch(r"\s*([A-Za-z0-9_-]{1,64}) to ([A-Za-z0-9_-]{1,64}) for ([0-9]{1,9})\s*", self.args)
        if found is None:
            self.caller.msg("Usage: sell <good> to <buyer> for <price>")
        else:
            facts.say(self.caller, SaleRequested(good=found[1], buyer=found[2], ask_minor=int(found[3])))


COMMANDS = (CmdFetch, CmdSell)
SHOWS = {
    ("broker", "GoodAcquired"): told(lambda it: f"|yYou have|n a {it.kind.replace('-', ' ')} now ('{it.good}')."),
    ("broker", "BargainStruck"): told(
        lambda it: f"|yA bargain|n: {it.kind.replace('-', ' ')} for {it.price_minor / 100:.2f} {it.currency}, to {it.buyer}."
    ),
    ("broker", "CounterHeard"): told(lambda it: f"|y{it.buyer} offers|n {it.counter_minor / 100:.2f} for '{it.good}'."),
    ("broker", "AcquisitionRefused"): told(refused),
    ("broker", "BargainRefused"): told(refused),
}
