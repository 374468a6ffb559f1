"""The guard under the sender: what it dials, and what it refuses to dial or to write to."""

import asyncio
from collections.abc import Iterable, Sequence

import httpcore2
import pytest

from checkstand.deliveries.network import (
    AddressRefused,
    ConnectionStale,
    GuardedNetwork,
    NameUnknown,
    WatchedStream,
    resolve,
)


class NoWire(httpcore2.AsyncNetworkBackend):
    """Notes what was dialled and plays dead for the addresses it is told to."""

    def __init__(self, *, dead: Iterable[str] = ()) -> None:
        self.dialled: list[str] = []
        self._dead = frozenset(dead)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append(host)
        if host in self._dead:
            raise httpcore2.ConnectError(f"{host} does not answer")
        return httpcore2.AsyncMockStream([])


class NameServer:
    """Gives its answers in turn; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def test_the_checked_address_is_the_one_that_is_dialled() -> None:
    names, wire = NameServer(["93.184.216.34"], ["127.0.0.1"]), NoWire()
    network = GuardedNetwork(allow_private=False, resolver=names, network=wire)

    await network.connect_tcp("shop.example", 443)

    assert wire.dialled == ["93.184.216.34"]
    assert names.asked == ["shop.example"]  # asked once: there is no second answer to be fooled by


async def test_a_name_that_turns_private_is_refused_at_the_next_connection() -> None:
    names, wire = NameServer(["93.184.216.34"], ["127.0.0.1"]), NoWire()
    network = GuardedNetwork(allow_private=False, resolver=names, network=wire)
    await network.connect_tcp("shop.example", 443)

    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1, which is a loopback address"):
        await network.connect_tcp("shop.example", 443)

    assert wire.dialled == ["93.184.216.34"]


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "64:ff9b::7f00:1"],
)
async def test_a_name_that_leads_inside_is_never_dialled(address: str) -> None:
    wire = NoWire()
    network = GuardedNetwork(allow_private=False, resolver=NameServer([address]), network=wire)

    with pytest.raises(AddressRefused):
        await network.connect_tcp("shop.example", 443)

    assert wire.dialled == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"])
async def test_an_address_in_place_of_a_name_is_checked_too(address: str) -> None:
    names, wire = NameServer(["93.184.216.34"]), NoWire()
    network = GuardedNetwork(allow_private=False, resolver=names, network=wire)

    with pytest.raises(AddressRefused):
        await network.connect_tcp(address, 443)

    assert (wire.dialled, names.asked) == ([], [])


async def test_of_mixed_answers_only_the_public_ones_are_dialled() -> None:
    wire = NoWire(dead={"93.184.216.34"})
    names = NameServer(["10.0.0.1", "93.184.216.34", "2606:4700::1", "127.0.0.1"])
    network = GuardedNetwork(allow_private=False, resolver=names, network=wire)

    await network.connect_tcp("shop.example", 443)

    assert wire.dialled == ["93.184.216.34", "2606:4700::1"]


async def test_when_no_address_answers_the_last_failure_is_told() -> None:
    wire = NoWire(dead={"93.184.216.34", "93.184.216.35"})
    names = NameServer(["93.184.216.34", "93.184.216.35"])
    network = GuardedNetwork(allow_private=False, resolver=names, network=wire)

    with pytest.raises(httpcore2.ConnectError, match=r"93\.184\.216\.35"):
        await network.connect_tcp("shop.example", 443)


async def test_a_name_without_an_address_is_unknown() -> None:
    network = GuardedNetwork(allow_private=False, resolver=NameServer([]), network=NoWire())

    with pytest.raises(NameUnknown, match=r"shop\.example"):
        await network.connect_tcp("shop.example", 443)


async def test_old_spellings_of_loopback_do_not_slip_through_the_system_resolver() -> None:
    wire = NoWire()
    network = GuardedNetwork(allow_private=False, resolver=resolve, network=wire)

    for host in ("localhost", "127.1", "2130706433", "0x7f000001"):
        with pytest.raises((AddressRefused, NameUnknown)):
            await network.connect_tcp(host, 80)

    assert wire.dialled == []


async def test_a_kept_connection_closed_meanwhile_is_noticed_before_a_byte_is_written() -> None:
    async def answer_once_and_hang_up(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(len(b"request in two pieces"))
        writer.write(b"answer")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer_once_and_hang_up, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        stream = await GuardedNetwork(allow_private=True).connect_tcp("127.0.0.1", port)
        assert isinstance(stream, WatchedStream)
        await stream.write(b"request ")
        await stream.write(b"in two pieces")  # the same request: no reason to look
        assert await stream.read(100) == b"answer"
        while not stream.get_extra_info("is_readable"):
            await asyncio.sleep(0.001)

        with pytest.raises(ConnectionStale):
            await stream.write(b"another request")

        await stream.aclose()
