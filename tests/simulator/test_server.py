"""The simulator as a program: ready line, taken port, clean stop; and several in one process."""

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from checkstand.simulator import server
from checkstand.simulator.server import PortTaken, running_simulator
from checkstand.simulator.signing import SigningKey

PROGRAM = """
import asyncio
from checkstand.simulator.server import serve
asyncio.run(serve(port=0, api_key="k", api_secret="s", merchant_id="900000003"))
print("stopped")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_program_says_ready_and_stops_cleanly_on_a_signal(
    start: Callable[..., Awaitable[Any]], number: signal.Signals
) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", PROGRAM, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout
    try:
        ready = (await asyncio.wait_for(program.stdout.readline(), 60)).decode()
        shop = await start()
        shop.simulator.base_url = ready.removeprefix("ready ").strip()
        shop.api_key, shop.api_secret = "k", "s"
        data = (await shop.call("/certificates")).data

        program.send_signal(number)
        rest = await asyncio.wait_for(program.stdout.read(), 60)
    finally:
        if program.returncode is None:
            await program.wait()

    assert ready.startswith("ready http://127.0.0.1:")
    assert len(data) == 1
    assert rest == b"stopped\n"
    assert program.returncode == 0


async def test_taken_port_is_an_error_that_names_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(PortTaken, match=r"--port 0 for a free one"):
            async with running_simulator(port=taken.getsockname()[1]):
                pass


async def test_two_simulators_in_one_process_are_strangers(
    start: Callable[..., Awaitable[Any]],
) -> None:
    first, second = await start(), await start()

    await first.create("T1")

    assert second.simulator.control.orders == []
    assert first.simulator.base_url != second.simulator.base_url


async def test_public_url_is_what_payers_are_sent_to(
    start: Callable[..., Awaitable[Any]],
) -> None:
    shop = await start(public_url="http://192.0.2.7:8081/")

    created = await shop.create("T1")

    assert created["checkoutUrl"].startswith("http://192.0.2.7:8081/en/checkout/")
    assert shop.simulator.base_url.startswith("http://127.0.0.1:")


async def test_stopping_answers_delayed_requests_and_leaves_nothing_running(
    shop: Any, signing_key: SigningKey, inbox: Any
) -> None:
    before = asyncio.all_tasks()
    inbox.answers = ["silence"]
    async with running_simulator(signing_key=signing_key) as simulator:
        other_shop = type(shop)(simulator, shop.pool)
        await other_shop.create("T1", webhookUrl=inbox.url)
        simulator.control.pay("T1")
        simulator.control.faults.add("delay", seconds=3600)
        delayed = asyncio.create_task(other_shop.call("/certificates"))
        async with asyncio.timeout(10):
            while simulator.control.faults.listed or not inbox.received:
                await asyncio.sleep(0.005)

    assert (await delayed).code == "000000"
    left = {each.get_coro().__qualname__ for each in asyncio.all_tasks() - before}  # type: ignore[union-attr]
    assert not {name for name in left if "Inbox" not in name}


async def test_same_seed_makes_the_same_ids(
    start: Callable[..., Awaitable[Any]],
) -> None:
    runs = []
    for _ in range(2):
        shop = await start(seed=7)
        created = await shop.create("T1")
        runs.append(created["deeplink"])

    assert runs[0] == runs[1]


async def test_listener_names_its_protocol_so_that_answers_are_not_held_back() -> None:
    with server._listen("127.0.0.1", 0) as listener:
        accepting = await asyncio.start_server(
            lambda _, writer: opened.set_result(writer), sock=listener
        )
        opened: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        host, port = listener.getsockname()
        _, ours = await asyncio.open_connection(host, port)
        theirs = await opened

        no_delay = theirs.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY
        )

        assert no_delay != 0
        for writer in (ours, theirs):
            writer.close()
            await writer.wait_closed()
        accepting.close()
