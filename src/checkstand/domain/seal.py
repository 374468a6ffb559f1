"""The seal: a hash over a batch of transfers and over the seal before, so that none can change.

Whoever keeps one seal's hash somewhere else (an anchor) can tell later whether everything up to
it is as it was. Sealed text holds ids, accounts and amounts, and nothing about a person.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from checkstand.domain.ledger import Transfer, render_transfer

#: What the first seal of an account has in place of a hash before it.
NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One link of an account's chain."""

    number: int
    previous_hash: bytes
    hash: bytes
    count: int
    newest_at: datetime  # of every transfer sealed up to here
    at: datetime


def make_seal(
    account_id: UUID,
    transfers: Sequence[Transfer],
    digests: Sequence[bytes],
    *,
    previous: Seal | None,
    at: datetime,
) -> Seal:
    """Make the next link of an account's chain over transfers, of which there is at least one."""
    newest = [previous.newest_at] if previous else []
    link = Seal(
        number=previous.number + 1 if previous else 1,
        previous_hash=previous.hash if previous else NO_HASH,
        hash=NO_HASH,
        count=len(transfers),
        newest_at=max([*newest, *(t.at for t in transfers)]),
        at=at,
    )
    return replace(link, hash=hash_of(account_id, link, digests))


def digest_of(transfer: Transfer) -> bytes:
    """Hash one transfer's text."""
    return hashlib.sha256(render_transfer(transfer).encode()).digest()


def hash_of(account_id: UUID, seal: Seal, digests: Iterable[bytes]) -> bytes:
    """Hash a seal: all it says but the hash itself, and the digests of what it holds, in order."""
    head = (
        "checkstand seal 1",  # the form of this text
        str(account_id),
        str(seal.number),
        seal.previous_hash.hex(),
        str(seal.count),
        _moment(seal.newest_at),
        _moment(seal.at),
    )
    hashed = hashlib.sha256("\n".join(head).encode())
    for digest in digests:
        hashed.update(f"\n{digest.hex()}".encode())
    return hashed.digest()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
