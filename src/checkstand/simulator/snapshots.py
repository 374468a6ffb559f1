"""Everything a simulator knows as one JSON text, and back.

A snapshot holds secrets and private keys, as it would be of no use without. Timers are not in it:
each room sets its own again from the records. Requests and webhooks under way are given up.
"""

from dataclasses import dataclass, replace

import msgspec

from checkstand.simulator import orders, payouts, refunds, statements, transfers
from checkstand.simulator.accounts import (
    BalanceReport,
    Entry,
    Payer,
    Payout,
    Purse,
    ReportFile,
    SubMerchant,
    Transfer,
)
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.faults import Fault
from checkstand.simulator.records import Credential, Links, Merchant, Notice, Order, Refund
from checkstand.simulator.signing import load_signing_key
from checkstand.simulator.store import Store
from checkstand.simulator.world import World

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """How a clock stands: a frozen one at a moment, a running one so far off the host's."""

    now_ms: int
    offset_ms: int
    frozen: bool
    speed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One simulator at one moment."""

    version: int
    base_url: str
    clock: ClockReading
    last_id: int
    keys: list[str]  # private, PEM; the last one signs
    merchants: list[Merchant]
    credentials: dict[str, Credential]
    payers: list[Payer]
    orders: list[Order]
    refunds: list[Refund]
    notices: list[Notice]
    entries: list[Entry]
    transfers: list[Transfer]
    payouts: list[Payout]
    sub_merchants: list[SubMerchant]
    balance_reports: list[BalanceReport]
    report_files: list[ReportFile]
    faults: list[Fault]


def export_world(world: World) -> bytes:
    """Return a snapshot as JSON."""
    store = world.store
    snapshot = Snapshot(
        version=_VERSION,
        base_url=world.base_url,
        clock=_read_clock(world.clock),
        last_id=store.last_id,
        keys=[key.private_pem for key in world.keys.listed],
        merchants=list(store.merchants.values()),
        credentials=store.credentials,
        payers=list(store.payers.values()),
        orders=list(store.orders.values()),
        refunds=list(store.refunds.values()),
        notices=store.notices,
        entries=store.entries,
        transfers=list(store.transfers.values()),
        payouts=list(store.payouts.values()),
        sub_merchants=list(store.sub_merchants.values()),
        balance_reports=list(store.balance_reports.values()),
        report_files=list(store.report_files.values()),
        faults=list(world.faults.listed),
    )
    return msgspec.json.encode(snapshot)


async def import_world(world: World, exported: bytes) -> None:
    """Put a snapshot in place of everything.

    Raises ValueError, with nothing changed, if it is none.
    """
    try:
        snapshot = msgspec.json.decode(exported, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise ValueError(f"this is no exported state: {error}") from None
    if snapshot.version != _VERSION:
        raise ValueError(f"this state is of version {snapshot.version}, not {_VERSION}")
    if not snapshot.keys:
        raise ValueError("this state has no key to sign webhooks with")
    keys = [load_signing_key(pem) for pem in snapshot.keys]
    await world.postman.give_up()
    world.clock.clear()
    _set_clock(world.clock, snapshot.clock)
    _fill(world.store, snapshot, base_url=world.base_url)
    world.keys.restore(keys)
    world.faults.restore(snapshot.faults)
    # The same seed must not make the ids again that the snapshot already has.
    world.randomness.turn(f"{snapshot.last_id}:{len(snapshot.entries)}")
    _rearm(world)


def _fill(store: Store, snapshot: Snapshot, *, base_url: str) -> None:
    store.clear()
    store.last_id = snapshot.last_id
    store.merchants.update({each.merchant_id: each for each in snapshot.merchants})
    store.credentials.update(snapshot.credentials)
    store.payers.update({each.payer_id: each for each in snapshot.payers})
    for order in snapshot.orders:
        store.put_order(replace(order, links=_moved(order.links, snapshot.base_url, base_url)))
    for refund in snapshot.refunds:
        store.put_refund(refund)
    store.notices.extend(snapshot.notices)
    store.entries.extend(snapshot.entries)
    for entry in snapshot.entries:
        store.balances[Purse(entry.owner, entry.wallet, entry.currency)] = entry.balance
    store.transfers.update({(t.merchant_id, t.request_id): t for t in snapshot.transfers})
    store.payouts.update({(p.merchant_id, p.request_id): p for p in snapshot.payouts})
    store.sub_merchants.update({each.sub_merchant_id: each for each in snapshot.sub_merchants})
    store.balance_reports.update({each.download_id: each for each in snapshot.balance_reports})
    store.report_files.update({each.token: each for each in snapshot.report_files})


def _rearm(world: World) -> None:
    """Let every room set its timers again; what is overdue happens with the next request."""
    store = world.store
    for order in store.orders.values():
        orders.rearm(world, order)
    for refund in store.refunds.values():
        refunds.rearm(world, refund)
    for transfer in store.transfers.values():
        transfers.rearm(world, transfer)
    for payout in store.payouts.values():
        payouts.rearm(world, payout)
    for report in store.balance_reports.values():
        statements.rearm(world, report)
    for notice in store.notices:
        world.postman.rearm(notice)


def _moved(links: Links, before: str, after: str) -> Links:
    """Return links that lead to where the simulator is now."""

    def moved(url: str) -> str:
        return after + url.removeprefix(before) if url.startswith(before) else url

    return replace(
        links,
        qr_code_link=moved(links.qr_code_link),
        qr_content=moved(links.qr_content),
        checkout_url=moved(links.checkout_url),
        universal_url=moved(links.universal_url),
    )


def _read_clock(clock: SimulatedClock) -> ClockReading:
    now_ms = clock.now_ms()
    return ClockReading(
        now_ms=now_ms,
        offset_ms=now_ms - clock.host_ms(),
        frozen=clock.frozen,
        speed=clock.speed,
    )


def _set_clock(clock: SimulatedClock, reading: ClockReading) -> None:
    clock.freeze() if reading.frozen else clock.resume()
    clock.hurry(reading.speed)
    clock.set_ms(reading.now_ms if reading.frozen else clock.host_ms() + reading.offset_ms)
