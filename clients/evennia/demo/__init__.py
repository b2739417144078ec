"""`make demo-evennia`: Evennia's tutorial world on the bus, played by Evennia's own load tester, and one report at the end."""
