"""Every endpoint as a row: path, fields, handler, feature. A new call is a new row.

A handler is one synchronous step: it takes the world, the merchant who asks and the checked
fields, and returns the answer's data or raises `Rejection`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from checkstand.simulator import (
    account_parameters,
    balance_calls,
    order_calls,
    payouts,
    refunds,
    statements,
    sub_merchants,
    transfers,
)
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
    feature: str | None = None  # what the key must be allowed to do, else 400606
    accepts_null: bool = False  # whether a field that is not used may be null


def list_certificates(
    world: World,
    merchant: Merchant,  # noqa: ARG001 - one key signs for every merchant
    body: Mapping[str, Any],  # noqa: ARG001 - takes nothing
) -> object:
    """Return the public keys that webhooks may be signed with."""
    return [{"certPublic": key.public_pem, "certSerial": key.serial} for key in world.keys.listed]


_ROWS = (
    Endpoint("/v3/order", fields.ORDER_V3, order_calls.create_v3, "CHECKOUT"),
    Endpoint("/v2/order", fields.ORDER_V2, order_calls.create_v2, "CHECKOUT"),
    Endpoint("/order", fields.ORDER_V1, order_calls.create_v1, "CHECKOUT"),
    Endpoint(
        "/v2/order/query",
        fields.ORDER_REFERENCE,
        order_calls.query_v2,
        "CHECKOUT",
        accepts_null=True,
    ),
    Endpoint(
        "/order/query", fields.ORDER_REFERENCE, order_calls.query_v1, "CHECKOUT", accepts_null=True
    ),
    Endpoint(
        "/order/close", fields.ORDER_REFERENCE, order_calls.close, "CHECKOUT", accepts_null=True
    ),
    Endpoint("/order/refund", fields.REFUND, refunds.refund, "REFUND"),
    Endpoint("/order/refund/query", fields.REFUND_REFERENCE, refunds.query_refund, "REFUND"),
    Endpoint("/certificates", fields.NOTHING, list_certificates),
    Endpoint(
        "/wallet/transfer", account_parameters.TRANSFER, transfers.transfer, "INTERNAL_TRANSFER"
    ),
    Endpoint(
        "/wallet/transfer/query",
        account_parameters.TRANSFER_REFERENCE,
        transfers.query_transfer,
        "INTERNAL_TRANSFER",
    ),
    Endpoint("/v2/balance", account_parameters.BALANCE_V2, balance_calls.query_v2, "BALANCE"),
    Endpoint("/balance", account_parameters.BALANCE_V1, balance_calls.query_v1, "BALANCE"),
    Endpoint(
        "/submerchant/add", account_parameters.SUB_MERCHANT, sub_merchants.add, "SUB_MERCHANT"
    ),
    Endpoint(
        "/submerchant/modify",
        account_parameters.SUB_MERCHANT_CHANGE,
        sub_merchants.modify,
        "SUB_MERCHANT",
    ),
    Endpoint("/payout/transfer", account_parameters.PAYOUT, payouts.transfer, "PAYOUT"),
    Endpoint("/payout/query", account_parameters.PAYOUT_REFERENCE, payouts.query, "PAYOUT"),
    Endpoint("/report/get-file", account_parameters.REPORT, statements.list_files, "REPORT"),
    Endpoint(
        "/balance-report", account_parameters.BALANCE_REPORT, statements.ask_balances, "REPORT"
    ),
    Endpoint(
        "/balance-report/query",
        account_parameters.BALANCE_REPORT_REFERENCE,
        statements.query_balances,
        "REPORT",
    ),
)

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({row.path: row for row in _ROWS})
