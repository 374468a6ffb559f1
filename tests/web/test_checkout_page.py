"""The checkout's routes over plain HTTP: every state, every word, every refusal."""

import json
import re
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from checkstand.web.checkout.page import ACTS_PER_MINUTE
from checkstand.web.checkout.view import CheckoutState
from checkstand.web.checkout.wording import Wording

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEADINGS = {
    CheckoutState.PREPARING: "Getting your code ready",
    CheckoutState.READY: "Pay Blue Kettle Coffee",
    CheckoutState.CHECKING: "Checking with Binance",
    CheckoutState.CODE_EXPIRED: "This code has expired. You were not charged",
    CheckoutState.PAID: "Paid, thank you",
    CheckoutState.EXPIRED: "This payment has expired. You were not charged",
    CheckoutState.CANCELLED: "Cancelled. You were not charged",
    CheckoutState.SORTING: "We received your payment and are sorting it out",
    CheckoutState.REFUNDED: "Your payment was refunded",
}
TITLES = {
    CheckoutState.PREPARING: "Waiting",
    CheckoutState.READY: "Waiting",
    CheckoutState.CHECKING: "Checking",
    CheckoutState.CODE_EXPIRED: "Code expired",
    CheckoutState.PAID: "Paid",
    CheckoutState.EXPIRED: "Expired",
    CheckoutState.CANCELLED: "Cancelled",
    CheckoutState.SORTING: "Being sorted out",
    CheckoutState.REFUNDED: "Refunded",
}
OUTCOMES = ("", "?outcome=check", "?outcome=renew", "?outcome=cancel", "?outcome=refused")
VOID = {"meta", "link", "input", "path", "circle", "rect", "br"}


