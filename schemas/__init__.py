"""Protobuf schemas of every event: sources, generated code, registry, upcasters, corpus, and the checks that keep old events readable.

Everything may import `schemas`; `schemas` imports nothing of worldbus.
"""
