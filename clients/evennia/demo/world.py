"""Where Evennia's tutorial world and Duskmarket meet: settings of the demo's game."""

WORLDBUS_PLACES = {
    "Outside Evennia Inn": "quay",
    "The Evennia Inn": "fishmarket",
    "Cliff by the coast": "reed-path",
    "The old bridge": "old-moor",
    "Ruined gatehouse": "north-pass",
}
WORLDBUS_PEOPLE = {
    "widow-hask": ("Widow Hask", "quay"),
    "doctor-vane": ("Doctor Vane", "fishmarket"),
    "warden-pell": ("Warden Pell", "north-pass"),
    "old-marrow": ("Old Marrow", "fishmarket"),
    "mother-sedge": ("Mother Sedge", "reed-path"),
    "pockets": ("Pockets", "quay"),
}
WORLDBUS_AWAY = (
    "Not now. The tide is talking.",
    "Hm? Say it again when the bell is done.",
    "I heard you. I am thinking about it.",
    "Later. My head is elsewhere tonight.",
)
