"""The demo: a small world lives for a while, and is then counted from the log and the tables."""
