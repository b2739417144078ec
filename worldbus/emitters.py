"""The event types that the edges which come along may say (`bus.emitters`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from bus.decision import CONTROL
from schemas.gen.worldbus.inference.v1 import inference_pb2 as inference
from schemas.gen.worldbus.knowledge.v1 import knowledge_pb2 as knowledge
from schemas.gen.worldbus.payment.v1 import provider_pb2 as provider
from schemas.gen.worldbus.uemonitor.v1 import uemonitor_pb2 as uemonitor
from worldbus.former import Now, former

EDGES: Final[dict[str, tuple[type[Message], ...]]] = {
    "operator": CONTROL,
    "inference": (
        inference.InferenceStarted,
        inference.InferenceCompleted,
        inference.InferenceDegraded,
        inference.InferenceExpired,
        inference.InferenceCancelled,
        inference.InferenceRejected,
        inference.InferenceRouteRequested,
        inference.InferenceRequestRepeated,
        inference.InferenceCancelFoundNothing,
        inference.ModelHealthReported,
    ),
    "payments-provider": (
        provider.PaymentReceived,
        provider.PaymentFailed,
        provider.PaymentRefunded,
        provider.PaymentDisputed,
        provider.PaymentInquired,
        provider.DisputeSettled,
    ),
    "release-feed": (uemonitor.ReleaseFeedRead, uemonitor.ReleaseFeedFailed),
    "lore": (
        knowledge.LoreChunkAdded,
        knowledge.LoreChunkRetired,
        knowledge.LoreDocumentIngested,
        knowledge.LoreDocumentRemoved,
    ),
    "knowledge": (knowledge.KnowledgeSearched,),
}
"""The words of each edge alone: whoever hears it takes its word for the word of that edge."""


def _of_the_game() -> Any:
    from worldbus.games import current

    return current().emitters


if not TYPE_CHECKING:  # with it, type checkers would take any name
    __getattr__ = former(__name__, {"emitters": Now("worldbus.games.current().emitters", lambda: _of_the_game)})
