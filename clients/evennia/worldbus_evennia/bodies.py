"""Bodies of the bus's names in this game: people, characters and rooms by the names that events use.

Evennia finds objects by attribute with a query of its database: milliseconds on the reactor for every event that comes. So what was found
is remembered for as long as it is still that: objects are deleted, and rooms renamed, under a running game.
"""

from evennia.objects.models import ObjectDB
from evennia.utils.search import search_object_attribute

from worldbus_evennia import names

_found = {}
"""(kind, name) -> the object."""


def npc_named(name):
    """The body of one of the bus's people, or None."""
    return _named("worldbus_npc", name)


def player_named(name):
    """The character, or None."""
    return _named("worldbus_name", name)


def room_of(place):
    """The room that is this place, or None."""
    key = names.ROOMS.get(place)
    if key is None:
        return None
    room = _found.get(("room", key))
    if room is None or room.pk is None or room.db_key != key:
        room = ObjectDB.objects.filter(db_key=key).first()
        _remember(("room", key), room)
    return room


def _named(attribute, name):
    body = _found.get((attribute, name))
    if body is None or body.pk is None or body.attributes.get(attribute) != name:
        body = next(iter(search_object_attribute(key=attribute, value=name)), None)
        _remember((attribute, name), body)
    return body


def _remember(key, found):
    if found is None:
        _found.pop(key, None)
    else:
        _found[key] = found
