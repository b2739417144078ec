"""What an engine can answer instead of text, in the tree of `bus.errors`: sorted by what the worker does next.

Rejected
└── PromptRejected      no engine of this kind will ever answer this prompt: refuse the request
Transient
├── EngineOverloaded    no room at the moment: another engine, a later try or a lower rung
└── EngineFailed        the engine broke or cannot be reached: stop taking work, hand back, open it again
"""

from __future__ import annotations

from bus.errors import Rejected, Transient


class PromptRejected(Rejected):
    """The prompt, its schema, its choices or its settings cannot be served. `code` is a rule as in `InferenceRejected.code`."""

    code = "BAD_PROMPT"

    def __init__(self, message: str, /, code: str | None = None, **facts: object) -> None:
        super().__init__(message, **facts)
        if code is not None:
            self.code = code


class EngineOverloaded(Transient):
    """Every slot is taken; nothing was generated. `facts` may hold `slots`."""

    code = "ENGINE_OVERLOADED"


class EngineFailed(Transient):
    """The engine ended, cannot be reached, or broke its protocol; what was yielded before stays valid."""

    code = "ENGINE_FAILED"
