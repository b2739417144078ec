"""The signature scheme of webhooks, as documented, and against whoever tries; and what their bodies say."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import BadSettings
from schemas.gen.worldbus.payment.v1 import provider_pb2 as said
from schemas.gen.worldbus.payment.v1.types_pb2 import ProviderRefund
from worldbus.edges import webhook as webhooks
from worldbus.edges.payments import TOLERANCE_S, BadSignature, BadWebhook, Owner, PaymentsEdge, read, sign, verify
from worldbus.edges.signing_secrets import SigningSecrets

BODY, SECRET, NOW = b'{"id":"evt_1","object":"event"}', "whsec_secret", 1_700_000_000
MAC = "555df56fbb1e968c82b4ac4cfc3f739da6c72dd2cb54c91c33f7fc0532d7605c"  # openssl dgst -sha256 -hmac whsec_secret of "1700000000.<body>"
GOOD = f"t={NOW},v1={MAC}"


def test_signatures_are_those_that_openssl_makes() -> None:
    assert sign(BODY, SECRET, NOW) == GOOD
    verify(BODY, GOOD, [SECRET], NOW)


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW}, v1={MAC}",
        f"v1={MAC},t={NOW}",
        f"t={NOW},v1={'0' * 64},v1={MAC}",  # a secret is being rolled
        f"t={NOW},v1={MAC},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39",
        f"t={NOW},v1=zz,v1={MAC}",
        f"t={NOW},v9=,v1={MAC},,",
    ],
)
def test_headers_that_are_good(header: str) -> None:
    verify(BODY, header, [SECRET], NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=,v1=",
        f"v1={MAC}",
        f"t={NOW}",
        f"t={NOW},v0={MAC}",  # a weaker scheme does not count
        f"t={NOW},v1={MAC[:-1]}",
        f"t={NOW},v1={MAC.upper()}",
        f"t={NOW},v1={'0' * 64}",
        f"t={NOW + 1},v1={MAC}",
        f"t={NOW},t={NOW},v1={MAC}",  # which of them is signed?
        f"t=-{NOW},v1={MAC}",
        f"t=+{NOW},v1={MAC}",
        f"t={NOW}.0,v1={MAC}",
        "t=\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660,v1=" + MAC,
        f"t={'9' * 5000},v1={MAC}",
        f"t={NOW},v1={MAC}" + f",v1={'0' * 64}" * 100,
        f"T={NOW},V1={MAC}",
        "\0",
    ],
)
def test_headers_that_are_not(header: str) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, header, [SECRET], NOW)


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b"", BODY.replace(b"evt_1", b"evt_2")])
def test_a_changed_body_is_found_out(body: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(body, GOOD, [SECRET], NOW)


def test_any_of_our_secrets_will_do_and_no_other() -> None:
    verify(BODY, GOOD, ["whsec_new", SECRET], NOW)
    for secrets in ([], ["whsec_new"], [""]):
        with pytest.raises(BadSignature):
            verify(BODY, GOOD, secrets, NOW)


def test_a_signature_is_good_for_a_while_either_way() -> None:
    for age in (-TOLERANCE_S, 0, TOLERANCE_S):
        verify(BODY, GOOD, [SECRET], NOW + age)
    for age in (-TOLERANCE_S - 1, TOLERANCE_S + 1):
        with pytest.raises(BadSignature, match="signed"):
            verify(BODY, GOOD, [SECRET], NOW + age)


@given(st.binary(max_size=60), st.text(max_size=120))
@settings(deadline=None)
def test_no_header_but_a_signature_is_believed(body: bytes, header: str) -> None:
    with pytest.raises(BadSignature):
        verify(body, header, [SECRET], NOW)


@given(st.binary(max_size=60), st.integers(0, 10**11), st.integers(-TOLERANCE_S, TOLERANCE_S))
@settings(deadline=None)
def test_what_was_signed_verifies(body: bytes, at_s: int, age: int) -> None:
    verify(body, sign(body, SECRET, at_s), [SECRET], at_s + age)


def test_an_edge_without_a_secret_does_not_start() -> None:
    for secrets in ([], [""], [SECRET, ""]):
        with pytest.raises(BadSettings):
            PaymentsEdge(None, secrets, "duskmarket")  # type: ignore[arg-type]


def webhook(kind: str, **thing: Any) -> bytes:
    return json.dumps({"id": "evt_9", "type": kind, "created": NOW, "data": {"object": thing}}).encode()


def succeeded(**more: Any) -> bytes:
    metadata = {"player": "mira", "pack": "purse"}
    return webhook("payment_intent.succeeded", **{"id": "pi_1", "amount_received": 499, "currency": "eur", "metadata": metadata, **more})


@pytest.mark.parametrize(
    ("body", "news"),
    [
        (
            succeeded(),
            said.PaymentReceived(payment_id="pi_1", pack="purse", paid_currency="eur", paid_minor=499, provider_event_id="evt_9"),
        ),
        (
            webhook("payment_intent.payment_failed", id="pi_1", last_payment_error={"code": "card_declined"}),
            said.PaymentFailed(payment_id="pi_1", failure="card_declined", provider_event_id="evt_9"),
        ),
        (
            webhook("charge.refunded", id="ch_1", payment_intent="pi_1", amount_refunded=100),
            said.PaymentRefunded(payment_id="pi_1", refunded_minor=100, provider_event_id="evt_9"),
        ),
        *(
            (
                webhook(kind, id="re_1", object="refund", payment_intent="pi_1", amount=100, status=status),
                said.PaymentRefunded(
                    payment_id="pi_1",
                    provider_event_id="evt_9",
                    refunds=[ProviderRefund(refund_id="re_1", amount_minor=100, state=state)],
                ),
            )
            for kind, status, state in (
                ("refund.created", "pending", "pending"),
                ("refund.created", "requires_action", "requires_action"),
                ("refund.updated", "succeeded", "succeeded"),
                ("charge.refund.updated", "failed", "failed"),
                ("refund.failed", "failed", "failed"),
                ("refund.updated", "canceled", "canceled"),
                ("refund.updated", None, "pending"),
                ("refund.updated", "transmuted", "pending"),
            )
        ),
        (
            webhook(
                "charge.refunded",
                id="ch_1",
                payment_intent="pi_1",
                amount_refunded=100,
                refunds={"data": [{"id": "re_1", "amount": 100, "status": "succeeded"}]},
            ),
            said.PaymentRefunded(
                payment_id="pi_1",
                refunded_minor=100,
                provider_event_id="evt_9",
                refunds=[ProviderRefund(refund_id="re_1", amount_minor=100, state="succeeded")],
            ),
        ),
        (
            webhook("charge.dispute.created", id="dp_1", payment_intent="pi_1", amount=50, currency="eur", status="needs_response"),
            said.PaymentDisputed(payment_id="pi_1", dispute_id="dp_1", amount_minor=50, currency="eur", provider_event_id="evt_9"),
        ),
        *(
            (
                webhook(kind, id="dp_1", payment_intent="pi_1", amount=50, currency="eur", status=status, balance_transactions=moves),
                said.DisputeSettled(
                    payment_id="pi_1", dispute_id="dp_1", won=won, lost_minor=lost, currency="eur", provider_event_id="evt_9"
                ),
            )
            for kind, status, moves, won, lost in (
                ("charge.dispute.closed", "lost", [], False, 50),
                ("charge.dispute.updated", "lost", None, False, 50),
                ("charge.dispute.closed", "won", [], True, 0),
                ("charge.dispute.closed", "prevented", [], True, 0),
                ("charge.dispute.funds_reinstated", "won", [{"amount": -50, "currency": "eur"}], True, 0),
                (
                    "charge.dispute.funds_reinstated",
                    "lost",
                    [{"amount": -50, "currency": "eur"}, {"amount": 30, "currency": "eur"}],
                    False,
                    20,
                ),
                (
                    "charge.dispute.funds_reinstated",
                    "lost",
                    [{"amount": -50, "currency": "eur"}, {"amount": 50, "currency": "eur"}],
                    True,
                    0,
                ),
                (
                    "charge.dispute.closed",
                    "lost",
                    [{"amount": -54, "currency": "usd"}, {"amount": 30, "currency": "usd"}],
                    False,
                    50,
                ),
            )
        ),
        *(
            (
                webhook(kind, id="dp_1", payment_intent="pi_1", amount=499, status=status, reason="general"),
                said.PaymentInquired(
                    payment_id="pi_1", inquiry_id="dp_1", kind="inquiry", closed=closed, reason="general", provider_event_id="evt_9"
                ),
            )
            for kind, status, closed in (
                ("charge.dispute.created", "warning_needs_response", False),
                ("charge.dispute.updated", "warning_under_review", False),
                ("charge.dispute.closed", "warning_closed", True),
            )
        ),
        (
            webhook(
                "radar.early_fraud_warning.created", id="issfr_1", payment_intent="pi_1", charge="ch_1", fraud_type="made_with_stolen_card"
            ),
            said.PaymentInquired(
                payment_id="pi_1",
                inquiry_id="issfr_1",
                kind="early_fraud_warning",
                reason="made_with_stolen_card",
                provider_event_id="evt_9",
            ),
        ),
        (
            webhook(
                "checkout.session.completed",
                id="cs_1",
                payment_intent="pi_1",
                payment_status="paid",
                currency="eur",
                amount_subtotal=499,
                amount_total=594,
                total_details={"amount_tax": 95, "amount_discount": 0},
                metadata={"player": "mira", "pack": "purse"},
            ),
            said.PaymentReceived(
                payment_id="pi_1",
                pack="purse",
                paid_currency="eur",
                paid_minor=594,
                subtotal_minor=499,
                tax_minor=95,
                provider_event_id="evt_9",
            ),
        ),
        (
            webhook("charge.dispute.created", id="dp_1", payment_intent="pi_1", reason="fraudulent"),
            said.PaymentDisputed(payment_id="pi_1", dispute_id="dp_1", reason="fraudulent", provider_event_id="evt_9"),
        ),
        (
            webhook("charge.dispute.closed", id="dp_1", payment_intent="pi_1", status="won"),
            said.DisputeSettled(payment_id="pi_1", dispute_id="dp_1", won=True, provider_event_id="evt_9"),
        ),
        (
            webhook("charge.dispute.closed", id="dp_1", payment_intent="pi_1", status="lost"),
            said.DisputeSettled(payment_id="pi_1", dispute_id="dp_1", won=False, provider_event_id="evt_9"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_webhooks_say(body: bytes, news: Any) -> None:
    found = read(body, "duskmarket")

    assert found is not None
    assert (found.news, found.payment_id, found.created_s) == (news, "pi_1", NOW)
    draft = found.draft(Owner("duskmarket", "mira"))
    assert (draft.id, draft.time_ns, draft.subsystem) == ("provider-evt_9", NOW * 10**9, "payments-provider")
    assert draft.encode() == found.draft(Owner("duskmarket", "mira")).encode()


def test_the_owner_is_named_by_the_metadata() -> None:
    owners = [
        read(succeeded(metadata=metadata), "duskmarket")
        for metadata in ({"player": "mira"}, {"player": "mira", "world": "other"}, {}, None)
    ]

    assert [found and found.owner for found in owners] == [Owner("duskmarket", "mira"), Owner("other", "mira"), None, None]


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"order": "6-1"}, {"pack": "a6"}, {"player": "Jean Dupont"}, {"player": ""}, {"player": None}, [], "player"],
)
@pytest.mark.parametrize("kind", ["payment_intent.succeeded", "payment_intent.payment_failed", "checkout.session.completed"])
def test_a_receipt_without_our_metadata_is_not_ours(kind: str, metadata: Any) -> None:
    amounts = {"amount_received": 499, "amount_total": 499, "payment_intent": "pi_1", "payment_status": "paid"}
    found = read(webhook(kind, **{"id": "pi_1", "currency": "eur", **amounts, "metadata": metadata}), "duskmarket")

    assert found is not None
    assert (found.owner, found.of_known) == (None, False)


@pytest.mark.parametrize("kind", ["charge.refunded", "refund.created", "charge.dispute.created", "radar.early_fraud_warning.created"])
def test_what_was_taken_without_a_payment_intent_is_not_ours(kind: str) -> None:
    found = read(webhook(kind, id="x_1", payment_intent=None, amount=5, amount_refunded=5, metadata={"player": "mira"}), "duskmarket")

    assert found is not None
    assert (found.owner, found.of_known) == (None, False)


def test_a_session_that_is_not_paid_yet_is_of_no_concern() -> None:
    for status, intent in (("unpaid", "pi_1"), ("no_payment_required", None), ("paid", None)):
        body = webhook("checkout.session.completed", id="cs_1", payment_intent=intent, payment_status=status, amount_total=499)
        assert read(body, "duskmarket") is None


def test_secrets_are_rolled_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("whsec_old\n")
    secrets = SigningSecrets(path)
    assert secrets() == ("whsec_old",)
    path.write_text("whsec_old\nwhsec_new\n")
    assert secrets() == ("whsec_old", "whsec_new")
    path.write_text("")
    assert secrets() == ("whsec_old", "whsec_new")
    path.unlink()
    assert secrets() == ("whsec_old", "whsec_new")
    with pytest.raises(BadSettings, match="one secret a line"):
        SigningSecrets(path)


def test_other_webhooks_are_of_no_concern() -> None:
    assert read(webhook("customer.created", id="cus_1"), "duskmarket") is None
    assert read(b'{"type": 5}', "duskmarket") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"5",
        b'{"type":"charge.refunded"}',
        b'{"type":"charge.refunded","data":{"object":[]}}',
        b'{"type":"charge.refunded","data":[]}',
        succeeded(amount_received=-1),
        succeeded(amount_received=4.99),
        succeeded(amount_received=True),
        succeeded(amount_received="499"),
        succeeded(amount_received=10**30),
        succeeded(id="../../etc"),
        succeeded(id="x" * 101),
        succeeded(id=None),
        succeeded(metadata={"player": "a.b", "pack": "purse"}),
        succeeded(metadata={"player": ">", "pack": "purse"}),
        succeeded(metadata={"player": ["mira"], "pack": "purse"}),
        succeeded(metadata={"player": "mira", "world": "*", "pack": "purse"}),
        webhook("charge.refunded", id="ch_1", payment_intent=5, amount_refunded=1),
        webhook("charge.dispute.created", id="dp 1", payment_intent="pi_1"),
        succeeded().replace(b'"evt_9"', b'"evt 9"'),
        succeeded().replace(b"1700000000", b"NaN"),
        succeeded().replace(b"1700000000", b"1e400"),
    ],
)
def test_what_the_provider_does_not_document_is_refused(body: bytes) -> None:
    with pytest.raises(BadWebhook):
        read(body, "duskmarket")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(sorted(webhooks.READERS))
WORDS = ["payment_status", "currency", "metadata", "status", "reason", "last_payment_error"]
AMOUNTS = ["amount", "amount_received", "amount_refunded", "amount_total", "amount_subtotal"]
fields = st.sampled_from(["id", "payment_intent", *AMOUNTS, "total_details", "refunds", "balance_transactions", *WORDS])


@given(kinds, st.dictionaries(fields, values | st.sampled_from(["pi_1", 499, "eur"])))
@settings(deadline=None)
def test_whatever_a_body_says_it_is_read_or_refused(kind: str, thing: dict[str, Any]) -> None:
    """What is read can be published: no part of it breaks a subject or an encoding."""
    try:
        found = read(webhook(kind, **thing), "duskmarket")
    except BadWebhook:
        return
    if found is not None:
        found.draft(found.owner or Owner("duskmarket", "mira")).encode()


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_refused_or_of_no_concern(body: bytes) -> None:
    with suppress(BadWebhook):
        assert read(body, "duskmarket") is None
