"""Every endpoint as a row: path, fields, handler, permission. A new call is a new row.

A handler is one synchronous step: it takes the world, the merchant who asks and the checked
fields, and returns the answer's data or raises `Rejection`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from checkstand.simulator import order_calls, refunds
from checkstand.simulator import order_parameters as fields
from checkstand.simulator.parameters import Spec
from checkstand.simulator.records import Merchant
from checkstand.simulator.world import World

PREFIX = "/binancepay/openapi"
Handler = Callable[[World, Merchant, Mapping[str, Any]], object]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the API."""

    path: str
    parameters: Spec
    handler: Handler
    accepts_null: bool = False  # whether a field that is not used may be null
    permission: str | None = None  # what the merchant must have been granted, else 400606


def list_certificates(
    world: World,
    merchant: Merchant,  # noqa: ARG001 - one key signs for every merchant
    body: Mapping[str, Any],  # noqa: ARG001 - takes nothing
) -> object:
    """Return the public keys that webhooks may be signed with."""
    return [{"certPublic": key.public_pem, "certSerial": key.serial} for key in world.keys.listed]


_ROWS = (
    Endpoint("/v3/order", fields.ORDER_V3, order_calls.create_v3),
    Endpoint("/v2/order", fields.ORDER_V2, order_calls.create_v2),
    Endpoint("/order", fields.ORDER_V1, order_calls.create_v1),
    Endpoint("/v2/order/query", fields.ORDER_REFERENCE, order_calls.query_v2, accepts_null=True),
    Endpoint("/order/query", fields.ORDER_REFERENCE, order_calls.query_v1, accepts_null=True),
    Endpoint("/order/close", fields.ORDER_REFERENCE, order_calls.close, accepts_null=True),
    Endpoint("/order/refund", fields.REFUND, refunds.refund),
    Endpoint("/order/refund/query", fields.REFUND_REFERENCE, refunds.query_refund),
    Endpoint("/certificates", fields.NOTHING, list_certificates),
)

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({row.path: row for row in _ROWS})