class Page(HTMLParser):
    """The few facts about a page that these tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.unclosed: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.unclosed), data))

    def text(self, tag: str) -> str:
        """Join all text inside elements of that name."""
        found = "".join(data for path, data in self.texts if tag in path)
        return " ".join(found.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def form_token(self) -> str:
        return next(a["value"] or "" for a in self.all("input") if a["name"] == "form_token")


@pytest.mark.parametrize("state", CheckoutState)
async def test_every_state_renders_from_a_cold_url(
    state: CheckoutState, fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.become(state)

    answer = await ask_http(checkout_url)
    page = Page(answer.text)

    assert answer.status == 200
    assert page.text("h1").startswith(HEADINGS[state])
    assert page.text("title").startswith(f"{TITLES[state]} · 12.50 USDT")
    assert ('class="qr"' in answer.text) is (state is CheckoutState.READY)
    assert "kettle-1042" in page.text("footer")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("state", CheckoutState)
async def test_every_page_is_sound_html(
    state: CheckoutState, fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.become(
        state, is_simulated=True, fiat_amount=Decimal("11.90"), fiat_currency="EUR"
    )

    for outcome in OUTCOMES:
        assert_sound_html((await ask_http(checkout_url + outcome)).text)


def assert_sound_html(html: str) -> None:
    page = Page(html)
    ids = Counter(attrs["id"] for _, attrs in page.elements if "id" in attrs)

    assert not page.unclosed
    assert page.elements[0] == ("html", {"lang": "en", "dir": "ltr"})
    assert not [name for name, times in ids.items() if times > 1]
    assert {a["data-shown"] for a in page.all("button") if "data-shown" in a} <= set(ids)
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert all(a["type"] == "hidden" for a in page.all("input"))  # nothing that needs a label
    for _, attrs in page.elements:
        assert not [name for name in attrs if name == "style" or name.startswith("on")]
    assert all(a.get("src") for a in page.all("script"))
    assert not page.all("style")
    assert not [a for a in page.all("meta") if "http-equiv" in a]


async def test_unknown_token_is_told_so_without_a_trace_of_the_token(
    checkout_url: str, ask_http: Any
) -> None:
    base = checkout_url.rsplit("/", 1)[0]

    for odd in ("nobody-knows-this", "%00", "a%27b", "x" * 201, "%F0%9F%98%80"):
        answer = await ask_http(f"{base}/{odd}")
        status = await ask_http(f"{base}/{odd}/status")
        act = await ask_http(f"{base}/{odd}/check", method="POST")

        assert answer.status == 404
        assert Page(answer.text).text("h1") == "We do not know this payment"
        assert odd not in answer.text
        assert status.status == 404
        assert act.status in (403, 404)


async def test_page_may_be_kept_by_the_browser_but_is_asked_again(
    checkout_url: str, ask_http: Any
) -> None:
    headers = (await ask_http(checkout_url)).headers

    assert headers["cache-control"] == "private, no-cache"
    assert headers["referrer-policy"] == "no-referrer"
    assert "noindex" in headers["x-robots-tag"]


async def test_static_files_are_named_by_their_content(checkout_url: str, ask_http: Any) -> None:
    base = checkout_url.rsplit("/checkout/", 1)[0]
    page = Page((await ask_http(checkout_url)).text)
    paths = [a["href"] for a in page.all("link")] + [a["src"] for a in page.all("script")]

    for path in paths:
        answer = await ask_http(f"{base}{path}")
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert re.fullmatch(r"/checkout/static/checkout\.[0-9a-f]{12}\.css", paths[0] or "")
    assert (await ask_http(f"{base}/checkout/static/page.html")).status == 404
    assert (await ask_http(f"{base}/checkout/static/..%2Fpage.py")).status == 404


async def test_status_is_small_and_answers_304_while_nothing_changed(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    first = await ask_http(f"{checkout_url}/status")
    same = await ask_http(
        f"{checkout_url}/status", headers={"if-none-match": first.headers["etag"]}
    )
    weakened = await ask_http(
        f"{checkout_url}/status", headers={"if-none-match": f"W/{first.headers['etag']}"}
    )
    fake_checkouts.become(CheckoutState.PAID)
    changed = await ask_http(
        f"{checkout_url}/status", headers={"if-none-match": first.headers["etag"]}
    )

    told = json.loads(first.text)
    assert told == {
        "state": "ready",
        "version": 2,
        "fingerprint": told["fingerprint"],
        "next_delay_ms": 2000,
        "seconds_left": 3510,
        "now": "2026-11-23T20:05:00Z",
    }
    assert len(first.text) < 200
    assert (same.status, same.text) == (304, "")
    assert weakened.status == 304  # a proxy that compresses weakens the tag
    assert changed.status == 200
    assert json.loads(changed.text)["next_delay_ms"] is None


async def test_page_and_status_agree_on_the_fingerprint(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    for state in CheckoutState:
        fake_checkouts.become(state)
        told = json.loads((await ask_http(f"{checkout_url}/status")).text)
        page = Page((await ask_http(checkout_url)).text)

        assert page.all("main")[0]["data-fingerprint"] == told["fingerprint"]


async def test_new_code_of_the_same_version_changes_the_fingerprint(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    before = json.loads((await ask_http(f"{checkout_url}/status")).text)
    ends = fake_checkouts.view.code_expires_at + timedelta(minutes=3)
    fake_checkouts.become(version=2, code_expires_at=ends)
    after = json.loads((await ask_http(f"{checkout_url}/status")).text)

    assert before["fingerprint"] != after["fingerprint"]


@pytest.mark.parametrize(
    ("watching", "delay"),
    [("0", 2000), ("119", 2000), ("120", 5000), ("599", 5000), ("600", 15000)]
    + [(odd, 2000) for odd in ("-1", "1e9", "x", "", "9" * 400, "٣")],
)
async def test_pace_slows_with_the_time_watched(
    watching: str, delay: int, checkout_url: str, ask_http: Any
) -> None:
    query = f"?watching={watching}" if watching.isascii() else "?watching=%D9%A3"

    answer = await ask_http(f"{checkout_url}/status{query}")

    assert json.loads(answer.text)["next_delay_ms"] == delay


async def test_pace_is_quick_at_the_very_end(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.become(now=fake_checkouts.view.code_expires_at)

    answer = await ask_http(f"{checkout_url}/status?watching=700")

    assert json.loads(answer.text)["next_delay_ms"] == 2000


@pytest.mark.parametrize("act", ["check", "renew", "cancel"])
async def test_form_acts_and_leads_back_to_the_page(
    act: str, fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    token = Page((await ask_http(checkout_url)).text).form_token

    answer = await ask_http(f"{checkout_url}/{act}", method="POST", body=f"form_token={token}")

    assert fake_checkouts.acts == [act]
    assert answer.status == 303
    assert answer.headers["location"] == f"/checkout/{fake_checkouts.token}?outcome={act}"


async def test_refused_act_is_said_on_the_page(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.answer = False
    token = Page((await ask_http(checkout_url)).text).form_token

    answer = await ask_http(f"{checkout_url}/cancel", method="POST", body=f"form_token={token}")
    page = await ask_http(checkout_url.rsplit("/checkout/", 1)[0] + answer.headers["location"])

    assert "That is not possible at the moment" in page.text


@pytest.mark.parametrize("body", ["", "form_token=", "form_token=0123", "form_token=%00&x=é", "w"])
async def test_wrong_form_token_is_refused_and_nothing_is_done(
    body: str, fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    answer = await ask_http(f"{checkout_url}/cancel", method="POST", body=body.replace("é", "%C3"))

    assert answer.status == 403
    assert Page(answer.text).text("h1") == "This form is out of date"
    assert fake_checkouts.acts == []


async def test_form_token_of_another_checkout_is_refused(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    token = Page((await ask_http(checkout_url)).text).form_token
    other = checkout_url[:-1] + "w"

    answer = await ask_http(f"{other}/cancel", method="POST", body=f"form_token={token}")

    assert answer.status == 403


async def test_oversized_form_is_refused(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    token = Page((await ask_http(checkout_url)).text).form_token

    answer = await ask_http(
        f"{checkout_url}/cancel", method="POST", body=f"form_token={token}&x={'x' * 5000}"
    )

    assert answer.status == 403
    assert fake_checkouts.acts == []


async def test_every_address_keeps_the_prefix_the_app_is_mounted_under(
    fake_checkouts: Any, serve_checkout: Any, ask_http: Any
) -> None:
    base = await serve_checkout(under="/pay")

    page = Page((await ask_http(f"{base}/pay/checkout/{fake_checkouts.token}")).text)
    token = page.form_token
    act = await ask_http(
        f"{base}/pay/checkout/{fake_checkouts.token}/check",
        method="POST",
        body=f"form_token={token}",
    )

    assert act.headers["location"].startswith("/pay/checkout/")
    for path in [a["href"] for a in page.all("link")] + [a["src"] for a in page.all("script")]:
        assert (await ask_http(f"{base}{path}")).status == 200


async def test_act_by_get_is_not_an_act(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    assert (await ask_http(f"{checkout_url}/cancel")).status == 405
    assert fake_checkouts.acts == []


async def test_too_many_acts_are_slowed_down_and_forgiven_with_time(
    fake_checkouts: Any, checkout_clock: Any, checkout_url: str, ask_http: Any
) -> None:
    body = f"form_token={Page((await ask_http(checkout_url)).text).form_token}"

    async def check() -> Any:
        return await ask_http(f"{checkout_url}/check", method="POST", body=body)

    taken = [(await check()).status for _ in range(ACTS_PER_MINUTE)]
    refused = await check()
    other = await ask_http(f"{checkout_url}/renew", method="POST", body=body)
    checkout_clock.moment += timedelta(seconds=int(refused.headers["retry-after"]))
    later = await check()

    assert taken == [303] * ACTS_PER_MINUTE
    assert refused.status == 429
    assert Page(refused.text).text("h1") == "That was a little too often"
    assert other.status == later.status == 303
    assert fake_checkouts.acts.count("check") == ACTS_PER_MINUTE + 1


@pytest.mark.parametrize("state", CheckoutState)
async def test_hostile_text_stays_text(
    state: CheckoutState, fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    script = "<script>alert(1)</script>{{ 7*7 }}{merchant}\"'>"
    fake_checkouts.become(
        state,
        merchant_name=script,
        description=script,
        reference=script,
        order_id=script,
        support_email='a"b<script>@shop.example',
        return_url="javascript:alert(1)",
        cancel_url="data:text/html,x",
        universal_url="javascript:alert(1)" if state is CheckoutState.READY else None,
        binance_checkout_url="vbscript:x",
    )

    answer = await ask_http(checkout_url)
    page = Page(answer.text)

    assert answer.status == 200
    assert "<script>alert" not in answer.text
    assert "49" not in page.text("footer")
    assert len(page.all("script")) == 1
    assert script in "".join(data for _, data in page.texts)
    links = [a["href"] or "" for a in page.all("a")]
    assert all(link.startswith("mailto:") for link in links)


async def test_longest_reference_and_text_of_the_other_direction_are_shown_whole(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    reference, merchant = "ab" * 64, "متجر القهوة 2026"
    fake_checkouts.become(reference=reference, merchant_name=merchant)

    page = Page((await ask_http(checkout_url)).text)

    assert ("bdi", reference) in [(path[-1], data) for path, data in page.texts if path]
    places = [path for path, data in page.texts if merchant in data]
    assert places
    assert all("bdi" in path or "title" in path for path in places)


async def test_fiat_price_leads_and_the_coins_are_what_is_copied(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.become(fiat_amount=Decimal("11.90"), fiat_currency="EUR")

    answer = await ask_http(checkout_url)
    page = Page(answer.text)

    assert page.text("h1") == "Pay Blue Kettle Coffee 11.90 EUR"
    assert "Binance quotes 12.50 USDT for this code." in page.text("main")
    assert [a["data-copy"] for a in page.all("button") if "data-copy" in a] == [
        "12.50000000",
        fake_checkouts.view.universal_url,
        "kettle-1042",
    ]


async def test_fiat_price_without_a_quote_yet_is_shown_alone(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.become(
        CheckoutState.PREPARING,
        amount=None,
        currency=None,
        fiat_amount=Decimal("11.90"),
        fiat_currency="EUR",
    )

    page = Page((await ask_http(checkout_url)).text)

    assert "11.90 EUR" in page.text("main")
    assert "None" not in page.text("main")


async def test_button_and_copied_link_are_the_same_string(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    page = Page((await ask_http(checkout_url)).text)

    opened = next(a["href"] for a in page.all("a") if a.get("id") == "app")
    copied = next(a["data-copy"] for a in page.all("button") if a.get("id") == "copy-link")
    assert opened == copied == fake_checkouts.view.universal_url


async def test_what_cannot_be_done_is_not_offered(
    fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    fake_checkouts.become(
        can_cancel=False, can_renew=False, return_url=None, cancel_url=None, universal_url=None
    )
    fake_checkouts.become(deeplink=None, binance_checkout_url=None)

    for state in CheckoutState:
        if state is not CheckoutState.READY:
            fake_checkouts.become(state)
        page = Page((await ask_http(checkout_url)).text)
        acts = {(a["action"] or "").rsplit("/", 1)[1] for a in page.all("form")}
        assert acts <= {"check"}
        assert page.all("a") == []


@pytest.mark.parametrize("state", CheckoutState)
async def test_simulated_payment_says_so_in_every_state(
    state: CheckoutState, fake_checkouts: Any, checkout_url: str, ask_http: Any
) -> None:
    real = (await ask_http(checkout_url)).text
    fake_checkouts.become(state, is_simulated=True)
    simulated = (await ask_http(checkout_url)).text

    assert "Simulated payment – no real money" in simulated
    assert "Simulated" not in real


#: No language at all: whatever comes without brackets did not pass through the seam.
PSEUDO = Wording(language="en-XA", direction="rtl", translate=lambda message: f"⟦{message}⟧")
SPOKEN = {"aria-label", "alt", "title", "placeholder", "data-say", "data-copied", "data-by-hand"}
SPOKEN |= {"data-found", "data-left-300", "data-left-120", "data-left-60", "data-left-30"}


def assert_all_words_are_translated(html: str) -> None:
    page = Page(html)
    depth = 0
    for path, data in page.texts:
        outside = ""
        for letter in data:
            depth += (letter == "⟦") - (letter == "⟧")
            outside += letter if depth == 0 and letter not in "⟦⟧" else ""
        if {"bdi", "svg"} & set(path):
            continue  # data
        if path[-1:] == ("title",):
            assert data.startswith("⟦"), data
            continue
        assert not outside.strip(), (path, data)
    assert depth == 0
    for tag, attrs in page.elements:
        for name in SPOKEN & set(attrs):
            value = attrs[name] or ""
            assert value.startswith("⟦"), (tag, name, value)
            assert value.endswith("⟧"), (tag, name, value)


@pytest.mark.parametrize("state", CheckoutState)
async def test_every_visible_word_goes_through_the_wording(
    state: CheckoutState, fake_checkouts: Any, serve_checkout: Any, ask_http: Any
) -> None:
    fake_checkouts.become(
        state,
        is_simulated=True,
        fiat_amount=Decimal("11.90"),
        fiat_currency="EUR",
        support_email="help@shop.example",
    )
    base = await serve_checkout(PSEUDO)

    for outcome in OUTCOMES:
        answer = await ask_http(f"{base}/checkout/{fake_checkouts.token}{outcome}")

        assert 'lang="en-XA" dir="rtl"' in answer.text
        assert_all_words_are_translated(answer.text)


async def test_refusals_speak_through_the_wording_too(
    fake_checkouts: Any, serve_checkout: Any, ask_http: Any
) -> None:
    base = await serve_checkout(PSEUDO)
    unknown = await ask_http(f"{base}/checkout/nobody")
    stale = await ask_http(f"{base}/checkout/{fake_checkouts.token}/check", method="POST")

    assert (unknown.status, stale.status) == (404, 403)
    for answer in (unknown, stale):
        assert_all_words_are_translated(answer.text)
