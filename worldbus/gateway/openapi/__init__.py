"""The gateway as an OpenAPI 3.1 document, made here and nowhere else: served at `/openapi.json`, kept in docs/reference/openapi.yaml.

`worldbus gateway openapi` writes it. Clients are generated from it, and tests/clients/contracts holds it to that: what a generator makes of
it has to publish and to read. So it says things in the ways that generators share: one format of JSON for each operation, no arrays beside
objects in one place, an event's type as the word that tells which data it has.
"""

from worldbus.gateway.openapi.document import document, to_json, to_yaml

__all__ = ["document", "to_json", "to_yaml"]
