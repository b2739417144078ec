"""Kill, pause, cut the power and flip bits under load, then check every promise from the log and the tables alone."""
