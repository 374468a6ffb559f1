"""Batches of payouts: accepted, then taken line by line out of the wallets, then ended.

Nothing documents the steps between; here a line fails if its wallet is short, or by a fault.
Receivers are not looked up, except that a payer of this simulator gets the money.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from checkstand.simulator import amounts
from checkstand.simulator.accounts import (
    BatchStatus,
    EntryKind,
    LineStatus,
    Payout,
    PayoutLine,
    Purse,
    Wallet,
)
from checkstand.simulator.faults import Stage, Target
from checkstand.simulator.notices import payout_data
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.wallets import book, funding
from checkstand.simulator.world import World

Body = Mapping[str, Any]
_UNDER_WAY = frozenset({BatchStatus.ACCEPTED, BatchStatus.PROCESSING})


def transfer(world: World, merchant: Merchant, body: Body) -> object:
    """Accept a batch; the same request id again is the same batch (a guess)."""
    key = (merchant.merchant_id, body["requestId"])
    if key not in world.store.payouts:
        _check_sums(world, body)
        accepted = _read(world, merchant, body)
        world.store.payouts[key] = accepted
        rearm(world, accepted)
    return {"requestId": body["requestId"], "status": BatchStatus.ACCEPTED}


def query(world: World, merchant: Merchant, body: Body) -> object:
    """Say how a batch and its lines stand."""
    found = world.store.payouts.get((merchant.merchant_id, body["requestId"]))
    if found is None:
        raise Rejection("400202")  # no code for an unknown payout is documented
    asked = frozenset(body.get("detailStatus", ("ALL",)))
    lines = [each for each in found.lines if asked & {"ALL", each.status}]
    return {
        "requestId": found.request_id,
        "batchStatus": found.status,
        "merchantId": int(found.merchant_id),
        "currency": found.currency,
        "totalAmount": amounts.as_number(found.total_amount),
        "totalNumber": len(found.lines),
        "transferDetailList": [_described(found, each) for each in lines],
    }


def rearm(world: World, waiting: Payout) -> None:
    """Set the timer of a batch that is under way."""
    if waiting.status in _UNDER_WAY:
        key = (waiting.merchant_id, waiting.request_id)
        world.clock.call_at(waiting.due_ms, partial(_step, world, key))


def _check_sums(world: World, body: Body) -> None:
    lines = body["transferDetailList"]
    if body["currency"] not in world.settings.currencies:
        raise Rejection("400102", "currency")
    if len(lines) > world.settings.payout_lines_max:
        raise Rejection("400101", "transferDetailList")
    if body["totalNumber"] != len(lines):
        raise Rejection("400102", "totalNumber")
    if body["totalAmount"] != sum((each["transferAmount"] for each in lines), Decimal()):
        raise Rejection("400102", "totalAmount")


def _read(world: World, merchant: Merchant, body: Body) -> Payout:
    now_ms = world.clock.now_ms()
    lines = tuple(
        PayoutLine(
            order_id=world.store.next_id(now_ms),
            merchant_send_id=each["merchantSendId"],
            receive_type=each["receiveType"],
            receiver=each["receiver"],
            payee_id=_payee_id(world, each["receiver"]),
            amount=each["transferAmount"],
            wallet=Wallet(each["transferMethod"]),
            remark=each.get("remark"),
        )
        for each in body["transferDetailList"]
    )
    return Payout(
        merchant_id=merchant.merchant_id,
        request_id=body["requestId"],
        payout_id=world.store.next_id(now_ms),
        name=body["batchName"],
        currency=body["currency"],
        total_amount=body["totalAmount"],
        lines=lines,
        webhook_url=body.get("webhookUrl"),
        requested_ms=now_ms,
        due_ms=now_ms + world.settings.payout_delay_ms,
    )


def _payee_id(world: World, receiver: str) -> str:
    """Return a payer's own id, or a stable made-up one."""
    if receiver in world.store.payers:
        return receiver
    return str(200_000_000 + int(hashlib.sha256(receiver.encode()).hexdigest()[:6], 16))


def _step(world: World, key: tuple[str, str]) -> None:
    """Go on with a batch: take the money first, then end it and tell the merchant."""
    payout = world.store.payouts[key]
    if payout.status is BatchStatus.ACCEPTED:
        lines = tuple(_take(world, payout, each) for each in payout.lines)
        due_ms = payout.due_ms + world.settings.payout_delay_ms
        payout = replace(payout, status=BatchStatus.PROCESSING, lines=lines, due_ms=due_ms)
        world.store.payouts[key] = payout
        rearm(world, payout)
        return
    lines = tuple(_end(world, payout, each) for each in payout.lines)
    payout = replace(payout, status=_result(lines), lines=lines)
    world.store.payouts[key] = payout
    world.postman.tell(
        merchant_id=payout.merchant_id,
        biz_type="PAYOUT",
        biz_status=payout.status,
        biz_id=payout.payout_id,
        data=payout_data(payout),
        url=payout.webhook_url,
    )


def _take(world: World, payout: Payout, line: PayoutLine) -> PayoutLine:
    purse = Purse(payout.merchant_id, line.wallet, payout.currency)
    if world.store.balances[purse] < line.amount:
        return replace(line, status=LineStatus.FAIL)
    book(world, purse, -line.amount, kind=EntryKind.PAYOUT, reference=payout.request_id)
    return replace(line, is_taken=True)


def _end(world: World, payout: Payout, line: PayoutLine) -> PayoutLine:
    if line.status is not LineStatus.PROCESSING:
        return line
    reference = payout.request_id
    if any(world.faults.draw(Stage.PAYOUT, Target(merchant_id=payout.merchant_id))):
        purse = Purse(payout.merchant_id, line.wallet, payout.currency)
        book(world, purse, line.amount, kind=EntryKind.PAYOUT_BACK, reference=reference)
        return replace(line, status=LineStatus.FAIL)
    if line.payee_id in world.store.payers:
        purse = funding(line.payee_id, payout.currency)
        book(world, purse, line.amount, kind=EntryKind.PAYOUT, reference=reference)
    return replace(line, status=LineStatus.SUCCESS)


def _result(lines: tuple[PayoutLine, ...]) -> BatchStatus:
    succeeded = [each.status is LineStatus.SUCCESS for each in lines]
    if all(succeeded):
        return BatchStatus.SUCCESS
    return BatchStatus.PART_SUCCESS if any(succeeded) else BatchStatus.FAILED


def _described(payout: Payout, line: PayoutLine) -> dict[str, Any]:
    return {
        "orderId": int(line.order_id),
        "merchantSendId": line.merchant_send_id,
        "payerId": int(payout.merchant_id),
        "amount": amounts.as_sent(line.amount),
        "receiveType": line.receive_type,
        "receiver": line.receiver,
        "payeeId": int(line.payee_id),
        "transferMethod": line.wallet,
        "status": line.status,
        "remark": line.remark or "",
    }
