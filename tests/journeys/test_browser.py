"""A person buys: the demo as its own process, and the system's browser at desk and phone size."""

import asyncio
import io
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

SCREENS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    names = (os.environ.get("CHECKSTAND_TEST_CHROMIUM", ""), "chromium", "chromium-browser")
    found = next(filter(None, map(shutil.which, (*names, "google-chrome"))), None)
    assert found, "no Chromium: install one or name it in CHECKSTAND_TEST_CHROMIUM"
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield chromium
        await chromium.close()


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The demo as a person starts it; yields the addresses it prints."""
    ports = ("--port", "0", "--simulator-port", "0", "--shop-port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "checkstand",
        "demo",
        *ports,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    printed: dict[str, str] = {}
    while "Ctrl-C" not in printed:
        line = (await process.stdout.readline()).decode()
        assert line or process.returncode is None, "the demo ended"
        for name in ("Checkout page", "The shop says", "Ctrl-C"):
            if name in line:
                printed[name] = line.split()[-1]
    yield printed
    process.terminate()
    assert await process.wait() == 0
    assert list(tmp_path.iterdir()) == []  # nothing is kept


@pytest.mark.parametrize("screen", SCREENS)
async def test_person_pays_and_sees_the_page_turn_to_paid(
    browser: Browser, demo: dict[str, str], screen: str
) -> None:
    context = await browser.new_context(**SCREENS[screen])
    complaints: list[str] = []
    context.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    checkout = await context.new_page()
    await checkout.goto(demo["Checkout page"])
    await expect(checkout.get_by_role("heading", level=1)).to_contain_text("12.50 USDT")
    assert "12.50" in await checkout.title()

    if screen == "phone":
        app = checkout.get_by_role("link", name="Open Binance app")
        wallet_url = await app.get_attribute("href")
        await checkout.get_by_text("Show the code to scan").click()
        assert await _code_on(checkout)
    else:
        wallet_url = await _code_on(checkout)
    wallet = await context.new_page()
    await wallet.goto(str(wallet_url))
    await wallet.get_by_role("button", name="Pay").click()
    await expect(wallet.get_by_text("Paid. The shop is being told.")).to_be_visible()

    await expect(checkout.get_by_role("heading", name="Paid, thank you")).to_be_visible(
        timeout=15_000
    )
    assert re.match("Paid", await checkout.title())
    shop = await context.new_page()
    await shop.goto(demo["The shop says"])
    await expect(shop.get_by_text("fulfilled").first).to_be_visible(timeout=15_000)
    assert complaints == []
    await context.close()


async def _code_on(page: Page) -> str:
    """Read the payment code from a screenshot, as a phone's camera would."""
    shot = Image.open(io.BytesIO(await page.screenshot(full_page=True)))
    codes = zxingcpp.read_barcodes(shot)
    assert len(codes) == 1
    return codes[0].text
