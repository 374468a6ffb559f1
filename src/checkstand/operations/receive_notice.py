"""Take a notice in: verify it, let it join the next group, and answer when that is committed.

Notices that arrive while a transaction is under way wait together for the next one. If a group
cannot be settled each of its notices is tried alone, and one that fails alone is committed as
it came, for a worker to try again: truth is never refused while the database is well.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from checkstand.errors import (
    CheckstandError,
    DatabaseBusy,
    DatabaseUnavailable,
    ProviderUnavailable,
)
from checkstand.operations.resources import Resources
from checkstand.operations.settle_notices import settle_notices
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


@dataclass(frozen=True, slots=True)
class _Waiting:
    notice: VerifiedNotice
    done: asyncio.Future[None]


class NoticeDesk:
    """Collects verified notices and settles them in groups, one group after the other."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def receive(
        self, *, notice_path: str | None, headers: Mapping[str, str], raw: bytes
    ) -> None:
        """Return when the notice is committed.

        Raises Refused for one that is not genuine, ProviderUnavailable or DatabaseUnavailable
        when it has to be sent again.
        """
        notice = await verify_notice(
            self._resources, notice_path=notice_path, headers=headers, raw=raw
        )
        if len(self._waiting) >= _WAITING_MAX:
            raise ProviderUnavailable("notices_waiting", "too many notices are waiting")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(notice, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_SECONDS):
                await asyncio.shield(done)
        except TimeoutError:
            raise ProviderUnavailable("notices_slow", "the notice is not committed yet") from None

    async def aclose(self) -> None:
        """Finish what is waiting."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_GROUP_MAX], self._waiting[_GROUP_MAX:]
            try:
                await settle_notices(self._resources, batch=[w.notice for w in group])
            except DatabaseBusy:
                await self._one_by_one(group)  # one order is held: the others need not wait
            except DatabaseUnavailable as error:
                _answer(group, error)
            except Exception:  # noqa: BLE001  (whatever it is, each must be tried alone)
                _log.exception("a group of notices was not settled", size=len(group))
                await self._one_by_one(group)
            else:
                _answer(group, None)

    async def _one_by_one(self, group: list[_Waiting]) -> None:
        for waiting in group:
            try:
                await self._alone(waiting.notice)
            except CheckstandError as error:
                _answer([waiting], error)
            except Exception:  # noqa: BLE001  (Binance must be told to send it again)
                _log.exception("a notice could not even be stored")
                _answer([waiting], ProviderUnavailable("notice_not_stored", "send it again"))
            else:
                _answer([waiting], None)

    async def _alone(self, notice: VerifiedNotice) -> None:
        try:
            await settle_notices(self._resources, batch=[notice])
        except DatabaseUnavailable:
            raise
        except Exception:  # noqa: BLE001  (truth is never refused: keep it as it came)
            _log.exception("a notice was only stored", notice_id=str(notice.stored.notice_id))

            async def store(tx: Transaction) -> None:
                await notices.insert_once(tx, [notice.stored])

            await self._resources.database.run(store, name="store_notice")


def _answer(group: list[_Waiting], error: CheckstandError | None) -> None:
    for waiting in group:
        if waiting.done.done():
            continue
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)
