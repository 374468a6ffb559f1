"""A careful shop: retries what was not answered, checks who signs, and handles each event once."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from checkstand.receiver import Event, EventRefused, Receiver
from torture.ambient import Time
from torture.faults import Breakage
from torture.network import Reply, Unanswered, Unreached

HOOKS_URL: Final = "https://shop.torture.example/hooks"
#: A shop asks again after these pauses, and then leaves it to the next event or to a person.
_AGAIN_SECONDS: Final = (0.5, 1, 2, 4, 8, 15, 30, 60, 120)

Caller = Callable[..., Awaitable[Reply]]


@dataclass(slots=True)
class ShopOrder:
    """What the shop knows of one order of its own."""

    number: int
    body: Mapping[str, Any]
    order_id: str | None = None
    token: str | None = None
    codes: list[str] = field(default_factory=list)  # shown to the shopper, oldest first
    ids_told: set[str] = field(default_factory=set)  # by any answer to its creates


class Shop:
    """The merchant's own server, and his program that calls the gateway."""

    def __init__(self, *, time: Time, call: Caller, faults: Breakage) -> None:
        self._time = time
        self._call = call
        self._faults = faults
        self._receiver: Receiver | None = None
        self.fulfils = True  # by a call; else the endpoint's 2xx does
        self.orders: dict[int, ShopOrder] = {}
        self.seen: dict[str, Event] = {}  # by webhook-id, in the order of arrival
        self.forgotten: set[str] = set()  # orders that the gateway need not know any more
        self.goods: Counter[str] = Counter()  # sent, by order id
        self.left_to_workers: set[str] = set()  # whose goods no delivery sends, by its own number
        self.tokens: dict[str, str] = {}  # of the deliveries that ask for goods, by order id
        self.tellings: Counter[str] = Counter()  # of order.paid, by order id
        self.complaints: list[str] = []

    def trust(self, secret: str) -> None:
        """Take deliveries signed with this secret."""
        self._receiver = Receiver(secret, clock=self._time.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one delivery."""
        message = await receive()
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        status, extra = await self._take(message["body"], headers)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"text/plain"), *extra],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    async def _take(
        self, raw: bytes, headers: Mapping[str, str]
    ) -> tuple[int, list[tuple[bytes, bytes]]]:
        fault = self._faults.draw("shop 503", "shop 400", "shop 429")
        if fault is not None:
            after = str(int(fault.seconds)).encode()
            return int(fault.kind.split()[1]), [(b"retry-after", after)]
        if self._receiver is None:
            return 503, []
        try:
            event = self._receiver.open(raw, headers)
        except EventRefused as error:
            self.complaints.append(f"a delivery was not to be believed: {error}")
            return error.http_status, []
        if event.type == "order.paid":
            self.tellings[str(event.order["order_id"])] += 1
        is_new = event.id not in self.seen
        self.seen.setdefault(event.id, event)
        if event.type == "order.paid":
            self._take_order(event, is_new=is_new)
        if slow := self._faults.draw("shop slow"):
            await asyncio.sleep(slow.seconds)
        return (500 if self._faults.draw("shop 500 after") else 204), []

    def _take_order(self, event: Event, *, is_new: bool) -> None:
        order_id = str(event.order["order_id"])
        if is_new:
            self.tokens[order_id] = str(event.data["fulfilment"]["token"])
        if self.fulfils and event.order["merchant_order_id"] in self.left_to_workers:
            return
        self._send_goods(order_id, is_new=is_new)

    def _send_goods(self, order_id: str, *, is_new: bool) -> None:
        """Send the goods once, and say so whenever it is asked: the answer may be forgotten."""
        self.goods[order_id] += is_new
        if self.fulfils:
            path = f"/api/payments/binance/orders/{order_id}/fulfill"
            self._telling = asyncio.get_running_loop().create_task(self.insist("POST", path))

    async def create(self, order: ShopOrder, *, key: str, host: str | None) -> Reply | None:
        """Open an order, again under the same key until there is an answer; return that."""
        reply = await self.insist(
            "POST",
            "/api/payments/binance/create",
            body=order.body,
            headers={"idempotency-key": key},
            host=host,
        )
        if reply is None:
            return None
        said = json.loads(reply.body)
        shown = said.get("order", said) if isinstance(said, dict) else {}
        if reply.status in {200, 201, 202, 422} and shown.get("order_id"):
            self.note(order, shown)
        return reply

    async def look(self, order: ShopOrder) -> None:
        """Read an order as it stands, and show the shopper its code."""
        if order.order_id is None:
            return
        path = f"/api/payments/binance/orders/{order.order_id}"
        reply = await self.insist("GET", path)
        if reply is None:
            return
        if reply.status == 200:
            self.note(order, json.loads(reply.body))
        elif reply.status == 404 and order.order_id not in self.forgotten:
            self.complaints.append(f"order {order.number} was told of, and is not there")

    def note(self, order: ShopOrder, shown: Mapping[str, Any]) -> None:
        """Keep what an answer says."""
        order.order_id = str(shown["order_id"])
        order.ids_told.add(order.order_id)
        order.token = str(shown["checkout_url"]).rsplit("/", 1)[-1]
        code = shown.get("qr_content")
        if code and code not in order.codes:
            order.codes.append(code)

    async def insist(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        host: str | None = None,
    ) -> Reply | None:
        """Call until there is an answer that a repetition would not change; None when none came."""
        for seconds in _AGAIN_SECONDS:
            try:
                reply = await self._call(
                    method, path, body=body, content=content, headers=headers, host=host
                )
            except (Unreached, Unanswered):
                pass
            else:
                if reply.status < 500 and b"idempotency_key_running" not in reply.body:
                    return reply
            host = None  # whichever the balancer chooses
            await asyncio.sleep(seconds)
        return None
