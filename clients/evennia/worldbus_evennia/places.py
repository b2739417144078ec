"""The rooms that are places of the world, and the people of the bus who live there, as the game's settings name them."""

from django.conf import settings

from worldbus_evennia.names import slug

ROOMS = {place: room for room, place in settings.WORLDBUS_PLACES.items()}
PEOPLE = settings.WORLDBUS_PEOPLE


def place(room):
    """Where it is on the bus."""
    if room is None:
        return "nowhere"
    return settings.WORLDBUS_PLACES.get(room.key) or f"{slug(room.key)}-{room.id}"
