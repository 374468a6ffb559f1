"""Check who sent a notice: the signature over the raw bytes, by a key this account fetched.

A signature proves that Binance said it to *someone*. Whether it is about an order of ours, and
may settle it, is for `settle_notices`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from checkstand.binance import (
    Notification,
    PayRefundNotice,
    SignatureVerificationError,
    UnknownCertificate,
    UnreadableNotification,
    verify,
)
from checkstand.domain.account import Account
from checkstand.errors import ProviderUnavailable, Refused
from checkstand.operations.refresh_certificates import fetch_unknown_certificate
from checkstand.operations.resources import Resources
from checkstand.storage.notices import StoredNotice

#: A notice signed this far in the future is not a matter of clocks any more.
_FUTURE_SECONDS = 300.0
#: The database keeps no NUL in text, and what Binance says of our orders has none: a notice that
#: spells one is kept as it came, like any other that we cannot read.
_NUL = b"\\u0000"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedNotice:
    """A notice that Binance signed: as it is stored, and as far as it could be understood."""

    stored: StoredNotice
    notification: Notification | None  # None when Binance signed something we cannot read


async def verify_notice(
    resources: Resources, *, notice_path: str | None, headers: Mapping[str, str], raw: bytes
) -> VerifiedNotice:
    """Verify one notice. Raises Refused for a bad one: nothing of it is kept.

    Raises ProviderUnavailable for a serial nobody here knows on an account's own path: Binance
    may have a new key that we could not fetch yet, so it must be sent again.
    """
    account = _account_of(resources, notice_path, headers)
    try:
        return _verify(resources, account, notice_path, headers, raw)
    except UnknownCertificate as error:
        if notice_path is None:
            raise Refused("notice_not_ours", "no account knows this serial") from error
        await fetch_unknown_certificate(resources, account_id=account.account_id)
    try:
        return _verify(resources, account, notice_path, headers, raw)
    except UnknownCertificate as error:
        raise ProviderUnavailable(
            "certificate_unknown", "the notice's certificate serial is not in Binance's list"
        ) from error


def _verify(
    resources: Resources,
    account: Account,
    notice_path: str | None,
    headers: Mapping[str, str],
    raw: bytes,
) -> VerifiedNotice:
    now = resources.clock.now()
    unread: UnreadableNotification | None = None
    notification: Notification | None = None
    try:
        notification = verify(
            raw,
            headers,
            resources.accounts.keys_of(account.account_id),
            now,
            past_seconds=None,  # a genuine notice is never refused for being old
            future_seconds=_FUTURE_SECONDS,
        )
    except UnreadableNotification as error:
        unread = error
    except UnknownCertificate:
        raise
    except SignatureVerificationError as error:
        raise Refused("notice_not_genuine", str(error)) from error
    known = notification or unread
    if known is None:
        raise AssertionError("verify returns or raises")
    stored = StoredNotice(
        account_id=account.account_id,
        notice_id=resources.ids.new(),
        fingerprint=_fingerprint(account.account_id, known, raw),
        biz_type=_storable(known.biz_type),
        biz_id=_storable(known.biz_id),
        biz_status=_storable(known.biz_status),
        serial=known.serial,
        signed_at=known.signed_at or now,
        received_at=now,
        own_path=notice_path is not None,
        raw=raw,
    )
    readable = notification if is_storable(raw) else None
    return VerifiedNotice(stored=stored, notification=readable)


def is_storable(raw: bytes) -> bool:
    """Say whether what a notice tells can be written down, and not only its bytes."""
    return _NUL not in raw


def _storable(text: str | None) -> str:
    return (text or "").replace("\x00", "\ufffd")


def _account_of(
    resources: Resources, notice_path: str | None, headers: Mapping[str, str]
) -> Account:
    """Find whose notice this is: by its path, else by the serial that an account fetched."""
    if notice_path is not None:
        account = resources.accounts.find_by_path(notice_path)
        if account is None:
            raise Refused("notice_path_unknown", "no account has this webhook address")
        return account
    serial = next(
        (value for name, value in headers.items() if name.lower() == "binancepay-certificate-sn"),
        "",
    )
    holders = resources.accounts.holders_of(serial)
    if not holders:
        raise Refused("notice_not_ours", "no account knows this certificate serial")
    return holders[0]


def _fingerprint(
    account_id: UUID, known: Notification | UnreadableNotification, raw: bytes
) -> bytes:
    """Say what makes two deliveries the same notice, whatever headers they came with."""
    text = known.data_text.encode() if known.data_text is not None else raw
    parts = (
        account_id.hex,
        known.biz_type or "",
        known.biz_id or "",
        known.biz_status or "",
        _refund_request_id(known),
        hashlib.sha256(text).hexdigest(),
    )
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _refund_request_id(known: Notification | UnreadableNotification) -> str:
    """Tell refunds of one order apart: the id that their notices carry is the order's."""
    data = known.data if isinstance(known, Notification) else None
    refund = data.refund_info if isinstance(data, PayRefundNotice) else None
    return refund.refund_request_id if refund else ""
