"""The pieces of the checkout that need no server: the code, the filters, the sheet, the limits."""

import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from checkstand.web.checkout.assets import ASSETS
from checkstand.web.checkout.limiter import Limiter
from checkstand.web.checkout.page import checkout_routes
from checkstand.web.checkout.qr import draw_qr
from checkstand.web.checkout.rendering import moment_filter, render_money, safe_link
from checkstand.web.checkout.wording import ENGLISH

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LINKS = [
    "https://app.binance.com/qr/dplk" + "0" * 32,
    "https://app.binance.com/payment/secpay?linkToken=" + "0" * 32 + "&_dp=" + "Ym5jOi8v" * 12,
    "http://127.0.0.1:8081/w/1",
]


def draw_strokes(svg: str) -> Image.Image:
    """Rasterise the drawing, one module to four pixels, and nothing more than it says."""
    side = int(re.findall(r'viewBox="0 0 (\d+) ', svg)[0])
    image = Image.new("L", (side * 4, side * 4), 255)
    pen = ImageDraw.Draw(image)
    for x, y, length in re.findall(r"M(\d+) (\d+)\.5h(\d+)", svg):
        start, top, end = int(x) * 4, int(y) * 4, (int(x) + int(length)) * 4
        pen.rectangle((start, top, end - 1, top + 3), fill=0)
    return image


@pytest.mark.parametrize("text", [*LINKS, "ünïcode ✓"])
def test_drawn_code_says_what_it_was_given(text: str) -> None:
    read = zxingcpp.read_barcodes(draw_strokes(draw_qr(text)))

    assert [code.text for code in read] == [text]
    assert read[0].ec_level == "M"


@pytest.mark.parametrize("text", LINKS)
def test_each_module_is_a_whole_number_of_pixels_and_the_quiet_zone_is_inside(text: str) -> None:
    svg = draw_qr(text)
    modules = int(re.findall(r'viewBox="0 0 (\d+) ', svg)[0])
    side = int(re.findall(r' width="(\d+)"', svg)[0])
    columns = [int(x) for x in re.findall(r"M(\d+) ", svg.split("stroke=")[1])]
    rows = [int(y) for y in re.findall(r"M\d+ (\d+)\.5", svg)]
    ends = [int(x) + int(length) for x, length in re.findall(r"M(\d+) \d+\.5h(\d+)", svg)]

    assert side % modules == 0
    assert 240 <= side <= 360
    assert min(columns) == min(rows) == 4
    assert max(ends) == max(rows) + 1 == modules - 4


def test_usual_link_has_modules_of_six_pixels_or_more() -> None:
    svg = draw_qr(LINKS[0])

    side, modules = (int(re.findall(p, svg)[0]) for p in (r' width="(\d+)"', r"0 0 (\d+) "))
    assert side / modules >= 6


def test_drawing_is_black_on_white_without_style_or_script() -> None:
    svg = draw_qr(LINKS[0])

    assert set(re.findall(r"#\w+", svg)) == {"#fff", "#000"}
    assert "style" not in svg
    assert 'shape-rendering="crispEdges"' in svg


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("12.50000000", "12.50"),
        ("12.5", "12.5"),
        ("12.50", "12.50"),
        ("12.00", "12"),
        ("12", "12"),
        ("1200", "1200"),
        ("0.00000001", "0.00000001"),
        ("0.10000000", "0.10"),
        ("1.230", "1.23"),
        ("1E+3", "1000"),
        ("1E-8", "0.00000001"),
        ("123456789012345.12345678", "123456789012345.12345678"),
    ],
)
def test_money_is_shown_without_idle_zeros(amount: str, shown: str) -> None:
    html = render_money(Decimal(amount), "USDT")

    assert html == f'<bdi class="money">{shown} <span>USDT</span></bdi>'


@given(st.decimals(min_value=0, max_value=10**15, places=8))
def test_shown_money_is_never_another_amount(amount: Decimal) -> None:
    shown = re.findall(r">([0-9.]+) ", render_money(amount, "USDT"))[0]

    assert Decimal(shown) == amount


def test_money_escapes_its_currency() -> None:
    assert "<b>" not in render_money(Decimal(1), "<b>")


def test_moment_is_absolute_and_machine_readable() -> None:
    moment = moment_filter(ENGLISH)

    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == (
        '<time datetime="2026-01-02T03:04:05Z">03:04 UTC on 2 January 2026</time>'
    )


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:x",
        " javascript:x",
        "data:x",
        "//x",
        "x",
        "",
        "http://[",
        None,
    ],
)
def test_link_refuses_what_a_shop_may_not_link_to(url: str | None) -> None:
    assert safe_link(url) is None


