"""Engines: each a thin way to something that generates text, all behind `inference.engine.Engine`."""
