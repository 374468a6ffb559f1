"""One client making signed HTTPS calls as fast as it can; says what each cost it in CPU.

    python bench/sdk_caller.py CLIENT CALL ADDRESS PEM_FILE COUNT

CLIENT is a name in CLIENTS, CALL is query or create. Prints microseconds of CPU per call, all
threads counted. The clients over other transports are there to see what a transport costs: their
failures are not told apart as the SDK's own transport does.
"""
# ruff: noqa: T201

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

KEY, SECRET = "k" * 64, "s" * 64
WARM_UP = 50  # the handshake, and whatever is made at first use
ARTICLE = {
    "goodsType": "01",
    "goodsCategory": "D000",
    "referenceGoodsId": "sku-77",
    "goodsName": "Green tea",
}


def connector(call: str, address: str, _: str) -> Callable[[], Any]:
    """Make the official connector's call; it knows create only as v2.

    It trusts the certificate in REQUESTS_CA_BUNDLE.
    """
    from binance.pay.merchant import Merchant

    merchant = Merchant(KEY, SECRET, base_url=address)
    order = {
        "env": {"terminalType": "WEB"},
        "merchantTradeNo": "T1",
        "orderAmount": 12.5,
        "currency": "USDT",
        "goods": ARTICLE,
        "returnUrl": "https://shop.example/ok",
    }
    if call == "query":
        return lambda: merchant.get_order(merchantTradeNo="T1")
    return lambda: merchant.new_order(order)


def ours(call: str, address: str, transport: Any, *, is_async: bool) -> Callable[[], Any]:
    """Make the SDK's call over a transport."""
    from checkstand.binance import AsyncBinancePay, BinancePay, Goods

    made: Any = AsyncBinancePay if is_async else BinancePay
    client = made(api_key=KEY, api_secret=SECRET, base_url=address, transport=transport)
    tea = Goods(
        goods_type="01", goods_category="D000", reference_goods_id="sku-77", goods_name="Green tea"
    )
    if call == "query":
        return lambda: client.orders.query(merchant_trade_no="T1")
    return lambda: client.orders.create(
        merchant_trade_no="T1",
        description="Order A0001",
        goods_details=[tea],
        order_amount=Decimal("12.5"),
        currency="USDT",
        return_url="https://shop.example/ok",
    )


def sync_default(call: str, address: str, certificate: str) -> Callable[[], Any]:
    """Call as the default install does."""
    from checkstand.binance.http_transport import HttpTransport

    context = ssl.create_default_context(cafile=certificate)
    return ours(call, address, HttpTransport(ssl_context=context), is_async=False)


def async_default(call: str, address: str, certificate: str) -> Callable[[], Any]:
    """Call as the default install does, under asyncio."""
    from checkstand.binance.http_transport import AsyncHttpTransport

    context = ssl.create_default_context(cafile=certificate)
    return ours(call, address, AsyncHttpTransport(ssl_context=context), is_async=True)


def sync_urllib3(call: str, address: str, certificate: str) -> Callable[[], Any]:
    """Call over urllib3."""
    import urllib3

    from checkstand.binance import Answer

    pool = urllib3.PoolManager(ca_certs=certificate, retries=False)

    class Transport:
        def send(self, request: Any) -> Answer:
            answer = pool.request(
                "POST", request.url, headers=dict(request.headers), body=request.body
            )
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, answer.data)

    return ours(call, address, Transport(), is_async=False)


def async_aiohttp(call: str, address: str, certificate: str) -> Callable[[], Any]:
    """Call over aiohttp."""
    import aiohttp

    from checkstand.binance import Answer

    context = ssl.create_default_context(cafile=certificate)
    sessions: list[Any] = []

    class Transport:
        async def send(self, request: Any) -> Answer:
            if not sessions:
                connections = aiohttp.TCPConnector(ssl=context)
                sessions.append(aiohttp.ClientSession(connector=connections))
            async with sessions[0].post(
                request.url, headers=dict(request.headers), data=request.body
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, headers, await answer.read())

        async def aclose(self) -> None:
            await sessions[0].close()

    return ours(call, address, Transport(), is_async=True)


def sync_pyreqwest(call: str, address: str, certificate: str) -> Callable[[], Any]:
    """Call over pyreqwest, whose work is done in Rust."""
    from pathlib import Path

    from pyreqwest.client import SyncClientBuilder

    from checkstand.binance import Answer

    client = SyncClientBuilder().add_root_certificate_pem(_authority(Path(certificate))).build()

    class Transport:
        def send(self, request: Any) -> Answer:
            prepared = client.post(request.url).headers(list(request.headers))
            answer = prepared.body_bytes(request.body).build().send()
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, bytes(answer.bytes()))

    return ours(call, address, Transport(), is_async=False)


def async_pyreqwest(call: str, address: str, certificate: str) -> Callable[[], Any]:
    """Call over pyreqwest under asyncio."""
    from pathlib import Path

    from pyreqwest.client import ClientBuilder

    from checkstand.binance import Answer

    client = ClientBuilder().add_root_certificate_pem(_authority(Path(certificate))).build()

    class Transport:
        async def send(self, request: Any) -> Answer:
            prepared = client.post(request.url).headers(list(request.headers))
            answer = await prepared.body_bytes(request.body).build().send()
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, bytes(await answer.bytes()))

    return ours(call, address, Transport(), is_async=True)


def _authority(file: Any) -> bytes:
    content: bytes = file.read_bytes()
    return content[content.rindex(b"-----BEGIN CERTIFICATE") :]


CLIENTS = {
    "connector": connector,
    "sync": sync_default,
    "async": async_default,
    "sync urllib3": sync_urllib3,
    "async aiohttp": async_aiohttp,
    "sync pyreqwest": sync_pyreqwest,
    "async pyreqwest": async_pyreqwest,
}


def microseconds(act: Callable[[], Any], count: int) -> float:
    """Return the CPU per call."""
    for _ in range(WARM_UP):
        act()
    begun = time.process_time()
    for _ in range(count):
        act()
    return (time.process_time() - begun) / count * 1e6


async def microseconds_async(act: Callable[[], Any], count: int) -> float:
    """Return the CPU per awaited call, one after the other."""
    for _ in range(WARM_UP):
        await act()
    begun = time.process_time()
    for _ in range(count):
        await act()
    return (time.process_time() - begun) / count * 1e6


def main(client: str, call: str, address: str, certificate: str, count: int) -> None:
    """Measure one client."""
    act = CLIENTS[client](call, address, certificate)
    if client.startswith("async"):
        print(asyncio.run(microseconds_async(act, count)), flush=True)
    else:
        print(microseconds(act, count), flush=True)
    os._exit(0)  # a library with threads of its own need not survive the interpreter's end


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
