"""Names that Evennia gives, as tokens of the bus (1 to 64 of A-Z a-z 0-9 _ -)."""

import re
import unicodedata

from worldbus_evennia.stage import stage

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def slug(text):
    """A token made of a name: lower case, other characters as dashes. At most 40 characters; `x` for nothing.

    >>> slug("The Évennia Inn!")
    'the-evennia-inn'
    """
    plain = unicodedata.normalize("NFKD", str(text)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "x"


def shown(text):
    """Words of models as Evennia shows them to a room: what it would take for colours, names or inline functions are plain letters.

    >>> shown("{caller} $pron(you) |rred")
    '{{caller}} $$pron(you) ||rred'
    """
    for special in "|${}":
        text = text.replace(special, special * 2)
    return text


def player(character):
    """The character's name on the bus: no two characters share it, and renaming one does not change it."""
    if not character.db.worldbus_name:
        character.db.worldbus_name = f"{slug(character.key)}-{character.id}"
    return character.db.worldbus_name


def place(room):
    """The room's name on the bus."""
    if room is None:
        return "nowhere"
    return stage().places.get(room.key) or f"{slug(room.key)}-{room.id}"
