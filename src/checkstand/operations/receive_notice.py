"""Take a notice in: verify it, let it join the next group, and answer when that is committed.

Notices that arrive while a transaction is under way wait together for the next one; copies of
one share its outcome. What stands in the way of one notice stands in nobody else's:

- Notices of an order that somebody else holds leave the group for a lane of their own, which
  waits for them, one at a time. What is held for too long is stored as it came, for a worker.
- A group that cannot be applied is halved until what is wrong with it stands alone. What fails
  alone twice is stored as it came: truth is never refused while the database is well.
- While the database is away everybody is told to send again, at once, and after a rest one of
  them tries whether it is back.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from checkstand.errors import CheckstandError, DatabaseUnavailable, ProviderUnavailable, RowsHeld
from checkstand.operations.breaker import Breaker
from checkstand.operations.resources import Resources
from checkstand.operations.settle_notices import NOTICE_PATIENCE, settle_notices
from checkstand.operations.verify_notice import VerifiedNotice, verify_notice
from checkstand.storage import notices
from checkstand.storage.database import Transaction

_log = structlog.get_logger()

#: More than this at once would hold its locks for too long.
_GROUP_MAX: Final = 64
#: More than this waiting means that we cannot keep up; Binance sends again.
_WAITING_MAX: Final = 2_000
#: A sender is answered within this time, with FAIL at the latest.
_ANSWER_WITHIN_SECONDS: Final = 3.0
#: A notice whose order is held for this long is stored as it came, in time to be answered.
_HELD_SECONDS_MAX: Final = 1.5


@dataclass(slots=True, eq=False)
class _Entry:
    """One notice with everybody who brought it and waits for its outcome."""

    notice: VerifiedNotice
    came_at: float  # on the event loop's clock
    waiters: list[asyncio.Future[CheckstandError | None]] = field(default_factory=list)
    is_held: bool = False  # it waits in the lane

    @property
    def notice_id(self) -> UUID:
        """Which notice it is."""
        return self.notice.stored.notice_id


class NoticeDesk:
    """Collects verified notices and settles them in groups, one group after the other."""

    def __init__(self, resources: Resources, *, waiting_max: int = _WAITING_MAX) -> None:
        self._resources = resources
        self._waiting_max = waiting_max
        self._entries: dict[notices.Key, _Entry] = {}  # everything that is not answered yet
        self._waiting: deque[_Entry] = deque()
        self._lane: deque[_Entry] = deque()
        self._waiters = 0
        self._breaker = Breaker(lambda: asyncio.get_running_loop().time())
        self._grouping: asyncio.Task[None] | None = None
        self._laning: asyncio.Task[None] | None = None

    async def receive(
        self, *, notice_path: str | None, headers: Mapping[str, str], raw: bytes
    ) -> None:
        """Return when the notice is committed.

        Raises Refused for one that is not genuine, ProviderUnavailable or DatabaseUnavailable
        when it has to be sent again.
        """
        answer_by = asyncio.get_running_loop().time() + _ANSWER_WITHIN_SECONDS
        notice = await verify_notice(
            self._resources, notice_path=notice_path, headers=headers, raw=raw
        )
        error = await self._outcome_of(self._join(notice), answer_by=answer_by)
        if error is not None:
            raise type(error)(error.code, error.message)  # its own, for each who waited

    async def aclose(self) -> None:
        """Finish what is waiting."""
        while tasks := [t for t in (self._grouping, self._laning) if t and not t.done()]:
            await asyncio.wait(tasks)

    def _join(self, notice: VerifiedNotice) -> _Entry:
        """Let a notice wait: beside its copy, or for the next group."""
        if max(self._waiters, len(self._entries)) >= self._waiting_max:
            raise ProviderUnavailable("notices_waiting", "too many notices are waiting")
        key = _key_of(notice)
        entry = self._entries.get(key)
        if entry is not None:
            return entry
        if not self._breaker.lets_through():
            raise DatabaseUnavailable(
                "database_unavailable", "the database could not be reached just before"
            )
        entry = _Entry(notice, asyncio.get_running_loop().time())
        self._entries[key] = entry
        self._waiting.append(entry)
        if self._grouping is None or self._grouping.done():
            self._grouping = asyncio.create_task(self._work())
        return entry

    async def _outcome_of(self, entry: _Entry, *, answer_by: float) -> CheckstandError | None:
        """Wait for the outcome. A result, even of failure: nobody may be left to read it."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[CheckstandError | None] = loop.create_future()
        entry.waiters.append(waiter)
        timer = loop.call_at(answer_by, self._give_up, entry, waiter)
        self._waiters += 1
        try:
            return await waiter
        finally:
            self._waiters -= 1
            timer.cancel()

    def _give_up(self, entry: _Entry, waiter: asyncio.Future[CheckstandError | None]) -> None:
        if not waiter.done():
            waiter.set_result(ProviderUnavailable("notices_slow", "it is not committed yet"))
        if not entry.is_held:
            self._breaker.note_failed()  # it hangs, or cannot keep up: let nobody else wait

    async def _work(self) -> None:
        """Settle group after group while there are any."""
        while self._waiting:
            held = await self._settle(_take_group(self._waiting))
            for entry in held:
                entry.is_held = True
            self._lane.extend(held)
            if self._lane and (self._laning is None or self._laning.done()):
                self._laning = asyncio.create_task(self._work_in_lane())

    async def _work_in_lane(self) -> None:
        """Settle what is free by now, then wait for one that is not, while there are any."""
        while self._lane:
            held = await self._settle(_take_group(self._lane))
            oldest_came_at = asyncio.get_running_loop().time() - _HELD_SECONDS_MAX
            for entry in held:
                if entry.came_at <= oldest_came_at:
                    await self._store(entry, "its order was held for too long")
            held = [entry for entry in held if self._is_open(entry)]
            self._lane.extend(held[1:])
            self._lane.extend(await self._settle(held[:1], waits=True))

    async def _settle(
        self, group: Sequence[_Entry], *, waits: bool = False, insists: bool = False
    ) -> list[_Entry]:
        """Settle a group and answer it; return the entries whose order somebody holds."""
        group = [entry for entry in group if self._is_open(entry)]
        if not group:
            return []
        try:
            settled = await settle_notices(
                self._resources, batch=[entry.notice for entry in group], waits=waits
            )
        except RowsHeld:
            self._breaker.note_well()
            return group if len(group) == 1 else await self._settle_halves(group)
        except DatabaseUnavailable as error:
            self._fail_everybody(error)
            return []
        except Exception as error:  # noqa: BLE001  (whatever it is, it must not stop the others)
            if len(group) > 1:
                _log.warning("notices not settled together", size=len(group), error=repr(error))
                return await self._settle_halves(group)
            if not insists:
                return await self._settle(group, waits=waits, insists=True)
            await self._store(group[0], "it could not be applied")
            _log.error("notice not applied", notice_id=str(group[0].notice_id), exc_info=error)
            return []
        self._breaker.note_well()
        held = {notice.stored.notice_id for notice in settled.held}
        for entry in group:
            if entry.notice_id not in held:
                self._answer(entry, None)
        return [entry for entry in group if entry.notice_id in held]

    async def _settle_halves(self, group: Sequence[_Entry]) -> list[_Entry]:
        middle = len(group) // 2
        held = await self._settle(group[:middle])
        return held + await self._settle(group[middle:])

    async def _store(self, entry: _Entry, reason: str) -> None:
        """Commit a notice as it came, and leave it to a worker."""
        stored = entry.notice.stored

        async def step(tx: Transaction) -> None:
            await notices.insert_once(tx, [(stored, notices.only_stored(stored, reason))])

        try:
            await self._resources.database.run(step, name="store_notice", patience=NOTICE_PATIENCE)
        except CheckstandError as error:
            self._answer(entry, error)
        except Exception:  # noqa: BLE001  (Binance must be told to send it again)
            _log.exception("a notice could not even be stored", notice_id=str(stored.notice_id))
            self._answer(entry, ProviderUnavailable("notice_not_stored", "send it again"))
        else:
            self._resources.notices_wake.up()
            self._answer(entry, None)

    def _fail_everybody(self, error: CheckstandError) -> None:
        """Let nobody wait out the same failure, one after the other."""
        self._breaker.note_failed()
        self._waiting.clear()
        self._lane.clear()
        for entry in list(self._entries.values()):
            self._answer(entry, error)

    def _is_open(self, entry: _Entry) -> bool:
        return self._entries.get(_key_of(entry.notice)) is entry

    def _answer(self, entry: _Entry, error: CheckstandError | None) -> None:
        if self._is_open(entry):
            del self._entries[_key_of(entry.notice)]
        for waiter in entry.waiters:
            if not waiter.done():
                waiter.set_result(error)


def _take_group(entries: deque[_Entry]) -> list[_Entry]:
    return [entries.popleft() for _ in range(min(_GROUP_MAX, len(entries)))]


def _key_of(notice: VerifiedNotice) -> notices.Key:
    return notice.stored.account_id, notice.stored.fingerprint
