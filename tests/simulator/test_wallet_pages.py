"""The payer's page: every link leads to it, its buttons work without script, it hides nothing."""

import io
import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
import zxingcpp
from PIL import Image


async def show(shop: Any, url: str) -> str:
    reply = await shop.send("GET", url)
    assert reply.status == 200
    return str(reply.content.decode())


async def press(shop: Any, page: str, button: str, **fields: str) -> str:
    """Submit the form around a button, as a browser without script does."""
    forms = {
        name: action
        for action, name in re.findall(
            r'<form method="post" action="([^"]+)">(?:(?!</form>)[\s\S])*?'
            r"<button[^>]*>([^<]+)</button></form>",
            page,
        )
    }
    reply = await shop.send("POST", forms[button], urlencode(fields).encode())
    assert reply.status == 303
    return await show(shop, reply.headers["location"])


@pytest.mark.parametrize("link", ["checkoutUrl", "universalUrl", "qrContent"])
async def test_every_link_leads_to_the_order(shop: Any, link: str) -> None:
    created = await shop.create("T1", description="Order A0001", universalUrlAttach="&x=1")

    page = await show(shop, created[link])

    assert "12.5 USDT" in page
    assert "Order A0001" in page
    assert "Simulation." in page
    assert "No real money moves here" in page


async def test_code_behind_the_image_link_scans_to_the_page(shop: Any) -> None:
    created = await shop.create("T1")

    reply = await shop.send("GET", created["qrcodeLink"])

    assert reply.headers["content-type"] == "image/png"
    (code,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(reply.content)))
    assert code.text == created["qrContent"]


async def test_pay_pays_and_leads_back_to_the_shop(shop: Any, inbox: Any) -> None:
    created = await shop.create("T1", returnUrl="https://shop.example/ok?a=1&b=2")

    page = await press(shop, await show(shop, created["universalUrl"]), "Pay")
    await shop.simulator.control.settle()

    assert '<a href="https://shop.example/ok?a=1&amp;b=2">Back to the shop</a>' in page
    assert "<button" not in page
    assert (await shop.query("T1"))["status"] == "PAID"
    assert inbox.received[0].json["bizStatus"] == "PAY_SUCCESS"


async def test_cancel_leads_back_and_leaves_the_order_open(shop: Any) -> None:
    created = await shop.create("T1", cancelUrl="https://shop.example/no")
    shop.simulator.control.pending("T1")

    page = await press(shop, await show(shop, created["universalUrl"]), "Cancel")

    assert '<a href="https://shop.example/no">Back to the shop</a>' in page
    assert "You cancelled" in page
    assert (await shop.query("T1"))["status"] == "INITIAL"
    await press(shop, page, "Pay")
    assert (await shop.query("T1"))["status"] == "PAID"


@pytest.mark.parametrize(
    ("button", "status", "words"),
    [
        ("Let it lapse", "EXPIRED", "The time ran out"),
        ("Fail", "ERROR", "The payment failed"),
    ],
)
async def test_lapsing_and_failing_end_the_order(
    shop: Any, button: str, status: str, words: str
) -> None:
    created = await shop.create("T1")

    page = await press(shop, await show(shop, created["universalUrl"]), button)

    assert words in page
    assert (await shop.query("T1"))["status"] == status


async def test_button_pressed_too_late_shows_what_was_faster(shop: Any) -> None:
    created = await shop.create("T1")
    page = await show(shop, created["universalUrl"])
    await shop.simulator.control.advance(3600)

    late = await press(shop, page, "Pay")

    assert "The time ran out" in late
    assert (await shop.query("T1"))["status"] == "EXPIRED"


async def test_texts_are_escaped_and_script_addresses_are_no_links(shop: Any) -> None:
    created = await shop.create(
        "T1", description="<script>alert(1)</script>", returnUrl="javascript:alert(1)"
    )
    shop.simulator.control.pay("T1")

    page = await show(shop, created["checkoutUrl"])

    assert "<script" not in page
    assert "javascript:" not in page


async def test_pages_allow_no_script_and_nothing_from_elsewhere(shop: Any) -> None:
    created = await shop.create("T1")

    for url in ("/", "/wallet", created["checkoutUrl"], "/en/checkout/unknown"):
        reply = await shop.send("GET", url)
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self'")
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert b"style=" not in reply.content
        assert b"<script" not in reply.content
    style = await shop.send("GET", "/wallet/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert not re.search(rb"url\(|@import|(left|right|top|bottom):", style.content)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/en/checkout/unknown"),
        ("GET", "/payment/secpay"),
        ("GET", "/qr/dplkunknown"),
        ("GET", "/static/payment/20260101/unknown.png"),
        ("POST", "/wallet/unknown/pay"),
    ],
)
async def test_unknown_link_says_so(shop: Any, method: str, path: str) -> None:
    reply = await shop.send(method, path)

    assert reply.status == 404
    assert b"There is no order behind this link" in reply.content


