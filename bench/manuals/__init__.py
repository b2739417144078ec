"""Questions about manuals that nobody here wrote, and what the search makes of them."""
