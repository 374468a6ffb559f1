"""A Binance that does as it is told, and one that signs notifications."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from checkstand.binance import AsyncBinancePay, BinancePay

# --- A server that follows a script ---------------------------------------------------------


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int


Behaviour = Callable[[socket.socket, Received], bool]  # whether the connection stays open


@dataclass
class ScriptedServer:
    """Answers each request with the next behaviour of its script, over real sockets."""

    script: list[Behaviour] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    hung_up: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    stopping: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    # What to do next, one call for one request.

    def answer(
        self,
        content: Any,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        then_hang_up: bool = False,
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        message = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

        def behave(connection: socket.socket, _: Received) -> bool:
            say(connection, message)
            return not then_hang_up

        self.script.append(behave)

    def succeed(self, data: Any, **how: Any) -> None:
        self.answer(envelope(data), **how)

    def refuse(self, code: str, message: str = "no", **how: Any) -> None:
        content = {"status": "FAIL", "code": code, "errorMessage": message}
        self.answer(content, **{"status": 400, **how})

    def reset(self) -> None:
        """Take the request, then break the connection."""

        def behave(connection: socket.socket, _: Received) -> bool:
            break_off(connection)
            return False

        self.script.append(behave)

    def hang(self) -> None:
        """Take the request and say nothing."""

        def behave(_: socket.socket, __: Received) -> bool:
            self.stopping.wait()
            return False

        self.script.append(behave)

    def drip(self) -> None:
        """Answer one byte at a time, without end."""

        def behave(connection: socket.socket, _: Received) -> bool:
            say(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not self.stopping.wait(0.02):
                say(connection, b" ")
            return False

        self.script.append(behave)

    def cut_short(self) -> None:
        """Announce more than what is sent."""

        def behave(connection: socket.socket, _: Received) -> bool:
            say(connection, b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"status":"SUC')
            return False

        self.script.append(behave)

    # The rest is the server.

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in list(self._threads):
            thread.join(timeout=10)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        buffer = bytearray()
        with plain, contextlib.suppress(OSError), self._secured(plain) as connection:
            while (received := self._read(connection, buffer, number)) is not None:
                self.received.append(received)
                self.arrived.release()
                if not self.script:
                    self.problems.append(f"nothing left to answer {received.path}")
                    return
                if not self.script.pop(0)(connection, received):
                    break
        self.hung_up.release()

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self.tls is None:
            return connection
        return self.tls.wrap_socket(connection, server_side=True)

    def _read(self, connection: socket.socket, buffer: bytearray, number: int) -> Received | None:
        while not self.stopping.is_set():
            head, blank, rest = bytes(buffer).partition(b"\r\n\r\n")
            if blank:
                first, *lines = head.decode("latin-1").split("\r\n")
                pairs = (line.split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in pairs}
                length = int(headers.get("content-length", "0"))
                if len(rest) >= length:
                    del buffer[: len(head) + 4 + length]
                    return Received(first.split(" ")[1], headers, rest[:length], number)
            try:
                connection.settimeout(0.05)  # to look whether we are to stop
                data = connection.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return None
            buffer += data
        return None


def envelope(data: Any) -> dict[str, Any]:
    return {"status": "SUCCESS", "code": "000000", "data": data, "errorMessage": ""}


def say(connection: socket.socket, message: bytes) -> None:
    connection.settimeout(30)
    connection.sendall(message)


def break_off(connection: socket.socket) -> None:
    """Close with a reset instead of a goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()
    assert server.problems == []


@dataclass(frozen=True)
class OwnAuthority:
    """A certificate for 127.0.0.1 that signs itself, made for this run."""

    file: str

    def serving(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.file)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> OwnAuthority:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "loopback.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return OwnAuthority(str(file))


@pytest.fixture
def tls_server(authority: OwnAuthority) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tls=authority.serving())
    yield server
    server.stop()
    assert server.problems == []


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# --- Both clients, called alike -------------------------------------------------------------


@dataclass
class Counter:
    """Makes one kind of client and calls it; the sync one in a thread."""

    kind: str
    defaults: dict[str, Any]
    opened: list[Any] = field(default_factory=list)

    def client(self, **arguments: Any) -> Any:
        made: Any = (AsyncBinancePay if self.kind == "async" else BinancePay)(
            **{**self.defaults, **arguments}
        )
        self.opened.append(made)
        return made

    async def call(self, what: Callable[[], Any]) -> Any:
        if self.kind == "async":
            pending: Awaitable[Any] = what()
            return await pending
        return await asyncio.to_thread(what)

    async def close(self) -> None:
        for client in self.opened:
            await self.call(client.aclose if self.kind == "async" else client.close)


@pytest.fixture(params=["async", "sync"])
async def counter(request: pytest.FixtureRequest, server: ScriptedServer) -> Any:
    counter = Counter(
        request.param,
        {
            "api_key": "key-of-the-test",
            "api_secret": "secret-of-the-test",
            "base_url": server.url,
            "timeout_seconds": 10,
            "random": HastyRandom(),
        },
    )
    yield counter
    await counter.close()


class HastyRandom:
    """Never waits, never repeats."""

    def __init__(self) -> None:
        self.made = 0

    def token(self, length: int) -> str:
        self.made += 1
        return str(self.made).rjust(length, "n")

    def fraction(self) -> float:
        return 0.0


@dataclass
class SettableClock:
    """Stands still until it is moved."""

    at: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def random() -> HastyRandom:
    return HastyRandom()


# --- Notifications --------------------------------------------------------------------------


@dataclass(frozen=True)
class Signer:
    """Signs as Binance does, with a key made for this run."""

    private_key: rsa.RSAPrivateKey
    serial: str = "0A1B2C3D4E5F60718293A4B5C6D7E8F9"
    nonce: str = "n" * 32

    @property
    def public_key(self) -> str:
        return (
            self.private_key.public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    @property
    def keys(self) -> dict[str, str]:
        return {self.serial: self.public_key}

    def sign(self, raw: bytes, at: datetime | str) -> dict[str, str]:
        timestamp = at if isinstance(at, str) else str(int(at.timestamp() * 1000))
        payload = f"{timestamp}\n{self.nonce}\n".encode() + raw + b"\n"
        signature = self.private_key.sign(payload, padding.PKCS1v15(), SHA256())
        return {
            "BinancePay-Certificate-SN": self.serial,
            "BinancePay-Nonce": self.nonce,
            "BinancePay-Timestamp": timestamp,
            "BinancePay-Signature": b64encode(signature).decode(),
        }


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture(scope="session")
def other_signer() -> Signer:
    return Signer(rsa.generate_private_key(public_exponent=65537, key_size=2048), serial="OTHER")
