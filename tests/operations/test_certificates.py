"""Binance's public keys: asked for seldom, one at a time, and never lost by an accident."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from checkstand import app
from checkstand.errors import ProviderUnavailable
from checkstand.jobs.registry import CHORES, KEEP_KEYS
from checkstand.jobs.worker import keeping_keys
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Resources
from checkstand.simulator.signing import sign_notice
from checkstand.storage import accounts
from checkstand.storage.database import Transaction

MINUTE = 61


@pytest.fixture
async def resources(gateway_settings: Any, simulator: Any) -> AsyncIterator[Resources]:
    """A house that has asked for the keys already, and is due to ask again."""
    async with app.building_house(gateway_settings, clock=simulator.clock) as built:
        await refresh_all_certificates(built)
        simulator.clock.advance(MINUTE)
        yield built


@pytest.fixture
async def desk(resources: Resources) -> AsyncIterator[NoticeDesk]:
    """The desk of that house."""
    made = NoticeDesk(resources)
    yield made
    await made.aclose()


async def _bring(desk: NoticeDesk, resources: Resources, simulator: Any, serial: str) -> Any:
    """Bring a notice under a serial; return what its sender was told."""
    body = b'{"bizType":"PAYOUT","bizIdStr":"1","bizId":1,"bizStatus":"X","data":"{}"}'
    moment = str(simulator.clock.now_ms())
    signed = sign_notice(simulator.world.keys.current, body, timestamp=moment, nonce="n" * 32)
    headers = signed.headers | {"BinancePay-Certificate-SN": serial}
    path = resources.accounts.get(DEFAULT_ACCOUNT_ID).notice_path
    try:
        await desk.receive(notice_path=path, headers=headers, raw=body)
    except ProviderUnavailable as error:
        return error.code
    return None


def _fail(simulator: Any, kind: str, **parameters: Any) -> None:
    simulator.control.faults.add(kind, endpoint="/certificates", times=1_000, **parameters)


def _calls(simulator: Any) -> int:
    (counter,) = (f for f in simulator.control.faults.listed if f.endpoint)
    return int(1_000 - counter.times)


async def _fetch_has_ended(resources: Resources) -> None:
    """Wait for the fetch that the desk began, with what it repeats: a sender leaves before."""
    fetch = resources.accounts.certificate_flight(DEFAULT_ACCOUNT_ID).under_way
    assert fetch is not None
    async with asyncio.timeout(30):
        await asyncio.wait({fetch})


@pytest.mark.parametrize("kind", ["rejected", "http_5xx_before_effect", "answer_lost_after_effect"])
async def test_fetch_that_fails_is_not_repeated_within_the_minute(
    resources: Resources, desk: NoticeDesk, simulator: Any, kind: str
) -> None:
    _fail(simulator, kind)
    seen = []

    for _ in range(2):
        before = _calls(simulator)
        told = await asyncio.gather(
            *(_bring(desk, resources, simulator, f"{n:032X}") for n in range(10))
        )
        assert set(told) == {"certificate_unknown"}
        await _fetch_has_ended(resources)
        seen.append(_calls(simulator) - before)
        assert await _bring(desk, resources, simulator, "F" * 32) == "certificate_unknown"
        await _fetch_has_ended(resources)
        assert _calls(simulator) - before == seen[-1]
        simulator.clock.advance(MINUTE)

    assert seen[0] == seen[1] >= 1  # the SDK itself may repeat a call that does nothing
    keys = resources.accounts.keys_of(DEFAULT_ACCOUNT_ID)
    assert list(keys) == [simulator.world.keys.current.serial]


async def test_sender_is_answered_in_time_however_long_the_fetch_takes(
    resources: Resources, desk: NoticeDesk, simulator: Any
) -> None:
    simulator.control.rotate_certificates()
    serial = simulator.world.keys.current.serial
    simulator.control.faults.add("delay", endpoint="/certificates", seconds=0.5)
    simulator.clock.freeze()

    assert await _bring(desk, resources, simulator, serial) == "certificate_unknown"

    # The fetch goes on meanwhile: when Binance sends again the key is there.
    simulator.clock.resume()
    await _fetch_has_ended(resources)
    assert serial in resources.accounts.keys_of(DEFAULT_ACCOUNT_ID)
    assert await _bring(desk, resources, simulator, serial) is None


async def test_empty_list_changes_nothing(resources: Resources, simulator: Any) -> None:
    async def store_none(tx: Transaction) -> None:
        await accounts.store_certificates(tx, DEFAULT_ACCOUNT_ID, {}, now=resources.clock.now())

    known = dict(resources.accounts.keys_of(DEFAULT_ACCOUNT_ID))
    simulator.clock.advance(48 * 3600)

    await resources.database.run(store_none, name="store_none")
    await resources.accounts.reload(
        resources.database, resources.provider, resources.vault, now=resources.clock.now()
    )

    assert known
    assert resources.accounts.keys_of(DEFAULT_ACCOUNT_ID) == known


async def test_process_without_a_worker_keeps_its_own_keys(
    resources: Resources, simulator: Any
) -> None:
    """A key that another process fetched, or that is gone, must not pass by the one at the door."""
    simulator.control.rotate_certificates()
    serial = simulator.world.keys.current.serial

    async with keeping_keys(resources), asyncio.timeout(10):
        while serial not in resources.accounts.keys_of(DEFAULT_ACCOUNT_ID):
            await asyncio.sleep(0.02)

    assert KEEP_KEYS in CHORES
