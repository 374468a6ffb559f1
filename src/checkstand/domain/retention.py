"""How long what is personal, or bulky, is kept. Facts, ids and hashes are kept for ever."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Kept(StrEnum):
    """What is forgotten after its time."""

    NOTICES = "notices"  # the raw bodies of Binance's notices: they may name the payer
    ORPHANS = "orphans"  # those of notices that fitted nothing: a person may still need them
    BUYERS = "buyers"  # buyer_reference and client_ip of orders
    KEYS = "keys"  # idempotency keys with their answers


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """Days, for each kind."""

    notices_days: int = 90  # Binance itself tells of refunds for 30 days; disputes take longer
    buyers_days: int = 180
    keys_days: int = 30  # promised to the shop, so never less

    def before(self, kind: Kept, *, now: datetime, open_from: datetime | None = None) -> datetime:
        """Say from before which moment things of a kind may go.

        `open_from` is where the books are not closed yet: raw bodies from then on stay.
        """
        days = {
            Kept.NOTICES: self.notices_days,
            Kept.ORPHANS: 2 * self.notices_days,  # money may be in them that nobody has claimed
            Kept.BUYERS: self.buyers_days,
            Kept.KEYS: self.keys_days,
        }
        moment = now - timedelta(days=days[kind])
        is_raw = kind in {Kept.NOTICES, Kept.ORPHANS}
        return min(moment, open_from) if is_raw and open_from is not None else moment
