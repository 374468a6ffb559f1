"""Turns a view into HTML: one template environment per wording, and the two filters.

Money and time reach the page through `money` and `moment` only, so that one place decides how
they look, and each comes out isolated from the direction of the text around it.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from checkstand.web.checkout.assets import ASSETS
from checkstand.web.checkout.wording import Wording

#: Where a link of ours may lead. `bnc` is the app's own scheme; a shop's URLs are the web's.
_LINK_SCHEMES = frozenset({"http", "https", "bnc"})


def build_templates(wording: Wording) -> Environment:
    """Build the environment that renders the page in one language."""
    templates = Environment(
        loader=PackageLoader("checkstand.web.checkout"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["_"] = wording
    templates.globals["wording"] = wording
    templates.globals["assets"] = {name: asset.public_name for name, asset in ASSETS.items()}
    templates.filters["money"] = render_money
    templates.filters["digits"] = render_digits
    templates.filters["moment"] = moment_filter(wording)
    templates.filters["link"] = safe_link
    return templates


def render_money(amount: Decimal, currency: str) -> Markup:
    """Show an amount for people: idle zeros trimmed, the code after it, the whole isolated.

    Two decimals stay where there are any (`12.50`, not `12.5`), for that is how prices read.
    """
    whole, _, decimals = render_digits(amount).partition(".")
    kept = decimals.rstrip("0")
    if kept and len(kept) < 2:
        kept = decimals[:2]
    shown = f"{whole}.{kept}" if kept else whole
    return Markup('<bdi class="money">{} <span>{}</span></bdi>').format(shown, currency)


def render_digits(amount: Decimal) -> str:
    """Write an amount exactly as it is, for copying and for machines."""
    return f"{amount:f}"


def moment_filter(wording: Wording) -> Callable[..., Markup]:
    """Make the filter that shows a moment in UTC; the script adds nothing but the local zone."""
    months = (
        *(wording("January"), wording("February"), wording("March"), wording("April")),
        *(wording("May"), wording("June"), wording("July"), wording("August")),
        *(wording("September"), wording("October"), wording("November"), wording("December")),
    )

    def render_moment(moment: datetime) -> Markup:
        day = wording(
            "{day} {month} {year}",
            day=moment.day,
            month=months[moment.month - 1],
            year=moment.year,
        )
        return Markup('<time datetime="{}">{}</time>').format(
            moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            wording("{time} UTC on {day}", time=moment.strftime("%H:%M"), day=day),
        )

    return render_moment


def safe_link(url: str | None) -> str | None:
    """Return a URL that may stand behind a link, or None. A shop's text never becomes a script."""
    if url is None:
        return None
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        return None
    return url if scheme in _LINK_SCHEMES else None
