"""The errors with which an engine answers instead of text, in the tree of `bus.errors`: sorted by what the worker does next.

Rejected
└── PromptRejected      no engine of this kind will ever answer this prompt: a lower rung
Transient
├── EngineOverloaded    no room at the moment, and perhaps not before a while: another engine, a later try or a lower rung
└── EngineFailed        the engine broke or cannot be reached: stop taking work, hand back, open it again
    └── AnswerFailed        this answer broke: a lower rung for its request, and nothing for anybody else
        └── AnswerRefused       the model's owner does not let it answer that: a lower rung, and no fault of the engine
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
    """Every slot is taken; nothing was generated. Nobody should call again within `retry_after_s`. `facts` may hold `slots`."""

    code = "ENGINE_OVERLOADED"

    def __init__(self, message: str, /, retry_after_s: float = 0.0, **facts: object) -> None:
        super().__init__(message, **facts)
        self.retry_after_s = retry_after_s


class EngineFailed(Transient):
    """The engine ended, cannot be reached, or broke its protocol; what was yielded before stays valid."""

    code = "ENGINE_FAILED"


class AnswerFailed(EngineFailed):
    """One answer broke off or came in no form that can be read; the engine may be well. What was yielded before stays valid."""


class AnswerRefused(AnswerFailed):
    """A filter or policy of the model's owner ended the answer, or refused to begin it."""

    code = "REFUSED_BY_MODEL"
