"""The checkout in a real browser: what a shopper sees, hears, presses and scans."""

import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
import zxingcpp
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, expect

from checkstand.web.checkout.view import CheckoutState
from checkstand.web.checkout.wording import Wording

pytestmark = pytest.mark.asyncio(loop_scope="session")

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
CODE = "https://app.binance.test/qr/dplk0123456789abcdef0123456789abcdef"

#: A page, and the complaints the browser made about it so far.
OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def complaints() -> list[str]:
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    browser: Browser, checkout_url: str, complaints: list[str]
) -> AsyncIterator[OpenPage]:
    """Give a function that opens the checkout in a fresh context, and complains at the end."""
    contexts: list[BrowserContext] = []

    async def open_it(url: str = checkout_url, **options: Any) -> Page:
        context = await browser.new_context(**(DESK | options))
        contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        return page

    yield open_it
    for context in contexts:
        await context.close()
    assert complaints == []


async def codes_on(page: Page) -> list[str]:
    shot = Image.open(io.BytesIO(await page.screenshot(full_page=True)))
    return [code.text for code in zxingcpp.read_barcodes(shot)]


@asynccontextmanager
async def going_wrong(complaints: list[str]) -> AsyncIterator[None]:
    """Expect failed requests in here; the browser reports each of them."""
    before = list(complaints)
    yield
    assert all("Failed to load resource" in said for said in complaints[len(before) :])
    complaints[:] = before


@pytest.mark.parametrize(
    "looks",
    [
        DESK,
        DESK | {"color_scheme": "dark"},
        DESK | {"forced_colors": "active", "color_scheme": "dark"},
        PHONE,
        PHONE | {"color_scheme": "dark"},
        PHONE | {"viewport": {"width": 320, "height": 640}},
    ],
    ids=["desk", "desk-dark", "desk-forced-colours", "phone", "phone-dark", "phone-small"],
)
async def test_code_on_the_screen_can_be_scanned(looks: Any, open_page: OpenPage) -> None:
    page = await open_page(**looks)
    if looks.get("is_mobile"):
        await page.get_by_text("Show the code to scan").tap()

    assert await codes_on(page) == [CODE]


async def test_printed_code_can_be_scanned(open_page: OpenPage) -> None:
    page = await open_page(color_scheme="dark")
    await page.emulate_media(media="print")

    assert await codes_on(page) == [CODE]


async def test_desk_leads_with_the_code_and_phone_with_the_button(open_page: OpenPage) -> None:
    desk = await open_page()
    phone = await open_page(**PHONE)

    code = await desk.locator(".plate").bounding_box()
    button = await desk.locator("#app").bounding_box()
    assert code
    assert button
    assert code["y"] < button["y"]
    await expect(phone.locator(".plate")).to_be_hidden()
    await expect(phone.get_by_role("link", name="Open Binance app")).to_be_in_viewport()
    await expect(desk.get_by_role("link", name="Open Binance app")).to_be_visible()
    await expect(desk.get_by_role("img", name=re.compile("QR code: pay 12.50"))).to_be_visible()


@pytest.mark.parametrize("state", CheckoutState)
async def test_every_state_is_shown_without_a_complaint_or_a_stranger(
    state: CheckoutState, fake_checkouts: Any, open_page: OpenPage
) -> None:
    fake_checkouts.become(state, is_simulated=True)
    page = await open_page()
    strangers: list[str] = []
    violations = """new Promise((done) => {
        const seen = [];
        document.addEventListener("securitypolicyviolation", (v) => seen.push(v.violatedDirective));
        setTimeout(() => done(seen), 300);
    })"""
    page.on("request", lambda asked: strangers.append(asked.url))

    await page.reload()

    assert await page.evaluate(violations) == []
    assert {url.split("/checkout/")[0] for url in strangers} == {page.url.split("/checkout/")[0]}


async def test_whole_page_weighs_at_most_30_kb(open_page: OpenPage) -> None:
    page = await open_page()
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url) if answer.ok else None)
    await page.reload()
    await page.wait_for_load_state("networkidle")

    # Weighed by asking again: the browser forgets what it loaded before the page.
    sizes = {
        url.rsplit("/", 1)[1]: len(await (await page.context.request.get(url)).body())
        for url in loaded
    }
    assert len(sizes) >= 4
    assert sum(sizes.values()) <= 30_000


