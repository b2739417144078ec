"""Bodies of the bus's names in this game: people, characters and rooms by the names that events use.

Evennia finds objects by attribute with a query of its database: milliseconds on the reactor for every event that comes. So what was found
is remembered for as long as it is still that: objects are deleted, and rooms renamed, under a running game.
"""

from evennia.objects.models import ObjectDB
from evennia.utils.search import search_object_attribute

from worldbus_evennia import names
from worldbus_evennia.stage import stage

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
    room = _found.get(("room", place))
    if room is None or room.pk is None or names.place(room) != place:
        room = _look_for(place)
        _remember(("room", place), room)
    return room


def _look_for(place):
    if (key := stage().rooms.get(place)) is not None:
        return ObjectDB.objects.filter(db_key=key).first()
    number = place.rpartition("-")[2]  # of a room that is a place of its own, see `names.place`
    room = ObjectDB.objects.filter(id=int(number)).first() if number.isascii() and number.isdigit() else None
    return room if room is not None and names.place(room) == place else None


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
