"""The ids in the API's paths: what is no id of ours is simply not found."""

from uuid import UUID

from checkstand.errors import NotFound


def parse_order_id(text: str, *, field: str = "order_id") -> UUID:
    """Read an order's id. Raises NotFound."""
    try:
        return UUID(text)
    except ValueError:
        raise order_not_found(text, field=field) from None


def parse_anomaly_id(text: str, *, field: str = "anomaly_id") -> UUID:
    """Read an anomaly's id. Raises NotFound."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(
            "anomaly_not_found", f"there is no anomaly {text[:64]!r}", field=field
        ) from None


def order_not_found(order_id: str, *, field: str = "order_id") -> NotFound:
    """Say that an order is not there, or not the caller's."""
    return NotFound("order_not_found", f"there is no order {order_id[:64]!r}", field=field)
