"""What the players of Evennia's load tester do (its setting DUMMYRUNNER_SETTINGS_MODULE): most talk and walk, some trade, some quest.

Rates: every player decides once per TIMESTEP and does something with CHANCE_OF_ACTION, so 0.25 commands a second.
"""

import random

TIMESTEP = 2
CHANCE_OF_ACTION = 0.5
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
    name, password = "Dummy" + "".join(character for character in client.gid if character.isalnum()), f"only-for-load-{client.gid}"
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


ACTIONS = (login, logout, (0.30, talk), (0.30, walk), (0.20, look), (0.07, fetch), (0.08, work), (0.05, emote))
