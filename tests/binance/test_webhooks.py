import asyncio
from datetime import timedelta
from typing import Any

import pytest

from checkstand.binance import (
    AsyncBinancePay,
    ConnectionFailed,
    MissingHeader,
    PayNotice,
    TimestampOutOfTolerance,
    UnknownCertificate,
)
from checkstand.binance.webhooks import FETCH_SECONDS_MIN, FRESH_SECONDS, AsyncWebhooks
from checkstand.binance.webhooks_sync import Webhooks

PAID = (
    b'{"bizType":"PAY","bizIdStr":"7","bizStatus":"PAY_SUCCESS",'
    b'"data":{"merchantTradeNo":"T1","totalFee":0.88000000,"currency":"USDT"}}'
)


def listed(*signers: Any) -> list[dict[str, str]]:
    return [{"certPublic": signer.public_key, "certSerial": signer.serial} for signer in signers]


async def test_an_event_is_verified_with_fetched_keys(
    counter: Any, server: Any, signer: Any, clock: Any
) -> None:
    server.succeed(listed(signer))
    client = counter.client(clock=clock)
    headers = signer.sign(PAID, clock.now())

    events = [
        await counter.call(lambda: client.webhooks.construct_event(PAID, headers)) for _ in range(3)
    ]

    assert all(isinstance(event.data, PayNotice) for event in events)
    assert len(server.received) == 1  # the keys are kept


async def test_strangers_cause_one_fetch_and_no_more(
    counter: Any, server: Any, signer: Any, other_signer: Any, clock: Any
) -> None:
    server.succeed(listed(signer))
    client = counter.client(clock=clock)
    headers = other_signer.sign(PAID, clock.now())

    for _ in range(5):
        with pytest.raises(UnknownCertificate):
            await counter.call(lambda: client.webhooks.construct_event(PAID, headers))

    assert len(server.received) == 1


async def test_what_is_not_even_signed_causes_no_fetch(counter: Any, server: Any) -> None:
    client = counter.client()

    with pytest.raises(MissingHeader):
        await counter.call(lambda: client.webhooks.construct_event(PAID, {}))

    assert server.received == []


async def test_the_window_can_be_chosen(counter: Any, server: Any, signer: Any, clock: Any) -> None:
    server.succeed(listed(signer))
    client = counter.client(clock=clock)
    headers = signer.sign(PAID, clock.now() - timedelta(hours=1))

    with pytest.raises(TimestampOutOfTolerance):
        await counter.call(lambda: client.webhooks.construct_event(PAID, headers))
    await counter.call(lambda: client.webhooks.construct_event(PAID, headers, past_seconds=None))


async def test_many_at_once_wait_for_one_fetch(server: Any, signer: Any, clock: Any) -> None:
    server.succeed(listed(signer))
    headers = signer.sign(PAID, clock.now())
    async with AsyncBinancePay(
        api_key="k", api_secret="s", base_url=server.url, clock=clock
    ) as client:
        events = await asyncio.gather(
            *(client.webhooks.construct_event(PAID, headers) for _ in range(20))
        )

    assert len(events) == 20
    assert len(server.received) == 1


class Shelf:
    """Stands where the client's certificates and party stand, with a clock to turn."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.seconds = 1000.0
        self.answers: list[Any] = []
        self.party = self
        self.offset = self

    def elapsed_seconds(self) -> float:
        return self.seconds

    def correction(self) -> timedelta:
        return timedelta()

    def list(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [Held(signer) for signer in answer]


class Held:
    def __init__(self, signer: Any) -> None:
        self.serial = signer.serial
        self.public_key = signer.public_key


def shelved(shelf: Shelf) -> Webhooks:
    caller: Any = shelf
    return Webhooks(caller, caller)


def test_a_rotated_key_is_fetched(signer: Any, other_signer: Any, clock: Any) -> None:
    shelf = Shelf(clock)
    shelf.answers = [[signer], [signer, other_signer]]
    webhooks = shelved(shelf)
    webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))

    shelf.seconds += FETCH_SECONDS_MIN
    webhooks.construct_event(PAID, other_signer.sign(PAID, clock.now()))

    assert shelf.answers == []


def test_a_withdrawn_key_is_forgotten_in_time(signer: Any, other_signer: Any, clock: Any) -> None:
    shelf = Shelf(clock)
    shelf.answers = [[signer], [other_signer]]
    webhooks = shelved(shelf)
    webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))

    shelf.seconds += FRESH_SECONDS
    with pytest.raises(UnknownCertificate):
        webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))


@pytest.mark.parametrize("accident", [ConnectionFailed("away"), []], ids=["away", "empty_list"])
def test_a_known_key_outlives_an_accident(signer: Any, clock: Any, accident: Any) -> None:
    shelf = Shelf(clock)
    shelf.answers = [[signer], accident]
    webhooks = shelved(shelf)
    webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))

    shelf.seconds += FRESH_SECONDS
    webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))

    assert shelf.answers == []


def test_without_any_key_the_failure_is_told(signer: Any, clock: Any) -> None:
    shelf = Shelf(clock)
    shelf.answers = [ConnectionFailed("away"), [signer]]
    webhooks = shelved(shelf)

    with pytest.raises(ConnectionFailed):
        webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))
    shelf.seconds += FETCH_SECONDS_MIN
    webhooks.construct_event(PAID, signer.sign(PAID, clock.now()))

    assert AsyncWebhooks.__name__ == f"Async{Webhooks.__name__}"
