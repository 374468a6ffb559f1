"""The third door against real servers on loopback: polite ones, broken ones and hostile ones."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from checkstand.deliveries.sender import DeliveryFailed, DeliverySender

HEADERS = {"content-type": "application/json", "webhook-id": "event-1"}
BODY = b'{"type":"order.paid"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"


@dataclass
class Shop:
    """A server that answers each request with given bytes and notes what it heard."""

    answer: bytes = OK
    hangs_up: bool = False  # after each answer, without announcing it
    port: int = 0
    connections: int = 0
    heard: list[tuple[bytes, bytes]] = field(default_factory=list)  # head, body
    names: list[str] = field(default_factory=list)  # asked for in TLS
    open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?shop=7"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.open[task] = writer
        try:
            while head := await self._head(reader):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.heard.append((head, await reader.readexactly(length)))
                writer.write(self.answer)
                await writer.drain()
                if self.hangs_up:
                    break
        except (ConnectionError, ssl.SSLError):
            pass  # the sender may hang up too
        finally:
            del self.open[task]
            writer.close()

    async def stop(self) -> None:
        tasks = list(self.open)
        for writer in self.open.values():
            writer.transport.abort()
        await asyncio.gather(*tasks)

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""


@asynccontextmanager
async def running(shop: Shop, tls: ssl.SSLContext | None = None) -> AsyncIterator[Shop]:
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0, ssl=tls)
    shop.port = server.sockets[0].getsockname()[1]
    try:
        yield shop
    finally:
        server.close()
        await shop.stop()


class Noting:
    """An observer that notes the points and may stop one."""

    def __init__(self, *, stops: bool = False) -> None:
        self.points: list[str] = []
        self._stops = stops

    def before(self, point: str) -> None:
        self.points.append(f"before {point}")
        if self._stops:
            raise InterruptedError(point)

    def after(self, point: str) -> None:
        self.points.append(f"after {point}")


MakeSender = Callable[..., DeliverySender]


@pytest.fixture
async def make_sender() -> AsyncIterator[MakeSender]:
    async with AsyncExitStack() as stack:

        def make(**settings: object) -> DeliverySender:
            sender = DeliverySender(**{"allow_private": True, **settings})  # type: ignore[arg-type]
            stack.push_async_callback(sender.aclose)
            return sender

        yield make


async def test_a_delivery_arrives_as_it_was_given(make_sender: MakeSender) -> None:
    async with running(Shop()) as shop:
        answer = await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    head, body = shop.heard[0]
    assert head.startswith(b"POST /hooks?shop=7 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{shop.port}\r\n".encode() in head
    assert b"webhook-id: event-1\r\n" in head
    assert body == BODY
    assert (answer.status, answer.body_excerpt, answer.is_delivered) == (200, "fine", True)
    assert answer.elapsed_seconds > 0


@pytest.mark.parametrize(
    ("status", "is_delivered"),
    [(200, True), (204, True), (299, True), (304, False), (400, False), (410, False), (503, False)],
)
async def test_any_status_is_an_answer(
    make_sender: MakeSender, status: int, is_delivered: bool
) -> None:
    answer_bytes = b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nretry-after: 120\r\n\r\n" % status
    async with running(Shop(answer=answer_bytes)) as shop:
        answer = await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert (answer.status, answer.is_delivered) == (status, is_delivered)
    assert answer.retry_after == "120"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(make_sender: MakeSender, status: int) -> None:
    async with running(Shop()) as elsewhere:
        moved = b"HTTP/1.1 %d Moved\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n"
        async with running(Shop(answer=moved % (status, elsewhere.url.encode()))) as shop:
            answer = await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert (answer.status, answer.is_delivered) == (status, False)
    assert elsewhere.connections == 0


async def test_deliveries_that_follow_closely_share_a_connection(make_sender: MakeSender) -> None:
    sender = make_sender()
    async with running(Shop()) as shop:
        for _ in range(5):
            await sender.send(url=shop.url, headers=HEADERS, body=BODY)

    assert (len(shop.heard), shop.connections) == (5, 1)


async def test_a_server_that_hangs_up_after_each_answer_causes_no_failure(
    make_sender: MakeSender,
) -> None:
    sender = make_sender()
    async with running(Shop(hangs_up=True)) as shop:
        for _ in range(50):
            answer = await sender.send(url=shop.url, headers=HEADERS, body=BODY)
            assert answer.is_delivered

    assert len(shop.heard) == 50  # none of them twice


class LateHangUp(httpcore2.AnyIOBackend):
    """Lets a kept connection look open to the pool, twice, and closed at the third look."""

    def __init__(self) -> None:
        # The pool looks when it takes a connection back and when it lends it out; then we do.
        self.looks = iter([False, False, True])

    async def connect_tcp(self, *args: Any, **named: Any) -> httpcore2.AsyncNetworkStream:
        stream = await super().connect_tcp(*args, **named)
        seen = stream.get_extra_info

        def look(info: str) -> Any:
            return next(self.looks, False) if info == "is_readable" else seen(info)

        stream.get_extra_info = look  # type: ignore[method-assign]
        return stream


async def test_a_connection_lost_before_the_first_byte_is_replaced_without_sending_twice(
    make_sender: MakeSender,
) -> None:
    network = LateHangUp()
    sender = make_sender(network=network)
    async with running(Shop()) as shop:
        await sender.send(url=shop.url, headers=HEADERS, body=b"first")

        answer = await sender.send(url=shop.url, headers=HEADERS, body=b"second")

    assert answer.is_delivered
    assert next(network.looks, None) is None  # all three looks were taken
    assert [body for _, body in shop.heard] == [b"first", b"second"]
    assert shop.connections == 2


async def test_many_deliveries_at_once_each_get_their_answer(make_sender: MakeSender) -> None:
    sender = make_sender()
    async with running(Shop()) as shop:
        answers = await asyncio.gather(
            *(sender.send(url=shop.url, headers=HEADERS, body=b"%d" % n) for n in range(60))
        )

    assert all(answer.is_delivered for answer in answers)
    assert sorted(int(body) for _, body in shop.heard) == list(range(60))


@pytest.mark.parametrize("answer", [b"", b"not http at all\r\n\r\n", b"HTTP/1.1 200"])
async def test_a_server_that_breaks_off_may_have_heard_us_and_is_asked_only_once(
    make_sender: MakeSender, answer: bytes
) -> None:
    async with running(Shop(answer=answer, hangs_up=True)) as shop:
        with pytest.raises(DeliveryFailed) as caught:
            await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("broken_off", True)
    assert len(shop.heard) == 1


async def test_where_nobody_listens_nothing_was_sent(make_sender: MakeSender) -> None:
    async with running(Shop()) as shop:
        pass

    with pytest.raises(DeliveryFailed) as caught:
        await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("no_connection", False)


async def test_a_server_that_never_answers_is_left_after_the_deadline(
    make_sender: MakeSender,
) -> None:
    async with running(Shop(answer=b"")) as shop:
        with pytest.raises(DeliveryFailed) as caught:
            await make_sender(timeout_seconds=0.2).send(url=shop.url, headers=HEADERS, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("timeout", True)
    assert caught.value.reason == "no answer within 0.2 s"


async def test_the_deadline_covers_the_name_server(make_sender: MakeSender) -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    sender = make_sender(timeout_seconds=0.2, resolver=silent)
    with pytest.raises(DeliveryFailed) as caught:
        await sender.send(url="http://shop.example/", headers=HEADERS, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("timeout", False)


@pytest.mark.parametrize("allow_private", [False, True])
async def test_a_name_that_leads_where_we_may_not_go_is_refused(
    make_sender: MakeSender, allow_private: bool
) -> None:
    async def metadata(host: str, port: int) -> Sequence[str]:
        return ["169.254.169.254"]

    sender = make_sender(allow_private=allow_private, resolver=metadata)
    with pytest.raises(DeliveryFailed) as caught:
        await sender.send(url="https://shop.example/", headers=HEADERS, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("address_refused", False)
    assert "169.254.169.254, which is a link-local address" in caught.value.reason


async def test_a_private_server_hears_nothing_unless_allowed(make_sender: MakeSender) -> None:
    async def inside(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    sender = make_sender(allow_private=False, resolver=inside)
    async with running(Shop()) as shop:
        with pytest.raises(DeliveryFailed) as by_address:
            await sender.send(url=shop.url, headers=HEADERS, body=BODY)
        url = f"http://shop.example:{shop.port}/"
        with pytest.raises(DeliveryFailed) as by_name:
            await sender.send(url=url, headers=HEADERS, body=BODY)

    assert (by_address.value.code, by_name.value.code) == ("url_refused", "address_refused")
    assert shop.connections == 0


async def test_an_unknown_name_is_said_so(make_sender: MakeSender) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(DeliveryFailed) as caught:
        await make_sender(resolver=unknown).send(
            url="https://shop.example/", headers=HEADERS, body=BODY
        )

    assert caught.value.code == "name_unknown"
    assert caught.value.reason == "no address is known for shop.example"


async def test_a_header_that_would_smuggle_another_is_not_sent(make_sender: MakeSender) -> None:
    async with running(Shop()) as shop:
        with pytest.raises(DeliveryFailed) as caught:
            await make_sender().send(url=shop.url, headers={"x": "a\r\nb: c"}, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("unsendable", False)
    assert shop.heard == []


async def test_only_the_start_of_a_long_answer_is_kept(make_sender: MakeSender) -> None:
    length = 5_000_000
    answer_bytes = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + b"x" * length
    sender = make_sender()
    async with running(Shop(answer=answer_bytes)) as shop:
        first = await sender.send(url=shop.url, headers=HEADERS, body=BODY)
        second = await sender.send(url=shop.url, headers=HEADERS, body=BODY)

    assert first.body_excerpt == second.body_excerpt == "x" * 4096
    assert shop.connections == 2  # the rest was not read to save a connection


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_status_counts_although_its_text_never_comes(
    make_sender: MakeSender, hangs_up: bool
) -> None:
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it"
    async with running(Shop(answer=cut, hangs_up=hangs_up)) as shop:
        answer = await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert (answer.is_delivered, answer.body_excerpt) == (True, "half of it")


async def test_an_excerpt_can_be_stored_and_shown(make_sender: MakeSender) -> None:
    text = b"a\x00b\x1b[31mc\xff\xe2\x82\xac\r\n\td"
    answer_bytes = b"HTTP/1.1 500 X\r\ncontent-length: %d\r\n\r\n" % len(text) + text
    async with running(Shop(answer=answer_bytes)) as shop:
        answer = await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert answer.body_excerpt == "a\ufffdb\ufffd[31mc\ufffd€\n\td"


async def test_words_before_the_answer_are_not_taken_for_it(make_sender: MakeSender) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    async with running(Shop(answer=early + OK)) as shop:
        answer = await make_sender().send(url=shop.url, headers=HEADERS, body=BODY)

    assert (answer.status, answer.body_excerpt) == (200, "fine")


async def test_an_observer_hears_of_the_sending_and_of_the_answer(make_sender: MakeSender) -> None:
    observer = Noting()
    sender = make_sender(observer=observer)
    async with running(Shop()) as shop:
        await sender.send(url=shop.url, headers=HEADERS, body=BODY)
        assert observer.points == ["before delivery", "after delivery"]

    with pytest.raises(DeliveryFailed):
        await sender.send(url=shop.url, headers=HEADERS, body=BODY)
    assert observer.points[2:] == ["before delivery"]


async def test_an_observer_can_stop_a_delivery_before_anything_is_sent(
    make_sender: MakeSender,
) -> None:
    async with running(Shop()) as shop:
        with pytest.raises(InterruptedError):
            await make_sender(observer=Noting(stops=True)).send(
                url=shop.url, headers=HEADERS, body=BODY
            )

    assert shop.connections == 0


# Over TLS


@dataclass(frozen=True)
class Certified:
    """A server's TLS for one name, and a client's that trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def certified(tmp_path: Path, name: str) -> Certified:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return Certified(server=server, client=ssl.create_default_context(cafile=str(pem)))


