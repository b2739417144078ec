"""The digest of a function's code: the same for the same instructions, whatever its comments, docstring, formatting and local names are."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from hashlib import blake2b
from types import CodeType
from typing import Final, NamedTuple

_CONST: Final = frozenset(dis.hasconst)
_EXTENDED: Final = dis.opmap["EXTENDED_ARG"]
_GLOBALS: Final = frozenset(dis.opmap[name] for name in ("LOAD_GLOBAL", "LOAD_NAME") if name in dis.opmap)
_IMPORT: Final = dis.opmap["IMPORT_NAME"]
_LOAD_GLOBAL: Final = dis.opmap["LOAD_GLOBAL"]
_FLAGS: Final = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs, generator, coroutine, asynchronous generator


class Code(NamedTuple):
    """A function's instructions, and the names by which it reaches out: globals, modules that it imports when it runs, all names in it,
    of which any may be a module's attribute."""

    digest: bytes
    globals: tuple[str, ...]
    imports: tuple[str, ...]
    names: tuple[str, ...]


def code_of(code: CodeType) -> Code:
    """Read the code of a function and of all that is defined inside it."""
    hashed = blake2b(digest_size=16)
    globals_: dict[str, None] = {}
    imports: dict[str, None] = {}
    names: dict[str, None] = {}
    _read(code, hashed.update, globals_, imports, names)
    return Code(hashed.digest(), tuple(globals_), tuple(imports), tuple(names))


def _read(
    code: CodeType, update: Callable[[bytes], None], globals_: dict[str, None], imports: dict[str, None], names: dict[str, None]
) -> None:
    update(repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS, code.co_names)).encode())
    update(code.co_exceptiontable)
    names.update(dict.fromkeys(code.co_names))
    for opcode, argument in _instructions(code.co_code):
        if opcode in _CONST:  # by value: a docstring that comes or goes moves the places of the others
            update(bytes((opcode,)))
            constant = code.co_consts[argument]
            if isinstance(constant, CodeType):
                _read(constant, update, globals_, imports, names)
            else:
                update(constant_token(constant))
            continue
        update(b"%d:%d" % (opcode, argument))
        if opcode in _GLOBALS:
            globals_[code.co_names[argument >> 1 if opcode == _LOAD_GLOBAL else argument]] = None
        elif opcode == _IMPORT:
            imports[code.co_names[argument]] = None


def _instructions(code: bytes) -> Iterator[tuple[int, int]]:
    extended = 0
    for at in range(0, len(code), 2):
        opcode, argument = code[at], code[at + 1] | extended
        if opcode == _EXTENDED:
            extended = argument << 8
            continue
        extended = 0
        yield opcode, argument


def constant_token(constant: object) -> bytes:
    """A constant as the compiler makes them, told apart by type and value: 1, 1.0 and True differ."""
    if isinstance(constant, (tuple, frozenset)):
        parts = [constant_token(one) for one in constant]
        return b"%b(%b)" % (type(constant).__name__.encode(), b",".join(sorted(parts) if isinstance(constant, frozenset) else parts))
    if isinstance(constant, CodeType):
        return code_of(constant).digest
    return f"{type(constant).__name__}:{constant!r};".encode(errors="surrogatepass")
