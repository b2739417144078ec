"""The script of Evennia's load tester (its setting DUMMYRUNNER_SETTINGS_MODULE): its players act as often as the world's bots.

The rates are those of `worlds/duskmarket/bots.toml`, averaged over its kinds of players: how often they talk, walk, look, take on quests
and trade.
"""

import random
import secrets
import tomllib
from pathlib import Path

BOTS = Path(__file__).parents[3] / "worlds" / "duskmarket" / "bots.toml"
KINDS = tomllib.loads(BOTS.read_text(encoding="utf-8"))["kinds"].values()


def per_minute(deed):
    """The number of times a minute that the average player does it."""
    return sum(kind["share"] * kind["per_minute"].get(deed, 0.0) for kind in KINDS)


TIMESTEP = 1
CHANCE_OF_LOGIN = 0.3
TELNET_PORT = None

ROOMS = ("The Evennia Inn", "Outside Evennia Inn", "Cliff by the coast", "The old bridge", "Ruined gatehouse")
SAID = (
    "Have you seen the ferryman?",
    "What do you pay for a glass eye?",
    "Who keeps the ledger?",
    "The tide came in early. Did you notice?",
    "I heard a bell last night.",
    "Is the pass open?",
    "What is buried on the moor?",
    "Why does nobody ask about the drowned?",
)
SOURCES = ("drowned-quay", "paupers-field", "moth-alley")
QUESTS = ("missing-ferryman", "hounds-of-the-moor", "morning-rounds")


def login(client):
    name, password = "Dummy" + "".join(character for character in client.gid if character.isalnum()), secrets.token_urlsafe(12)
    # The tutorial world makes somebody of those who come through its first room; creatures stumble over others.
    return (f"create {name} {password}", "yes", f"connect {name} {password}", "teleport Intro", f"teleport {random.choice(ROOMS)}")


def logout(client):
    return ("quit",)


def talk(client):
    return (f"say {random.choice(SAID)}",)


def walk(client):
    return (f"teleport {random.choice(ROOMS)}",)


def look(client):
    return ("look",)


def fetch(client):
    return (f"fetch {random.choice(SOURCES)}",)


def work(client):
    return (random.choice(("work", f"quest {random.choice(QUESTS)}")),)


def emote(client):
    return ("pose looks out to sea.",)


DEEDS = (("talk", talk), ("move", walk), ("look", look), ("trade", fetch), ("quest", work), ("give", emote))
TOTAL = sum(per_minute(deed) for deed, _ in DEEDS)

CHANCE_OF_ACTION = TOTAL / 60 * TIMESTEP
ACTIONS = (login, logout, *((per_minute(deed) / TOTAL, action) for deed, action in DEEDS))
