"""The wallet page in a real browser, on a phone and a desk: found by name, no console error."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    named = os.environ.get("CHECKSTAND_TEST_CHROMIUM", "")
    candidates = (named, "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    path = next(filter(None, map(shutil.which, filter(None, candidates))), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.mark.parametrize("width", [320, 1280])
async def test_payer_pays_with_the_button_by_its_name(
    shop: Any, browser: Browser, width: int
) -> None:
    created = await shop.create("T1", returnUrl="https://shop.example/ok")
    page = await browser.new_page(viewport={"width": width, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(request.url))

    await page.goto(f"{shop.simulator.base_url}/wallet")
    wallet_overflows = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    await page.get_by_label("Link, text of a QR code").fill(created["qrContent"])
    await page.get_by_role("button", name="Open").click()
    await page.get_by_label("Coin").select_option("100000001:BNB")
    names = [await each.inner_text() for each in await page.get_by_role("button").all()]
    heights = [await each.bounding_box() for each in await page.get_by_role("button").all()]
    overflows = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_text("Paid. The shop is being told.").wait_for()

    back = page.get_by_role("link", name="Back to the shop")
    assert await back.get_attribute("href") == "https://shop.example/ok"
    assert names == ["Pay", "Cancel", "Let it lapse", "Fail"]
    assert all(box and box["height"] >= 44 for box in heights)
    assert not overflows
    assert not wallet_overflows
    assert await page.get_by_text("0.02083334 BNB").is_visible()
    assert complaints == []
    assert (await shop.query("T1"))["status"] == "PAID"
