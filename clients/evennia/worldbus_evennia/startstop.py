"""Hooks that Evennia calls when its server starts and stops; the game's own module of that name, if it has one, is called too."""

import itertools
from importlib import import_module

from evennia.server.sessionhandler import SESSIONS
from twisted.internet import task

from worldbus_evennia import bodies, facts, shows
from worldbus_evennia.bridge import bridge
from worldbus_evennia.stage import stage

HEARTBEAT_S = 20  # whole seconds
PEOPLE_S = 2.0
_loops = []
_seconds = itertools.count()


def _games_own(hook):
    try:
        module = import_module("server.conf.at_server_startstop")
    except ImportError:
        return
    getattr(module, hook, lambda: None)()


def _heartbeats():
    """Every second for some of the characters: all at once would make commands wait."""
    turn = next(_seconds) % HEARTBEAT_S
    for character in {session.puppet for session in SESSIONS.get_sessions() if session.puppet}:
        if character.id % HEARTBEAT_S == turn:
            facts.alive(character)


def _people():
    """The people of the bus stand where they belong, as soon as there are rooms for them."""
    for name, (title, place) in stage().people.items():
        if bodies.npc_named(name) is None:
            shows.put(name, title, place)


def at_server_init():
    _games_own("at_server_init")


def at_server_start():
    _games_own("at_server_start")
    shows.start()
    for call, every_s in ((_heartbeats, 1.0), (_people, PEOPLE_S)):
        loop = task.LoopingCall(call)
        loop.start(every_s, now=False)
        _loops.append(loop)


def at_server_stop():
    while _loops:
        _loops.pop().stop()
    bridge.stop()
    _games_own("at_server_stop")


def at_server_reload_start():
    _games_own("at_server_reload_start")


def at_server_reload_stop():
    _games_own("at_server_reload_stop")


def at_server_cold_start():
    _games_own("at_server_cold_start")


def at_server_cold_stop():
    _games_own("at_server_cold_stop")
