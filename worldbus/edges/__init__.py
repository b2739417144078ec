"""Edges: where the world outside says something, or is asked something."""
