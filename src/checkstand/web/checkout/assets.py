"""The style sheet, the script and the icon, read once and served under names that never change.

The name carries a hash of the content, so a browser may keep each for ever and an upgrade is
seen at once. An old name answers 404: pages are never older than the process behind them.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES = {
    "checkout.css": "text/css",
    "checkout.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file."""

    public_name: str
    media_type: str
    content: bytes


def load_assets() -> dict[str, Asset]:
    """Read every asset, by the name it has in our source."""
    folder = resources.files("checkstand.web.checkout") / "static"
    assets = {}
    for name, media_type in _TYPES.items():
        content = (folder / name).read_bytes()
        stem, _, suffix = name.partition(".")
        digest = hashlib.sha256(content).hexdigest()[:12]
        assets[name] = Asset(f"{stem}.{digest}.{suffix}", media_type, content)
    return assets


ASSETS = load_assets()
_BY_PUBLIC_NAME = {asset.public_name: asset for asset in ASSETS.values()}


async def serve_asset(request: Request) -> Response:
    """Answer with the asset of that public name."""
    asset = _BY_PUBLIC_NAME.get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("no such file", status_code=404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(asset.content, media_type=asset.media_type, headers=headers)