async def test_open_page_turns_to_paid_by_itself(fake_checkouts: Any, open_page: OpenPage) -> None:
    page = await open_page()
    await expect(page).to_have_title(re.compile("^Waiting"))

    fake_checkouts.become(CheckoutState.PAID)

    heading = page.get_by_role("heading", name="Paid, thank you")
    await expect(heading).to_be_focused(timeout=10_000)
    await expect(page).to_have_title(re.compile("^Paid · 12.50 USDT"))
    await expect(page.locator("#live")).to_have_text("Paid, thank you")
    await expect(page.locator(".qr")).to_have_count(0)
    await expect(page.get_by_role("link", name="Back to Blue Kettle Coffee")).to_have_attribute(
        "href", "https://shop.example/thanks"
    )


async def test_money_to_be_sorted_out_is_said_at_once(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    page = await open_page()

    fake_checkouts.become(CheckoutState.SORTING)

    await expect(page.get_by_role("alert")).to_contain_text("sorting it out", timeout=10_000)


async def test_code_appears_when_it_is_there(fake_checkouts: Any, open_page: OpenPage) -> None:
    ready = fake_checkouts.view
    fake_checkouts.become(CheckoutState.PREPARING)
    page = await open_page()
    await expect(page.get_by_role("heading", name="Getting your code ready")).to_be_visible()

    fake_checkouts.view = ready

    await expect(page.locator(".plate")).to_be_visible(timeout=10_000)
    assert await codes_on(page) == [CODE]


async def test_paid_page_stops_asking(fake_checkouts: Any, open_page: OpenPage) -> None:
    fake_checkouts.become(CheckoutState.PAID)
    page = await open_page()
    await page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    await page.wait_for_timeout(2_500)  # longer than the quickest pace

    assert asked == []


async def test_shopper_presses_i_have_paid_and_is_answered_in_place(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    page = await open_page()
    address = page.url

    await page.get_by_role("button", name="I’ve paid").click()

    await expect(page.locator(".notice").first).to_contain_text("Not confirmed yet.")
    await expect(page.locator("#live")).to_contain_text("Not confirmed yet.")
    assert fake_checkouts.acts == ["check"]
    assert page.url == address
    await expect(page.get_by_role("button", name="I’ve paid")).to_be_focused()


async def test_shopper_cancels_after_being_asked_once(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    page = await open_page()
    await expect(page.get_by_role("button", name="Yes, cancel it")).to_be_hidden()

    await page.get_by_text("Cancel this payment").click()
    await page.get_by_role("button", name="Yes, cancel it").click()
    await expect(page.locator(".notice").first).to_contain_text("We are cancelling this payment.")
    fake_checkouts.become(CheckoutState.CANCELLED)

    await expect(page.get_by_role("heading", name="You were not charged")).to_be_visible(
        timeout=10_000
    )
    assert fake_checkouts.acts == ["cancel"]


async def test_expired_code_is_renewed_in_place(fake_checkouts: Any, open_page: OpenPage) -> None:
    ready = fake_checkouts.view
    fake_checkouts.become(CheckoutState.CODE_EXPIRED)
    page = await open_page()

    await page.get_by_role("button", name="Get a new code").click()
    await expect(page.locator("#act-renew")).not_to_have_attribute("aria-disabled", "true")
    fake_checkouts.view = ready

    await expect(page.locator(".plate")).to_be_visible(timeout=20_000)
    assert fake_checkouts.acts == ["renew"]


async def test_act_refused_for_haste_is_explained_in_place(
    fake_checkouts: Any, open_page: OpenPage, complaints: list[str]
) -> None:
    page = await open_page()
    button = page.get_by_role("button", name="I’ve paid")
    async with going_wrong(complaints):
        for _ in range(13):
            async with page.expect_response(re.compile("/check$")):
                await button.click()

        await expect(page.locator(".notice").first).to_contain_text(
            "Wait a minute, then try again."
        )


async def test_lost_connection_is_admitted_and_forgotten_when_it_returns(
    open_page: OpenPage, complaints: list[str]
) -> None:
    page = await open_page()
    await expect(page.locator("#lost")).to_be_hidden()
    async with going_wrong(complaints):
        await page.context.set_offline(True)
        await expect(page.locator("#lost")).to_be_visible(timeout=15_000)
        await expect(page.locator("#live")).to_contain_text("Your payment is not affected.")
        await page.context.set_offline(False)

        await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    await expect(page.locator("#live")).to_have_text("Connected again")


async def test_server_in_trouble_is_a_lost_connection_too(
    fake_checkouts: Any, open_page: OpenPage, complaints: list[str]
) -> None:
    page = await open_page()
    async with going_wrong(complaints):
        fake_checkouts.away = True
        await expect(page.locator("#lost")).to_be_visible(timeout=15_000)
        fake_checkouts.away = False

        await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    await expect(page.locator(".plate")).to_be_visible()


async def test_page_restored_from_memory_asks_before_it_shows_the_code(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    page = await open_page()
    await expect(page.locator(".plate")).to_be_visible()

    fake_checkouts.become(CheckoutState.PAID)
    shown = await page.evaluate(
        """() => {
            dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
            return document.querySelector(".plate").checkVisibility({ visibilityProperty: true });
        }"""
    )

    assert shown is False
    await expect(page.get_by_role("heading", name="Paid, thank you")).to_be_visible()


@pytest.mark.parametrize("days", [-1, 1])
async def test_countdown_does_not_believe_the_device_clock(
    days: int, fake_checkouts: Any, browser: Browser, checkout_url: str
) -> None:
    now = fake_checkouts.view.now
    fake_checkouts.become(code_expires_at=now + timedelta(seconds=299))
    context = await browser.new_context(**DESK)
    page = await context.new_page()
    await page.clock.set_fixed_time(now + timedelta(days=days))

    await page.goto(checkout_url)

    await expect(page.get_by_role("timer")).to_have_text(re.compile(r"^4:5\d$"))
    await context.close()


async def test_countdown_is_quiet_until_the_last_minutes(open_page: OpenPage) -> None:
    page = await open_page()

    await expect(page.get_by_text("Pay before")).to_be_visible()
    await expect(page.locator("#countdown")).to_be_hidden()
    await expect(page.locator("#extend")).to_be_hidden()


async def test_last_minute_is_announced_and_a_new_code_offered(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    ends = fake_checkouts.view.now + timedelta(seconds=62)
    fake_checkouts.become(code_expires_at=ends)

    page = await open_page()

    await expect(page.get_by_role("button", name="Get a new code")).to_be_visible()
    await expect(page.locator("#live")).to_have_text("1 minute left to pay", timeout=10_000)


async def test_times_are_shown_in_the_shoppers_zone_and_utc_stays_at_hand(
    open_page: OpenPage,
) -> None:
    page = await open_page(timezone_id="Asia/Kolkata")

    await expect(page.locator(".ends time")).to_have_text(re.compile("2:33"))
    await expect(page.locator(".ends time")).to_have_attribute(
        "title", "21:03 UTC on 23 November 2026"
    )


async def test_copying_gives_digits_and_says_so(open_page: OpenPage) -> None:
    page = await open_page(permissions=["clipboard-read", "clipboard-write"])

    await page.get_by_role("button", name="Copy amount, digits only").click()

    await expect(page.locator("#copy-amount")).to_have_text("Copied")
    await expect(page.locator("#live")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "12.50000000"
    await expect(page.locator("#copy-amount")).to_have_text("Copy")


async def test_copying_without_permission_selects_the_text(open_page: OpenPage) -> None:
    page = await open_page()
    await page.evaluate("void (navigator.clipboard.writeText = async () => { throw 'no'; })")

    await page.get_by_role("button", name="Copy reference").click()

    await expect(page.locator("#live")).to_contain_text("Selected.")
    assert await page.evaluate("getSelection().toString()") == "kettle-1042"


async def test_everything_can_be_reached_and_pressed_by_keyboard(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    page = await open_page()
    where = "document.activeElement.id || document.activeElement.parentElement?.id"
    reached = []
    for _ in range(12):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate(where))

    order = [name for name in reached if name]
    assert order[:6] == [
        "copy-amount",
        "app",
        "act-check",
        "trouble",
        "cancel-fold",
        "copy-reference",
    ]
    await page.locator("#cancel-fold summary").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    await page.keyboard.press("Enter")
    await expect(page.locator(".notice").first).to_contain_text("We are cancelling this payment.")
    assert outline == "3px"
    assert fake_checkouts.acts == ["cancel"]


@pytest.mark.parametrize(("looks", "number"), [(DESK, 6), (PHONE, 7)], ids=["desk", "phone"])
async def test_main_actions_are_big_enough_to_hit(
    looks: Any, number: int, open_page: OpenPage
) -> None:
    page = await open_page(**looks)

    targets = page.locator("a.button:visible, button:visible, summary:visible")
    await expect(targets).to_have_count(number)
    for target in await targets.all():
        box = await target.bounding_box()
        assert box
        assert box["height"] >= 44
        assert box["width"] >= 44


@pytest.mark.parametrize("outcome", ["check", "cancel", "refused"])
async def test_notice_leaves_the_desk_in_order(
    outcome: str, checkout_url: str, open_page: OpenPage
) -> None:
    page = await open_page(f"{checkout_url}?outcome={outcome}")

    notice = await page.locator(".notice").first.bounding_box()
    code = await page.locator(".plate").bounding_box()
    button = await page.locator("#act-check").bounding_box()
    assert notice
    assert code
    assert button
    assert notice["width"] == button["width"] > code["width"]
    assert await codes_on(page) == [CODE]


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
async def test_narrow_phone_never_scrolls_sideways(
    direction: Any, fake_checkouts: Any, serve_checkout: Any, open_page: OpenPage
) -> None:
    mirrored = Wording(language="en", direction=direction, translate=lambda message: message)
    base = await serve_checkout(mirrored)
    fake_checkouts.become(
        reference="W" * 128,
        merchant_name="متجر القهوة " + "M" * 120,
        amount=Decimal("123456789012345.12345678"),
    )

    page = await open_page(
        f"{base}/checkout/{fake_checkouts.token}",
        **PHONE | {"viewport": {"width": 320, "height": 640}},
    )
    folds = page.locator("summary")
    await expect(folds).to_have_count(3)
    for fold in await folds.all():
        await fold.tap()

    beyond = "e => e.getBoundingClientRect().right > 320 || e.getBoundingClientRect().left < 0"
    assert (
        await page.evaluate(
            f"[...document.body.querySelectorAll('*')].filter({beyond}).map(e => e.outerHTML)"
        )
        == []
    )
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    assert await codes_on(page) == [CODE]


async def test_without_script_everything_works(fake_checkouts: Any, open_page: OpenPage) -> None:
    page = await open_page(java_script_enabled=False)

    assert await codes_on(page) == [CODE]
    await expect(page.locator("noscript p")).to_be_visible()  # text search skips noscript
    await expect(page.locator("#copy-amount")).to_be_hidden()
    await expect(page.get_by_text("Pay before 21:03 UTC on 23 November 2026.")).to_be_visible()
    await page.get_by_role("button", name="I’ve paid").click()
    await expect(page.locator(".notice").first).to_contain_text("Not confirmed yet.")
    await page.get_by_text("Cancel this payment").click()
    await page.get_by_role("button", name="Yes, cancel it").click()
    await expect(page.locator(".notice").first).to_contain_text("We are cancelling this payment.")
    fake_checkouts.become(CheckoutState.PAID)
    await page.reload()
    await expect(page.get_by_role("heading", name="Paid, thank you")).to_be_visible()
    assert fake_checkouts.acts == ["check", "cancel"]


async def test_without_script_an_expired_code_is_renewed(
    fake_checkouts: Any, open_page: OpenPage
) -> None:
    fake_checkouts.become(CheckoutState.CODE_EXPIRED)
    page = await open_page(java_script_enabled=False)

    await page.get_by_role("button", name="Get a new code").click()
    await page.wait_for_url(re.compile("outcome=renew"))

    assert fake_checkouts.acts == ["renew"]


async def test_phone_without_script_unfolds_the_code(open_page: OpenPage) -> None:
    page = await open_page(**PHONE, java_script_enabled=False)
    await expect(page.locator(".plate")).to_be_hidden()

    await page.get_by_text("Show the code to scan").tap()

    assert await codes_on(page) == [CODE]
