"""A Binance Pay of three lines, over TLS: answers create and query with canned JSON, at once.

For measurements only. It prints its port and serves until it is killed; whoever measures looks at
the client's CPU, so what this costs does not matter.

    python bench/tls_server.py PEM_FILE
"""
# ruff: noqa: T201

import asyncio
import json
import ssl
import sys

DATA = {
    b"/binancepay/openapi/v2/order/query": {
        "merchantId": 900000001,
        "prepayId": "270342174837100001",
        "merchantTradeNo": "T1",
        "status": "INITIAL",
        "currency": "USDT",
        "createTime": 1767225600000,
        "orderAmount": "12.50000000",
    },
    b"": {
        "currency": "USDT",
        "totalFee": "12.5",
        "prepayId": "270342174837100001",
        "terminalType": "WEB",
        "expireTime": 1767229200000,
        "qrcodeLink": "https://pictures.example/payment/20260101/0001.jpg",
        "qrContent": "https://codes.example/qr/dplk00000000000000000000000000000001",
        "checkoutUrl": "https://pages.example/checkout/00000000000000000000000000000002",
        "deeplink": "app://pay?tempToken=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "universalUrl": "https://links.example/pay?linkToken=00000000000000000000000000000002",
    },
}


def _answer(data: object) -> bytes:
    envelope = {"status": "SUCCESS", "code": "000000", "data": data, "errorMessage": ""}
    body = json.dumps(envelope).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n"
        f"Content-Length: {len(body)}\r\nDate: Mon, 23 Nov 2026 20:21:53 GMT\r\n"
        "Connection: keep-alive\r\nVary: Accept-Encoding\r\nX-Trace-Id: 0123456789abcdef\r\n"
        "Cache-Control: no-cache, no-store\r\nX-Frame-Options: SAMEORIGIN\r\n\r\n"
    )
    return head.encode() + body


ANSWERS = {path: _answer(data) for path, data in DATA.items()}


class Answering(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with nothing read."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that has come."""
        self._read += data
        while True:
            head, blank, rest = self._read.partition(b"\r\n\r\n")
            if not blank:
                return
            _, _, after = head.lower().partition(b"content-length:")
            length = int(after.split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._read = rest[length:]
            path = head.split(b" ", 2)[1]
            self._transport.write(ANSWERS.get(path, ANSWERS[b""]))


async def _serve(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
