"""The games that come along, each a package with its content beside it."""