@pytest.mark.parametrize("url", ["https://shop.example/a?b=1", "http://127.0.0.1:8082/", "bnc://x"])
def test_link_passes_the_web_and_the_app(url: str) -> None:
    assert safe_link(url) == url


def test_wording_escapes_values_but_keeps_markup_it_made_itself() -> None:
    inner = ENGLISH("{a}", a="<b>")

    assert ENGLISH("x & {inner} {raw}", inner=inner, raw="'") == "x &amp; &lt;b&gt; &#39;"


def test_limiter_allows_a_burst_and_then_the_long_run_rate() -> None:
    limiter = Limiter(most=3, period=timedelta(seconds=30))

    burst = [limiter.wait("a", now=NOON) for _ in range(4)]
    early = limiter.wait("a", now=NOON + timedelta(seconds=9))
    later = limiter.wait("a", now=NOON + timedelta(seconds=10))
    again = limiter.wait("a", now=NOON + timedelta(seconds=10))

    assert burst == [None, None, None, timedelta(seconds=10)]
    assert (early, later, again) == (timedelta(seconds=1), None, timedelta(seconds=10))
    assert limiter.wait("b", now=NOON) is None


def test_limiter_forgets_the_oldest_keys_to_stay_small() -> None:
    limiter = Limiter(most=1, period=timedelta(seconds=30), keys_max=2)

    for key in ("a", "b", "c"):
        assert limiter.wait(key, now=NOON) is None

    assert limiter.wait("c", now=NOON) is not None
    assert limiter.wait("a", now=NOON) is None


def test_short_form_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        checkout_routes(None, form_key=b"short", clock=None)  # type: ignore[arg-type]  # unused


CSS = ASSETS["checkout.css"].content.decode()
PHYSICAL = (
    r"(?<![-\w])(left|right|top|bottom|width|height|min-width|max-width|min-height|max-height|float"
    r"|(margin|padding|border|inset|scroll-margin)-(left|right|top|bottom)[-\w]*)\s*:"
)


def test_style_sheet_knows_no_left_or_right() -> None:
    declarations = re.sub(r"/\*.*?\*/|@media[^{]*", "", CSS, flags=re.DOTALL)

    assert re.findall(PHYSICAL, declarations) == []
    assert re.findall(r":\s*(left|right)\b|(?<![-\w])(left|right)\s*[;}]", declarations) == []
    # Four different sides in one shorthand name left and right without saying so.
    assert not [
        values
        for values in re.findall(r"(?:margin|padding|inset|border-width):\s*([^;}]+)", declarations)
        if len(values.split()) == 4 and values.split()[1] != values.split()[3]
    ]


def test_templates_and_script_carry_nothing_inline() -> None:
    folder = resources.files("checkstand.web.checkout") / "templates"
    for template in folder.iterdir():
        text = template.read_text()
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", text), template.name
    script = ASSETS["checkout.js"].content.decode()
    assert not re.search(r"innerHTML|insertAdjacentHTML|eval\(|document\.write|\.style\b", script)


def tokens(theme: str) -> dict[str, str]:
    """Read the custom properties of one theme; three-digit colours written out."""
    light, dark = re.findall(r":root\s*\{(.*?)\}", CSS, flags=re.DOTALL)
    pairs = dict(re.findall(r"--([\w-]+):\s*#(\w+)", light))
    if theme == "dark":
        pairs |= dict(re.findall(r"--([\w-]+):\s*#(\w+)", dark))
    return {k: "".join(c * 2 for c in v) if len(v) == 3 else v for k, v in pairs.items()}


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [(ink, "sheet") for ink in ("ink", "soft", "accent", "good", "warn", "bad")]
    + [("accent", "tint"), ("ink", "tint"), ("on-accent", "accent"), ("sheet", "ink")],
)
def test_text_has_enough_contrast_in_both_themes(theme: str, ink: str, paper: str) -> None:
    colours = tokens(theme)
    light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_page_of_drawings_survives_a_blurred_camera() -> None:
    """Half the size and soft edges: what a cheap phone sees across a counter."""
    image = draw_strokes(draw_qr(LINKS[0]))
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)
    stored = io.BytesIO()
    small.save(stored, "JPEG", quality=40)

    assert zxingcpp.read_barcodes(Image.open(stored))[0].text == LINKS[0]