async def to_loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_tls_asks_for_and_checks_the_name_although_an_address_is_dialled(
    make_sender: MakeSender, tmp_path: Path
) -> None:
    tls = certified(tmp_path, "shop.example")
    shop = Shop()
    tls.server.sni_callback = lambda _socket, name, _context: shop.names.append(name)
    sender = make_sender(resolver=to_loopback, ssl_context=tls.client)

    async with running(shop, tls.server):
        url = f"https://shop.example:{shop.port}/hooks"
        answers = [await sender.send(url=url, headers=HEADERS, body=BODY) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert shop.names == ["shop.example"]
    assert f"Host: shop.example:{shop.port}\r\n".encode() in shop.heard[0][0]
    assert shop.connections == 1  # session tickets are not mistaken for a hang-up


async def test_a_certificate_for_another_name_stops_the_delivery(
    make_sender: MakeSender, tmp_path: Path
) -> None:
    tls = certified(tmp_path, "other.example")
    sender = make_sender(resolver=to_loopback, ssl_context=tls.client)

    async with running(Shop(), tls.server) as shop:
        url = f"https://shop.example:{shop.port}/hooks"
        with pytest.raises(DeliveryFailed) as caught:
            await sender.send(url=url, headers=HEADERS, body=BODY)

    assert (caught.value.code, caught.value.was_sent) == ("no_connection", False)
    assert "certificate" in caught.value.reason
    assert shop.heard == []


async def test_a_server_that_wants_a_certificate_of_ours_is_a_failure_not_a_crash(
    make_sender: MakeSender, tmp_path: Path
) -> None:
    tls = certified(tmp_path, "shop.example")
    tls.server.verify_mode = ssl.CERT_REQUIRED
    tls.server.load_verify_locations(tmp_path / "server.pem")
    sender = make_sender(resolver=to_loopback, ssl_context=tls.client)

    async with running(Shop(), tls.server) as shop:
        url = f"https://shop.example:{shop.port}/hooks"
        with pytest.raises(DeliveryFailed):
            await sender.send(url=url, headers=HEADERS, body=BODY)

    assert shop.heard == []
