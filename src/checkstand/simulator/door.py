"""The API's front door: raw HTTP in, envelope out, misfortune on the way.

Plain ASGI, since every call goes through here. A request is judged in the service's order:
method, content type and body; then `checks`; then JSON, fields, permission, business. A fault may
stand in for the work, delay it, or cut the line after it, which the server's protocol class
(`server.py`) makes possible.
"""

from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from typing import Any

from starlette.types import Receive, Scope, Send

from checkstand.simulator import wire
from checkstand.simulator.checks import check_request
from checkstand.simulator.endpoints import ENDPOINTS, PREFIX, Endpoint
from checkstand.simulator.faults import Fault, Stage, Target
from checkstand.simulator.parameters import read_parameters
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.wire import Answer
from checkstand.simulator.world import World

#: Where the server puts the function that cuts the connection.
CUT = "checkstand.cut"
#: Stands for an answer that never comes.
_NO_ANSWER = Answer(0, b"")
_CUTTING = frozenset({"lost_before_effect", "lands_late", "answer_lost_after_effect"})


class Door:
    """The ASGI application below the API's prefix."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or cut the line if a fault says so."""
        answer = await self._answer(scope, receive)
        if answer is _NO_ANSWER:
            await _cut(scope, receive)
        else:
            await self._send(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        endpoint = ENDPOINTS.get(scope["path"].removeprefix(PREFIX))
        if endpoint is None:
            return wire.request_blocked()
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] != "POST" or media_type != "application/json":
            return wire.system_abnormality(self._failure_status)
        try:
            body = await _read(receive, limit=self._world.settings.body_bytes_max)
            if not body:
                return wire.system_abnormality(self._failure_status)
            self._world.clock.run_due()
            merchant = check_request(self._world, headers, body)
            given = wire.parse_object(body)
        except Rejection as rejection:
            return self._refuse(rejection)
        return await self._answer_with_faults(endpoint, merchant, given)

    async def _answer_with_faults(
        self, endpoint: Endpoint, merchant: Merchant, given: Mapping[str, Any]
    ) -> Answer:
        world = self._world
        if not world.faults.listed:
            return self._work(endpoint, merchant, given)
        target = self._target(endpoint, merchant, given)
        work = partial(self._work, endpoint, merchant, given)
        instead = await self._strike(Stage.BEFORE, target, work)
        if instead is not None:
            return instead
        answer = work()
        return await self._strike(Stage.AFTER, target, work) or answer

    async def _strike(
        self, stage: Stage, target: Target, work: Callable[[], Answer]
    ) -> Answer | None:
        """Let the faults of a stage act; return what they answer instead, if they do."""
        clock = self._world.clock
        for fault in self._world.faults.draw(stage, target):
            if fault.kind in {"delay", "slow"}:
                await clock.sleep(fault.parameters["seconds"])
                continue
            if fault.kind == "lands_late":
                clock.call_later(fault.parameters["seconds"], work)
            return _NO_ANSWER if fault.kind in _CUTTING else self._instead(fault)
        return None

    def _work(self, endpoint: Endpoint, merchant: Merchant, given: Mapping[str, Any]) -> Answer:
        """Do what was asked, in one step."""
        try:
            parameters = read_parameters(
                endpoint.parameters,
                given,
                settings=self._world.settings,
                accepts_null=endpoint.accepts_null,
            )
            _check_permission(endpoint, merchant)
            return wire.success(endpoint.handler(self._world, merchant, parameters))
        except Rejection as rejection:
            return self._refuse(rejection)

    def _instead(self, fault: Fault) -> Answer:
        """Return the answer a fault gives in place of the true one."""
        parameters = fault.parameters
        if fault.kind in {"unknown_error", "unknown_error_after_effect"}:
            return self._refuse(Rejection("400000"))
        if fault.kind == "rejected":
            return self._refuse(Rejection(parameters["code"], "parameter"))
        if fault.kind == "geo_block":
            return wire.restricted_location()
        title = "Request blocked" if parameters["status"] == 403 else "Service unavailable"
        return wire.html_page(parameters["status"], title)

    def _target(self, endpoint: Endpoint, merchant: Merchant, given: Mapping[str, Any]) -> Target:
        """Say what a request is about, as far as an unchecked body tells."""
        store, trade_no = self._world.store, given.get("merchantTradeNo")
        refund = store.refunds.get((merchant.merchant_id, str(given.get("refundRequestId"))))
        prepay_id = refund.prepay_id if refund else given.get("prepayId")
        order = store.orders.get(str(prepay_id))
        return Target(
            endpoint=endpoint.path,
            merchant_id=merchant.merchant_id,
            merchant_trade_no=order.merchant_trade_no if order else trade_no,
        )

    @property
    def _failure_status(self) -> int:
        return 200 if self._world.settings.answers_200_always else 400

    def _refuse(self, rejection: Rejection) -> Answer:
        uses_msg = self._world.settings.errors_use_msg
        return wire.failure(rejection, status=self._failure_status, uses_msg=uses_msg)

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            # Clients learn our clock from this header, so it must tell the simulated time.
            (b"date", formatdate(self._world.clock.now_ms() / 1000, usegmt=True).encode()),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _check_permission(endpoint: Endpoint, merchant: Merchant) -> None:
    if endpoint.permission and endpoint.permission not in merchant.permissions:
        raise Rejection("400606")


async def _read(receive: Receive, *, limit: int) -> bytes:
    chunks = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        chunks += message.get("body", b"")
        if len(chunks) > limit:
            raise Rejection("400104")
        if not message.get("more_body", False):
            return bytes(chunks)


async def _cut(scope: Scope, receive: Receive) -> None:
    """Close the connection without a byte of an answer, and see it closed before returning."""
    scope["extensions"][CUT]["cut"]()
    while (await receive())["type"] != "http.disconnect":
        pass
