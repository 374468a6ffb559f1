"""Tells merchants the news: signed webhooks, retried on the simulator's clock.

`tell` returns at once; tries go out as tasks, a bounded number at a time over kept connections.
A try waits on a real socket, so its timeout is the host's time; everything between tries
follows the clock. `idle` waits until no try is under way.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import httpcore2

from checkstand.simulator.ambient import Randomness
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.faults import FaultBook, Stage, Target
from checkstand.simulator.notices import envelope
from checkstand.simulator.records import Notice, NoticeState, Try
from checkstand.simulator.settings import Settings
from checkstand.simulator.signing import KeyRing
from checkstand.simulator.store import Store

_ANSWER_CHARACTERS_KEPT = 500
# What a wrong address or an absent merchant leads to; anything else would be a defect of ours.
_UNREACHABLE = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
    OSError,
    TimeoutError,
    ValueError,
)


class Line(Protocol):
    """The way a webhook takes."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Send once; return status and content. Raises what connections raise."""
        ...

    async def aclose(self) -> None:
        """Drop what is open."""
        ...


class HttpLine:
    """Over kept connections."""

    def __init__(self, *, connections_max: int) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=connections_max, keepalive_expiry=30
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Send once; return status and content. Raises what connections raise."""
        response = await self._pool.request(
            "POST", url, headers=list(headers.items()), content=body
        )
        return response.status, response.content

    async def aclose(self) -> None:
        """Drop every connection."""
        await self._pool.aclose()


class Postman:
    """Sends notices and remembers every try."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: SimulatedClock,
        store: Store,
        keys: KeyRing,
        faults: FaultBook,
        randomness: Randomness,
        line: Line | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._keys = keys
        self._faults = faults
        self._randomness = randomness
        self._slots = asyncio.Semaphore(settings.webhook_concurrency)
        self._line = line or HttpLine(connections_max=settings.webhook_concurrency)
        self._under_way: set[asyncio.Task[None]] = set()

    def tell(
        self,
        *,
        merchant_id: str,
        biz_type: str,
        biz_status: str,
        biz_id: str,
        data: object,
        url: str | None = None,
        merchant_trade_no: str = "",
    ) -> Notice:
        """Start telling a merchant, with the faults that strike this notice.

        With a `merchant_trade_no` it is about that order, and `biz_id` is its prepay id.
        """
        target = Target(
            merchant_id=merchant_id, merchant_trade_no=merchant_trade_no, biz_status=biz_status
        )
        struck = {f.kind: f.parameters for f in self._faults.draw(Stage.NOTICE, target)}
        body = envelope(
            biz_type=biz_type,
            biz_status=biz_status,
            biz_id=biz_id,
            data=data,
            has_id_text="no_biz_id_str" not in struck,
        )
        notice = Notice(
            number=len(self._store.notices),
            merchant_id=merchant_id,
            merchant_trade_no=merchant_trade_no,
            prepay_id=biz_id if merchant_trade_no else "",
            biz_type=biz_type,
            biz_status=biz_status,
            url=url or self._store.merchants[merchant_id].webhook_url,
            body=body,
            created_ms=self._clock.now_ms(),
            keeps_timestamp="first_timestamp_on_retry" in struck
            or self._settings.retries_keep_timestamp,
        )
        if notice.url is None:
            return self._store.put_notice(replace(notice, state=NoticeState.NOWHERE))
        if "drop" in struck:
            return self._store.put_notice(replace(notice, state=NoticeState.DROPPED))
        seconds = float(struck["webhook_delay"]["seconds"]) if "webhook_delay" in struck else 0.0
        copies = int(struck["duplicate"]["copies"]) if "duplicate" in struck else 0
        notice = replace(notice, next_try_ms=notice.created_ms + round(seconds * 1000))
        for _ in range(1 + copies):
            self._store.put_notice(replace(notice, number=len(self._store.notices)))
            start = self._trier(len(self._store.notices) - 1)
            # Without a delay it starts here: a timer would need the caller to run what is due.
            start() if seconds == 0 else self._clock.call_later(seconds, start)
        return self._store.notices[notice.number]

    async def send_once(
        self, notice: Notice, *, signs_badly: bool = False, timestamp_ms: int | None = None
    ) -> Notice:
        """Send a notice outside the timetable: one try, no retry; return it with its answer."""
        self._store.put_notice(notice)
        async with self._slots:
            sent = self._sign(notice, signs_badly=signs_badly, timestamp_ms=timestamp_ms)
            answered = await self._post(notice, sent)
        state = NoticeState.ACKNOWLEDGED if answered.acknowledged else NoticeState.GIVEN_UP
        return self._store.put_notice(replace(notice, tries=(answered,), state=state))

    async def idle(self) -> None:
        """Wait until no try is under way; retries that wait for the clock do not count."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def rearm(self, notice: Notice) -> None:
        """Set the timer of a notice's next try, if it waits for one."""
        if notice.state is NoticeState.WAITING and notice.next_try_ms is not None:
            self._clock.call_at(notice.next_try_ms, self._trier(notice.number))

    async def give_up(self) -> None:
        """Stop what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def close(self) -> None:
        """Stop sending and drop the connections."""
        await self.give_up()
        await self._line.aclose()

    def _trier(self, number: int) -> Callable[[], None]:
        def start() -> None:
            task = asyncio.get_running_loop().create_task(self._try(number))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        return start

    async def _try(self, number: int) -> None:
        """Send one try, remember what came back, and set the timer of the next."""
        async with self._slots:
            notice = self._store.notices[number]
            answered = await self._post(notice, self._sign(notice))
        notice = replace(notice, tries=(*notice.tries, answered), next_try_ms=None)
        delays = self._settings.webhook_retry_delays_seconds
        if answered.acknowledged:
            notice = replace(notice, state=NoticeState.ACKNOWLEDGED)
        elif len(notice.tries) > len(delays):
            notice = replace(notice, state=NoticeState.GIVEN_UP)
        else:
            delay_ms = round(delays[len(notice.tries) - 1] * 1000)
            notice = replace(notice, next_try_ms=self._clock.now_ms() + delay_ms)
            self.rearm(notice)
        self._store.put_notice(notice)

    def _sign(
        self, notice: Notice, *, signs_badly: bool = False, timestamp_ms: int | None = None
    ) -> Try:
        """Sign the next try, with the faults that strike this one."""
        target = Target(
            merchant_id=notice.merchant_id,
            merchant_trade_no=notice.merchant_trade_no,
            biz_status=notice.biz_status,
        )
        struck = {fault.kind for fault in self._faults.draw(Stage.TRY, target)}
        now_ms = self._clock.now_ms()
        keeps = notice.keeps_timestamp and notice.tries
        timestamp = notice.tries[0].timestamp if keeps else str(timestamp_ms or now_ms)
        nonce = self._randomness.alphanumeric(32)
        bad = signs_badly or "bad_signature" in struck
        body = notice.body + b" " if bad else notice.body  # a true signature, of another body
        key = self._keys.current
        return Try(
            at_ms=now_ms,
            timestamp=timestamp,
            nonce=nonce,
            certificate_serial=self._randomness.hex(32).upper()
            if "unknown_serial" in struck
            else key.serial,
            signature=key.sign(timestamp=timestamp, nonce=nonce, body=body),
        )

    async def _post(self, notice: Notice, sent: Try) -> Try:
        seconds = self._settings.webhook_timeout_seconds
        headers = {
            "content-type": "application/json;charset=utf-8",
            "BinancePay-Certificate-SN": sent.certificate_serial,
            "BinancePay-Nonce": sent.nonce,
            "BinancePay-Timestamp": sent.timestamp,
            "BinancePay-Signature": sent.signature,
        }
        try:
            async with asyncio.timeout(seconds):
                status, content = await self._line.post(notice.url or "", headers, notice.body)
        except _UNREACHABLE as error:
            return replace(sent, error=f"{type(error).__name__}: {error}".rstrip(": "))
        return replace(
            sent,
            http_status=status,
            answer=content[:_ANSWER_CHARACTERS_KEPT].decode(errors="replace"),
            acknowledged=self._acknowledges(status, content),
        )

    def _acknowledges(self, status: int, body: bytes) -> bool:
        if status != 200:
            return False
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            parsed = None
        code = parsed.get("returnCode") if isinstance(parsed, dict) else None
        return code == "SUCCESS" or (code is None and not self._settings.requires_return_code)
