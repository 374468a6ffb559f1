# Generated from orders.py by scripts/generate_sync_client.py: change that file and run this.
"""Orders: create, query, close; each in its newest version, and the older ones still served."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import (
    CLOSE_ORDER,
    CREATE_ORDER,
    CREATE_ORDER_V1,
    CREATE_ORDER_V2,
    QUERY_ORDER,
    QUERY_ORDER_V1,
)
from checkstand.binance.exchange import CallOptions
from checkstand.binance.idempotency import number_for
from checkstand.binance.messages import (
    CloseOrder,
    CreatedOrder,
    CreatedOrderV1,
    CreateOrder,
    CreateOrderV1,
    CreateOrderV2,
    QueriedOrder,
    QueryOrder,
)
from checkstand.binance.order_parts import (
    Buyer,
    Environment,
    Goods,
    OrderTags,
    Shipping,
    SubMerchant,
)
from checkstand.binance.raw_sync import RawCaller, as_raw
from checkstand.binance.wire import amount_to_send, milliseconds, optional_amount


class Orders:
    """`client.orders`"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "RawOrders":
        """The same calls, each result beside its response."""
        return RawOrders(self._caller)

    def create(
        self,
        *,
        merchant_trade_no: str | None = None,
        description: str,
        goods_details: Sequence[Goods],
        order_amount: Decimal | str | None = None,
        currency: str | None = None,
        fiat_amount: Decimal | str | None = None,
        fiat_currency: str | None = None,
        terminal_type: str = "WEB",
        os_type: str | None = None,
        order_client_ip: str | None = None,
        cookie_id: str | None = None,
        shipping: Shipping | None = None,
        buyer: Buyer | None = None,
        return_url: str | None = None,
        cancel_url: str | None = None,
        expires_at: datetime | None = None,
        support_pay_currency: str | None = None,
        app_id: str | None = None,
        universal_url_attach: str | None = None,
        pass_through_info: str | None = None,
        webhook_url: str | None = None,
        order_tags: OrderTags | None = None,
        voucher_code: str | None = None,
        qr_code_refer_id: str | None = None,
        sub_merchant_id: str | None = None,
        options: CallOptions | None = None,
    ) -> CreatedOrder:
        """Open an order (v3), priced in a coin or in fiat.

        It is never sent again once it may have arrived. After `outcome_unknown`, query the same
        `merchant_trade_no`; after `DuplicateRequest` too, and compare before calling it yours.
        """
        request = CreateOrder(
            env=Environment(
                terminal_type=terminal_type,
                os_type=os_type,
                order_client_ip=order_client_ip,
                cookie_id=cookie_id,
            ),
            merchant_trade_no=number_for(CREATE_ORDER.number, merchant_trade_no, options),
            description=description,
            goods_details=tuple(goods_details),
            merchant=_merchant(sub_merchant_id),
            order_amount=optional_amount(order_amount, "order_amount"),
            currency=currency,
            fiat_amount=optional_amount(fiat_amount, "fiat_amount"),
            fiat_currency=fiat_currency,
            shipping=shipping,
            buyer=buyer,
            return_url=return_url,
            cancel_url=cancel_url,
            order_expire_time=_expiry(expires_at),
            support_pay_currency=support_pay_currency,
            app_id=app_id,
            universal_url_attach=universal_url_attach,
            pass_through_info=pass_through_info,
            webhook_url=webhook_url,
            order_tags=order_tags,
            voucher_code=voucher_code,
            qr_code_refer_id=qr_code_refer_id,
        )
        return self._caller.call(CREATE_ORDER, request, options)

    def create_v2(
        self,
        *,
        merchant_trade_no: str | None = None,
        goods: Goods,
        order_amount: Decimal | str | None = None,
        currency: str | None = None,
        fiat_amount: Decimal | str | None = None,
        fiat_currency: str | None = None,
        env: Environment,
        shipping: Shipping | None = None,
        buyer: Buyer | None = None,
        return_url: str | None = None,
        cancel_url: str | None = None,
        expires_at: datetime | None = None,
        support_pay_currency: str | None = None,
        app_id: str | None = None,
        pass_through_info: str | None = None,
        webhook_url: str | None = None,
        sub_merchant_id: str | None = None,
        options: CallOptions | None = None,
    ) -> CreatedOrder:
        """Open an order of one article as v2 did. It works, and is to be withdrawn."""
        request = CreateOrderV2(
            env=env,
            merchant_trade_no=number_for(CREATE_ORDER_V2.number, merchant_trade_no, options),
            goods=goods,
            merchant=_merchant(sub_merchant_id),
            order_amount=optional_amount(order_amount, "order_amount"),
            currency=currency,
            fiat_amount=optional_amount(fiat_amount, "fiat_amount"),
            fiat_currency=fiat_currency,
            shipping=shipping,
            buyer=buyer,
            return_url=return_url,
            cancel_url=cancel_url,
            order_expire_time=_expiry(expires_at),
            support_pay_currency=support_pay_currency,
            app_id=app_id,
            pass_through_info=pass_through_info,
            webhook_url=webhook_url,
        )
        return self._caller.call(CREATE_ORDER_V2, request, options)

    def create_v1(
        self,
        *,
        merchant_trade_no: str | None = None,
        trade_type: str,
        total_fee: Decimal | str,
        currency: str,
        product_name: str,
        product_type: str | None = None,
        product_detail: str | None = None,
        return_url: str | None = None,
        cancel_url: str | None = None,
        expires_at: datetime | None = None,
        sub_merchant_id: str | None = None,
        options: CallOptions | None = None,
    ) -> CreatedOrderV1:
        """Open an order in the flat form of v1, which is deprecated."""
        request = CreateOrderV1(
            merchant_trade_no=number_for(CREATE_ORDER_V1.number, merchant_trade_no, options),
            trade_type=trade_type,
            total_fee=amount_to_send(total_fee, "total_fee"),
            currency=currency,
            product_name=product_name,
            product_type=product_type,
            product_detail=product_detail,
            return_url=return_url,
            cancel_url=cancel_url,
            order_expire_time=_expiry(expires_at),
            sub_merchant_id=sub_merchant_id,
        )
        return self._caller.call(CREATE_ORDER_V1, request, options)

    def query(
        self,
        *,
        merchant_trade_no: str | None = None,
        prepay_id: str | None = None,
        options: CallOptions | None = None,
    ) -> QueriedOrder:
        """Ask what became of an order (v2). Raises NotFound where Binance knows none."""
        request = QueryOrder(merchant_trade_no=merchant_trade_no, prepay_id=prepay_id)
        return self._caller.call(QUERY_ORDER, request, options)

    def query_v1(
        self,
        *,
        merchant_trade_no: str | None = None,
        prepay_id: str | None = None,
        options: CallOptions | None = None,
    ) -> QueriedOrder:
        """Ask as v1 did; its answer has no `pass_through_info`."""
        request = QueryOrder(merchant_trade_no=merchant_trade_no, prepay_id=prepay_id)
        return self._caller.call(QUERY_ORDER_V1, request, options)

    def close(
        self,
        *,
        merchant_trade_no: str | None = None,
        prepay_id: str | None = None,
        options: CallOptions | None = None,
    ) -> bool:
        """Ask Binance to close an unpaid order. True is "accepted", not "closed": query it.

        Raises OrderStatusConflict where it was paid or is being paid.
        """
        request = CloseOrder(merchant_trade_no=merchant_trade_no, prepay_id=prepay_id)
        return self._caller.call(CLOSE_ORDER, request, options)


class RawOrders:
    """`client.orders.with_raw_response`"""

    def __init__(self, caller: Caller) -> None:
        orders = Orders(RawCaller(caller))
        self.create = as_raw(orders.create)
        self.create_v2 = as_raw(orders.create_v2)
        self.create_v1 = as_raw(orders.create_v1)
        self.query = as_raw(orders.query)
        self.query_v1 = as_raw(orders.query_v1)
        self.close = as_raw(orders.close)


def _merchant(sub_merchant_id: str | None) -> SubMerchant | None:
    return SubMerchant(sub_merchant_id=sub_merchant_id) if sub_merchant_id else None


def _expiry(at: datetime | None) -> int | None:
    return milliseconds(at, "expires_at") if at else None
