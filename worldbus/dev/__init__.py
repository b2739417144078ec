"""`worldbus dev`: everything up, and each change of the game runs within two seconds, with what it would have decided differently.

    session ──▶ files          what belongs to the game, and which of it changed
       │   ──▶ interpreter ──▶ warm ──fork──▶ play (loads the game, runs it) ──fork──▶ comparison (the recorded inputs, decided again)
       └── the servers, which outlive every change

The process of `session` imports nothing of the game: whatever is wrong with that ends a child, and the next save heals it (docs/adr/0116).
"""
