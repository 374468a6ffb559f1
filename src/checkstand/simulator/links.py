"""The links of a create answer: the documented formats, on the simulator's own host.

All of them but the deeplink lead to the wallet page, the QR's content too, so that scanning
works. Clients must treat them as opaque.
"""

import base64
from datetime import UTC, datetime
from urllib.parse import quote

from checkstand.simulator.ambient import Randomness
from checkstand.simulator.records import Links

_URL_SAFE = "&=?/:@!$'()*+,;~-._%"


def make_links(
    *, base_url: str, randomness: Randomness, now_ms: int, attachment: str | None
) -> Links:
    """Return fresh links; `attachment` is what the merchant wants appended to the universal one."""
    token = randomness.hex(32)
    deeplink = f"bnc://app.binance.com/payment/secpay?tempToken={randomness.alphanumeric(32)}"
    packed = base64.b64encode(deeplink.encode()).decode().rstrip("=")
    day = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%d")
    universal = f"{base_url}/payment/secpay?linkToken={token}&_dp={quote(packed, safe='')}"
    return Links(
        token=token,
        qr_code_link=f"{base_url}/static/payment/{day}/{token}.png",
        qr_content=f"{base_url}/qr/dplk{token}",
        checkout_url=f"{base_url}/en/checkout/{token}",
        deeplink=deeplink,
        universal_url=universal + quote(attachment or "", safe=_URL_SAFE),
    )
