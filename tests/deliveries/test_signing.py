"""Our headers are what the Standard Webhooks library expects, and nothing weaker."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from checkstand.deliveries.signing import make_secret, sign

EVENT_ID = "0197a1c2-5b7e-5d10-9c55-2f6f0a4d8e11"


def fresh_secret() -> str:
    return make_secret(random_bytes=os.urandom(32))


@given(body=st.text().map(str.encode))
def test_the_standard_library_accepts_our_signature_over_any_body(body: bytes) -> None:
    secret = fresh_secret()

    headers = sign(secrets=[secret], event_id=EVENT_ID, sent_at=datetime.now(UTC), body=body)

    Webhook(secret).verify(body, headers, json_parse=False)


def test_the_standard_library_refuses_an_altered_body() -> None:
    secret = fresh_secret()

    headers = sign(secrets=[secret], event_id=EVENT_ID, sent_at=datetime.now(UTC), body=b"12.50")

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"92.50", headers, json_parse=False)


def test_during_a_rotation_the_holder_of_either_secret_is_satisfied() -> None:
    old, new, stranger = fresh_secret(), fresh_secret(), fresh_secret()

    headers = sign(secrets=[new, old], event_id=EVENT_ID, sent_at=datetime.now(UTC), body=b"{}")

    Webhook(old).verify(b"{}", headers)
    Webhook(new).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger).verify(b"{}", headers)


def test_a_later_try_keeps_the_id_and_gets_its_own_time() -> None:
    secret = fresh_secret()
    first_at, later_at = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)

    first = sign(secrets=[secret], event_id=EVENT_ID, sent_at=first_at, body=b"{}")
    later = sign(secrets=[secret], event_id=EVENT_ID, sent_at=later_at, body=b"{}")

    assert first["webhook-id"] == later["webhook-id"] == EVENT_ID
    assert first["webhook-timestamp"] == str(int(first_at.timestamp()))
    assert first["webhook-signature"] != later["webhook-signature"]


@pytest.mark.parametrize("event_id", ["", "a.b", "a b", "a\r\nhost: x", "ü", "x" * 129])
def test_an_id_that_could_be_read_two_ways_is_not_signed(event_id: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        sign(secrets=[fresh_secret()], event_id=event_id, sent_at=datetime.now(UTC), body=b"")


@pytest.mark.parametrize("key", ["whsec_not base64", "whsec_c2hvcnQ=", "", "whsec_ü"])
def test_an_unusable_secret_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="a webhook") as caught:
        sign(secrets=[key], event_id=EVENT_ID, sent_at=datetime.now(UTC), body=b"")

    assert key.removeprefix("whsec_") == "" or key.removeprefix("whsec_") not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_time_without_a_zone_and_a_delivery_without_a_secret_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        sign(secrets=[fresh_secret()], event_id=EVENT_ID, sent_at=datetime(2026, 1, 1), body=b"")  # noqa: DTZ001
    with pytest.raises(ValueError, match="at least one secret"):
        sign(secrets=[], event_id=EVENT_ID, sent_at=datetime.now(UTC), body=b"")


def test_a_secret_is_not_made_from_too_little_randomness() -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        make_secret(random_bytes=b"short")
