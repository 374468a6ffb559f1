"""What a notification is known by, and what is answered to it."""

import enum
import json
from typing import Final

import msgspec

from checkstand.binance.notifications import Notification, PayRefundNotice
from checkstand.binance.verification import ACKNOWLEDGE_FAIL, ACKNOWLEDGE_SUCCESS

#: A notification has some two thousand bytes; a stranger's body shall not fill the memory.
BODY_BYTES_MAX: Final = 1024 * 1024


class Claim(enum.Enum):
    """What became of the wish to handle a fact."""

    OURS = "ours"  # go on
    HANDLED = "handled"  # it has been done
    BUSY = "busy"  # somebody is at it


class Reply(msgspec.Struct, frozen=True):
    """What the door answers, as JSON."""

    status: int
    body: bytes


#: Binance will not tell it again.
TAKEN: Final = Reply(200, ACKNOWLEDGE_SUCCESS)
#: Binance will tell it again, up to six times.
LATER: Final = Reply(200, ACKNOWLEDGE_FAIL)
#: Not proven to come from Binance.
UNPROVEN: Final = Reply(401, ACKNOWLEDGE_FAIL)
TOO_LARGE: Final = Reply(413, ACKNOWLEDGE_FAIL)


def fact_of(notification: Notification) -> str:
    """Name the fact that a notification tells: the same for every repetition, for no other fact.

    The id of a refund's notification is the order's, so the refund's own number is part of it.
    """
    parts = [notification.biz_type, notification.biz_id, notification.biz_status]
    data = notification.data
    if isinstance(data, PayRefundNotice) and data.refund_info:
        parts.append(data.refund_info.refund_request_id)
    return json.dumps(parts)
