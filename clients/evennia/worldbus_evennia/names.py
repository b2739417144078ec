"""Names that Evennia gives, as tokens of the bus (1 to 64 of A-Z a-z 0-9 _ -), and the rooms that are places of the world."""

import re
import unicodedata

# The tutorial world is Evennia's; the people are Duskmarket's. Where they meet:
PLACES = {
    "Outside Evennia Inn": "quay",
    "The Evennia Inn": "fishmarket",
    "Cliff by the coast": "reed-path",
    "The old bridge": "old-moor",
    "Ruined gatehouse": "north-pass",
}
ROOMS = {place: room for room, place in PLACES.items()}


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
    return PLACES.get(room.key) or f"{slug(room.key)}-{room.id}"


# Who lives on the bus: what they are called, where they are to be found before they have said so themselves, and what they say while the
# bus is away.
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
