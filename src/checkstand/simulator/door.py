"""The API's front door: raw HTTP in, envelope out, misfortune on the way.

Plain ASGI, since every call goes through here. A request is judged in the service's order:
method, content type and body; then `checks`; then JSON, fields, permission, business. A fault may
stand in for the work, delay it, or cut the line after it, which the server's protocol class
(`server.py`) makes possible.
"""

import math
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
from checkstand.simulator.records import Credential
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.wire import Answer
from checkstand.simulator.world import World

#: Where the server puts the connection: the functions `cut` and `reset`, and whether it `is_new`.
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
        endpoint = ENDPOINTS.get(scope["path"].removeprefix(PREFIX))
        unread = Target(endpoint=endpoint.path if endpoint else None)
        faults, line = self._world.faults, scope["extensions"][CUT]
        if line["is_new"] and any(faults.draw(Stage.CONNECT, unread)):
            await _end(line["reset"], receive)
            return
        skews = (fault.parameters["seconds"] for fault in faults.draw(Stage.ARRIVAL, unread))
        skew_ms = round(sum(skews) * 1000)
        answer = await self._answer(endpoint, scope, receive, skew_ms)
        if answer is _NO_ANSWER:
            await _end(line["cut"], receive)
        else:
            await self._send(send, answer, skew_ms)

    async def _answer(
        self, endpoint: Endpoint | None, scope: Scope, receive: Receive, skew_ms: int
    ) -> Answer:
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
            now_ms = self._world.clock.now_ms() + skew_ms
            client_ip = scope["client"][0] if scope["client"] else ""
            credential = check_request(
                self._world, headers, body, client_ip=client_ip, now_ms=now_ms
            )
            given = wire.parse_object(body)
        except Rejection as rejection:
            return self._refuse(rejection)
        return await self._answer_with_faults(endpoint, credential, given)

    async def _answer_with_faults(
        self, endpoint: Endpoint, credential: Credential, given: Mapping[str, Any]
    ) -> Answer:
        world = self._world
        if not world.faults.listed:
            return self._work(endpoint, credential, given)
        target = self._target(endpoint, credential.merchant_id, given)
        work = partial(self._work, endpoint, credential, given)
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

    def _work(self, endpoint: Endpoint, credential: Credential, given: Mapping[str, Any]) -> Answer:
        """Do what was asked, in one step."""
        try:
            parameters = read_parameters(
                endpoint.parameters,
                given,
                settings=self._world.settings,
                accepts_null=endpoint.accepts_null,
            )
            _check_feature(endpoint, credential)
            merchant = self._world.store.merchants[credential.merchant_id]
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
        if fault.kind == "too_many_requests":
            wait = ("retry-after", str(math.ceil(parameters["seconds"])))
            return wire.html_page(429, "Too many requests", wait)
        title = "Request blocked" if parameters["status"] == 403 else "Service unavailable"
        return wire.html_page(parameters["status"], title)

    def _target(self, endpoint: Endpoint, merchant_id: str, given: Mapping[str, Any]) -> Target:
        """Say what a request is about, as far as an unchecked body tells."""
        store, trade_no = self._world.store, given.get("merchantTradeNo")
        refund = store.refunds.get((merchant_id, str(given.get("refundRequestId"))))
        prepay_id = refund.prepay_id if refund else given.get("prepayId")
        order = store.orders.get(str(prepay_id))
        return Target(
            endpoint=endpoint.path,
            merchant_id=merchant_id,
            merchant_trade_no=order.merchant_trade_no if order else trade_no,
        )

    @property
    def _failure_status(self) -> int:
        return 200 if self._world.settings.answers_200_always else 400

    def _refuse(self, rejection: Rejection) -> Answer:
        uses_msg = self._world.settings.errors_use_msg
        return wire.failure(rejection, status=self._failure_status, uses_msg=uses_msg)

    async def _send(self, send: Send, answer: Answer, skew_ms: int) -> None:
        now_ms = self._world.clock.now_ms() + skew_ms
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            # Clients learn our clock from this header, so it must tell the simulated time.
            (b"date", formatdate(now_ms / 1000, usegmt=True).encode()),
            *((name.encode(), value.encode()) for name, value in answer.headers),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _check_feature(endpoint: Endpoint, credential: Credential) -> None:
    if endpoint.feature and endpoint.feature not in credential.features:
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


async def _end(close: Callable[[], object], receive: Receive) -> None:
    """Close the connection without a byte of an answer, and see it closed before returning."""
    close()
    while (await receive())["type"] != "http.disconnect":
        pass