async def test_unknown_act_does_nothing(shop: Any) -> None:
    created = await shop.create("T1")
    token = created["checkoutUrl"][-32:]

    assert (await shop.send("POST", f"/wallet/{token}/steal")).status == 404
    assert (await shop.send("GET", f"/wallet/{token}/pay")).status == 405
    assert (await shop.query("T1"))["status"] == "INITIAL"


async def test_front_page_lists_the_latest_orders(shop: Any) -> None:
    empty = await show(shop, "/")
    created = await shop.create(
        "T1", orderAmount=..., currency=..., fiatAmount=1, fiatCurrency="EUR"
    )

    page = await show(shop, "/")

    assert "None yet" in empty
    assert created["checkoutUrl"].removeprefix(shop.simulator.base_url) in page
    assert "1 EUR" in await show(shop, created["checkoutUrl"])


@pytest.mark.parametrize(
    "code", ["checkoutUrl", "universalUrl", "qrContent", "deeplink", "qrcodeLink", "prepayId"]
)
async def test_wallet_opens_every_code_an_order_has(shop: Any, code: str) -> None:
    created = await shop.create("T1", universalUrlAttach="&x=1")

    page = await press(shop, await show(shop, "/wallet"), "Open", code=f" {created[code]} ")

    assert "12.5 USDT" in page


@pytest.mark.parametrize("code", ["", "x", "https://shop.example/?a=" + "0" * 32, "9" * 5000])
async def test_wallet_says_when_there_is_no_order_behind_a_code(shop: Any, code: str) -> None:
    await shop.create("T1")

    reply = await shop.send("POST", "/wallet/open", urlencode({"code": code}).encode())

    assert reply.status == 404
    assert b'role="alert">There is no order behind this code.' in reply.content


async def test_payer_pays_with_a_chosen_coin_and_sees_it_go(shop: Any) -> None:
    created = await shop.create("T1", supportPayCurrency="USDT,BNB")
    before = await show(shop, created["checkoutUrl"])

    page = await press(shop, before, "Pay", coin="100000001:BNB")
    wallet = await show(shop, "/wallet")

    assert re.findall(r'<option value="100000001:(\w+)"', before) == ["USDT", "BNB"]
    assert "0.02083334 BNB of 100000" in before
    assert "Out of the wallet: <bdi>0.02083334 BNB</bdi>" in page
    assert '<th scope="row">BNB</th><td><bdi>99999.97916666</bdi></td>' in wallet
    assert "payment: <bdi>-0.02083334 BNB</bdi>" in wallet
    assert shop.simulator.control.balance("900000001", "USDT") == Decimal("12.375")


async def test_coin_there_is_too_little_of_cannot_be_chosen(shop: Any) -> None:
    shop.simulator.control.set_balance("100000001", "USDT", "12.49")
    created = await shop.create("T1", supportPayCurrency="USDT,BNB")

    before = await show(shop, created["checkoutUrl"])
    refused = await press(shop, before, "Pay", coin="100000001:USDT")
    unknown = await press(shop, before, "Pay", coin="5:BNB")
    untaken = await press(shop, before, "Pay", coin="100000001:BTC")

    assert '<option value="100000001:USDT" disabled>' in before
    for page in (refused, unknown, untaken):
        assert "Nothing was paid" in page
    assert (await shop.query("T1"))["status"] == "INITIAL"
    await press(shop, refused, "Pay", coin="100000001:BNB")
    assert (await shop.query("T1"))["status"] == "PAID"


async def test_refund_comes_back_to_the_wallet_that_paid(shop: Any) -> None:
    payer = {"payer_id": "100000002", "name": "Ada", "opening_balances": {"USDT": "20"}}
    await shop.control("POST", "/payers", payer)
    created = await shop.create("T1")
    page = await show(shop, created["checkoutUrl"])
    assert '<optgroup label="Ada">' in page

    await press(shop, page, "Pay", coin="100000002:USDT")
    shop.simulator.control.refund("T1", amount="2.5")

    assert shop.simulator.control.balance("100000002", "USDT") == Decimal(10)
    assert "<h2>Ada</h2>" in await show(shop, "/wallet")
