"""The bodies of webhooks, in the documented shapes.

`data` is a JSON text inside the JSON; amounts in it are numbers with eight decimals.
"""

from typing import Any

from checkstand.simulator import amounts
from checkstand.simulator.accounts import BalanceReport, Payout
from checkstand.simulator.records import Order, Refund
from checkstand.simulator.wire import to_json


def order_data(order: Order, *, now_ms: int | None = None) -> dict[str, Any]:
    """Return the `data` of a PAY notice; a closed order has no payment to tell of.

    With a moment, the fee is in it only if it is told by then.
    """
    payment = order.payment
    data: dict[str, Any] = {
        "merchantTradeNo": order.merchant_trade_no,
        "productType": order.product_type,
        "productName": order.product_name,
        "transactTime": payment.paid_ms if payment else order.history[-1].at_ms,
        "tradeType": order.trade_type,
        "totalFee": amounts.as_number(payment.amount if payment else order.amount),
        "currency": payment.currency if payment else order.currency,
    }
    if payment:
        data |= {"transactionId": payment.transaction_id, "openUserId": payment.open_user_id}
    if order.pass_through_info is not None:
        data["passThroughInfo"] = order.pass_through_info
    if payment is None:
        data["commission"] = 0
    elif now_ms is None or payment.tells_fee(now_ms):
        data["commission"] = amounts.as_number(payment.commission)
    if payment:
        instruction = {
            "currency": payment.spent_currency,
            "amount": amounts.as_number(payment.spent_amount),
            "price": 1 if payment.price == 1 else amounts.as_number(payment.price),
        }
        data["paymentInfo"] = {
            "payerId": int(payment.payer_id),
            "payMethod": "funding",
            "paymentInstructions": [instruction],
            "channel": "DEFAULT",
        }
    return data


def refund_data(order: Order, refund: Refund, *, now_ms: int) -> dict[str, Any]:
    """Return the `data` of a PAY_REFUND notice."""
    data: dict[str, Any] = {
        "merchantTradeNo": order.merchant_trade_no,
        "productType": order.product_type,
        "productName": order.product_name,
        "tradeType": order.trade_type,
        "totalFee": amounts.as_number(order.payment.amount if order.payment else order.amount),
        "transactTime": now_ms,
        "currency": order.currency,
        "commission": 0,
    }
    if order.payment:
        data["openUserId"] = order.payment.open_user_id
    data["refundInfo"] = {**refund_info(order, refund), "duplicateRequest": "N"}
    return data


def refund_info(order: Order, refund: Refund) -> dict[str, Any]:
    """Return what every message about a refund says of it."""
    return {
        "refundRequestId": refund.refund_request_id,
        "prepayId": refund.prepay_id,
        "orderAmount": amounts.as_text(order.payment.amount if order.payment else order.amount),
        "refundedAmount": amounts.as_text(refund.refunded_amount),
        "refundAmount": amounts.as_text(refund.amount),
        "remainingAttempts": refund.remaining_attempts,
        "payerOpenId": refund.payer_open_id,
    }


def payout_data(payout: Payout) -> dict[str, Any]:
    """Return the `data` of a PAYOUT notice."""
    return {
        "batchStatus": payout.status,
        "currency": payout.currency,
        "merchantId": int(payout.merchant_id),
        "requestId": payout.request_id,
        "totalAmount": amounts.as_number(payout.total_amount),
        "totalNumber": len(payout.lines),
    }


def balance_report_data(report: BalanceReport, *, url: str, expires_ms: int) -> dict[str, Any]:
    """Return the `data` of a BALANCE notice; status 2 is success."""
    return {
        "downloadType": "Balance",
        "downloadId": int(report.download_id),
        "userId": int(report.merchant_id),
        "status": "2",
        "downloadLink": url,
        "expirationTimestamp": expires_ms,
        "createTime": str(report.requested_ms),
    }


def envelope(
    *, biz_type: str, biz_status: str, biz_id: str, data: object, has_id_text: bool = True
) -> bytes:
    """Return a webhook's body; `bizId` is a number beyond what a double can hold."""
    body: dict[str, Any] = {"bizType": biz_type, "data": to_json(data).decode()}
    if has_id_text:
        body["bizIdStr"] = biz_id
    return to_json(body | {"bizId": int(biz_id), "bizStatus": biz_status})
