"""Opening a webhook: genuine ones open, everything else is refused by name."""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from checkstand.deliveries.signing import make_secret, sign
from checkstand.receiver import (
    Event,
    EventRefused,
    EventTooNew,
    EventTooOld,
    EventUnreadable,
    HeaderMissing,
    Receiver,
    SignatureWrong,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = make_secret(random_bytes=os.urandom(32))
CONTENT: dict[str, Any] = {
    "id": "0197a1c2-5b7e-5d10-9c55-2f6f0a4d8e11",
    "type": "order.paid",
    "created_at": "2026-11-23T11:59:58.123456Z",
    "account_id": "account-1",
    "order_version": 3,
    "data": {"order": {"order_id": "o-1", "amount": "12.50", "currency": "USDT"}},
}


def delivered(
    *, body: bytes | None = None, secret: str = SECRET, sent_at: datetime = NOW, **changes: object
) -> tuple[bytes, dict[str, str]]:
    raw = json.dumps(CONTENT | changes).encode() if body is None else body
    return raw, sign(secrets=[secret], event_id=CONTENT["id"], sent_at=sent_at, body=raw)


def opened(raw: bytes, headers: Mapping[str, str], *secrets: str) -> Event:
    return Receiver(*(secrets or (SECRET,)), clock=lambda: NOW).open(raw, headers)


def test_a_genuine_event_opens_with_its_amounts_as_text() -> None:
    raw, headers = delivered()

    event = opened(raw, headers)

    assert (event.id, event.type, event.account_id) == (CONTENT["id"], "order.paid", "account-1")
    assert event.created_at == datetime(2026, 11, 23, 11, 59, 58, 123456, UTC)
    assert event.order_version == 3
    assert event.order["amount"] == "12.50"
    assert event.raw == raw


def test_an_event_signed_by_the_standard_library_opens() -> None:
    raw = json.dumps(CONTENT).encode()
    now = datetime.now(UTC)
    headers = {
        "webhook-id": CONTENT["id"],
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(CONTENT["id"], now, raw.decode()),
    }

    assert Receiver(SECRET).open(raw, headers).type == "order.paid"


def test_header_names_may_come_in_any_case() -> None:
    raw, headers = delivered()

    assert (
        opened(raw, {name.upper(): value for name, value in headers.items()}).type == "order.paid"
    )
    assert (
        opened(raw, {name.title(): value for name, value in headers.items()}).type == "order.paid"
    )


def test_while_a_secret_is_replaced_both_open() -> None:
    old, new = SECRET, make_secret(random_bytes=os.urandom(32))

    assert opened(*delivered(secret=old), new, old).type == "order.paid"
    assert opened(*delivered(secret=new), new, old).type == "order.paid"


def test_one_good_signature_among_strange_ones_is_enough() -> None:
    raw, headers = delivered()
    headers["webhook-signature"] = f"v2,abc v1,%% v1,AAAA  {headers['webhook-signature']} v1a,x"

    assert opened(raw, headers).type == "order.paid"


@pytest.mark.parametrize("alter", [lambda raw: raw + b" ", lambda raw: raw.replace(b"12", b"92")])
def test_an_altered_body_is_refused(alter: Callable[[bytes], bytes]) -> None:
    raw, headers = delivered()

    with pytest.raises(SignatureWrong):
        opened(alter(raw), headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [("webhook-id", "another-event"), ("webhook-timestamp", str(int(NOW.timestamp()) + 1))],
)
def test_an_altered_header_is_refused(name: str, value: str) -> None:
    raw, headers = delivered()

    with pytest.raises(SignatureWrong):
        opened(raw, headers | {name: value})


def test_a_strangers_signature_is_refused() -> None:
    with pytest.raises(SignatureWrong):
        opened(*delivered(secret=make_secret(random_bytes=os.urandom(32))))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    raw, headers = delivered()
    del headers[name]

    with pytest.raises(HeaderMissing, match=name):
        opened(raw, headers)


@pytest.mark.parametrize("timestamp", ["soon", "1.5", "-1", "²", "9" * 12, "+1", "1_0"])
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    raw, headers = delivered()

    with pytest.raises(HeaderMissing, match="webhook-timestamp"):
        opened(raw, headers | {"webhook-timestamp": timestamp})


def test_the_window_is_open_for_five_minutes_to_both_sides() -> None:
    window = timedelta(seconds=300)
    beyond = window + timedelta(seconds=1)

    assert opened(*delivered(sent_at=NOW - window)).type == "order.paid"
    assert opened(*delivered(sent_at=NOW + window)).type == "order.paid"
    with pytest.raises(EventTooOld):
        opened(*delivered(sent_at=NOW - beyond))
    with pytest.raises(EventTooNew):
        opened(*delivered(sent_at=NOW + beyond))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        json.dumps(CONTENT | {"id": "another"}).encode(),
        json.dumps(CONTENT | {"data": None}).encode(),
        json.dumps(CONTENT | {"data": {"order": []}}).encode(),
        json.dumps(CONTENT | {"order_version": "3"}).encode(),
        json.dumps(CONTENT | {"order_version": True}).encode(),
        json.dumps(CONTENT | {"created_at": "yesterday"}).encode(),
        json.dumps(CONTENT | {"created_at": "2026-11-23T12:00:00"}).encode(),
        json.dumps(CONTENT | {"created_at": "0001-01-01T00:00:00+23:59"}).encode(),
        json.dumps(CONTENT | {"extra": float("nan")}).encode(),
        b'{"id": ' + b"1" * 5000 + b"}",
    ],
)
def test_a_signed_body_that_is_no_event_is_unreadable(body: bytes) -> None:
    with pytest.raises(EventUnreadable):
        opened(*delivered(body=body))


def test_an_unknown_type_and_unknown_fields_open_as_they_are() -> None:
    event = opened(*delivered(type="order.blessed", data={"order": {"new": 1.10}, "more": [1]}))

    assert event.type == "order.blessed"
    assert event.data["more"] == [1]
    assert event.order["new"] == Decimal("1.1")


def test_an_event_about_no_order_has_an_empty_one() -> None:
    event = opened(*delivered(type="reconciliation.discrepancy", data={}, order_version=None))

    assert (dict(event.order), event.order_version) == ({}, 0)


def test_a_decoded_or_parsed_body_is_a_mistake_that_is_explained() -> None:
    raw, headers = delivered()

    with pytest.raises(TypeError, match="bytes as they arrived"):
        opened(raw.decode(), headers)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got dict"):
        opened(json.loads(raw), headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64"])
def test_an_unusable_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="not a webhook secret") as caught:
        Receiver(secret)

    assert secret.removeprefix("whsec_") == "" or secret not in str(caught.value)


def test_a_receiver_without_a_secret_does_not_start() -> None:
    with pytest.raises(ValueError, match="secret"):
        Receiver()


def test_neither_the_secret_nor_the_order_shows_in_a_repr() -> None:
    event = opened(*delivered())

    assert SECRET.removeprefix("whsec_") not in repr(vars(Receiver(SECRET)))
    assert "12.50" not in repr(event)


@given(
    raw=st.binary(),
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x"]),
        st.text() | st.just(str(int(NOW.timestamp()))) | st.text().map(lambda text: f"v1,{text}"),
    ),
)
def test_nothing_a_stranger_sends_raises_anything_else(raw: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(EventRefused):
        opened(raw, headers)
