"""The connections under the asynchronous client, on both event loops."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore2
import pytest
import uvloop

from checkstand.binance import AsyncBinancePay, ConnectionFailed
from checkstand.binance.asyncio_network import HELD_BYTES_MAX, AsyncioNetwork, NothingWritten
from checkstand.binance.http_transport import (
    ANSWER_BYTES_MAX,
    AsyncHttpTransport,
    _classified,
)
from checkstand.binance.transport import NeverSent, NoAnswer

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Run a coroutine to its end on a loop of its own."""

    def run(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return run


def client(server: Any, **arguments: Any) -> AsyncBinancePay:
    given = {"api_key": "k" * 16, "api_secret": "s", "base_url": server.url, "max_retries": 0}
    return AsyncBinancePay(**{**given, **arguments})


def test_calls_go_over_tls_on_either_loop(run: Any, tls_server: Any, authority: Any) -> None:
    async def calls() -> list[bool]:
        transport = AsyncHttpTransport(ssl_context=authority.trusting())
        async with client(tls_server, transport=transport) as one:
            return [await one.orders.close(prepay_id="1") for _ in range(3)]

    for _ in range(3):
        tls_server.succeed(True)

    assert run(calls()) == [True] * 3
    assert {received.connection for received in tls_server.received} == {1}


def test_a_large_answer_is_held_back_and_arrives_whole(run: Any, server: Any) -> None:
    keys = [{"certPublic": "x" * HELD_BYTES_MAX, "certSerial": str(n)} for n in range(12)]
    server.succeed(keys)

    async def call() -> Any:
        async with client(server) as one:
            return await one.certificates.list()

    assert [key.public_key for key in run(call())] == [key["certPublic"] for key in keys]


def test_an_answer_without_measure_is_cut_off(run: Any, server: Any) -> None:
    server.answer(b" " * (ANSWER_BYTES_MAX + 1))

    async def call() -> Any:
        async with client(server) as one:
            await one.certificates.list()

    with pytest.raises(ConnectionFailed, match="larger"):
        run(call())


def test_a_large_request_arrives_whole(run: Any, server: Any) -> None:
    server.succeed(None)
    text = "x" * 8_000_000

    async def call() -> Any:
        async with client(server, timeout_seconds=60) as one:
            await one.raw_request("/a", {"text": text})

    run(call())

    assert json.loads(server.received[0].body) == {"text": text}


def test_headers_wait_for_the_body(run: Any) -> None:
    chunks: list[bytes] = []
    arrived = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunks.append(await reader.read(65536))
        arrived.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
        writer.close()

    async def slow_body() -> AsyncIterator[bytes]:
        # As long as it likes: nothing may come before it. Correct code never depends on the time.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(arrived.wait(), 0.2)
        yield b"{}"

    async def call() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, httpcore2.AsyncConnectionPool(network_backend=AsyncioNetwork()) as pool:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            await pool.request("POST", url, headers={"Content-Length": "2"}, content=slow_body())

    run(call())

    assert chunks[0].endswith(b"\r\n\r\n{}")


def test_a_connection_closed_before_the_first_byte_was_not_written_to(run: Any) -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    async def body_that_sees_the_end(server: asyncio.Server) -> AsyncIterator[bytes]:
        # Between the headers and the body the other side goes away.
        while not accepted:
            await asyncio.sleep(0.001)
        accepted[0].transport.abort()
        server.close()
        await asyncio.sleep(0.05)
        yield b"{}"

    async def call() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with httpcore2.AsyncConnectionPool(network_backend=AsyncioNetwork()) as pool:
            await pool.request(
                "POST",
                f"http://127.0.0.1:{port}/",
                headers={"Content-Length": "2"},
                content=body_that_sees_the_end(server),
            )

    with pytest.raises(NothingWritten) as caught:
        run(call())

    assert isinstance(_classified(caught.value, handed_over=True), NeverSent)
    assert isinstance(_classified(httpcore2.WriteError(), handed_over=True), NoAnswer)
