"""betterproto2 classes by name: plain typed dataclasses for tools and engines that want no compiled runtime.

What differs from protobuf: moments and spans are `datetime` and `timedelta`, so finer than a microsecond is cut off; a negative `Duration`
with a fraction of a second and a negative zero do not survive (docs/adr/0010). Server paths use `schemas.registry`: the classes there are
some hundred times quicker.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

import betterproto2

from schemas.gen_better.message_pool import default_message_pool
from schemas.registry import message_class


@cache
def better_class(full_name: str) -> type[betterproto2.Message]:
    """The dataclass of a full protobuf name. Raises `UnknownMessage` (a KeyError) like the registry."""
    package = message_class(full_name).DESCRIPTOR.file.package
    import_module(f"schemas.gen_better.{package}")
    return default_message_pool.url_to_type[f"type.googleapis.com/{full_name}"]
