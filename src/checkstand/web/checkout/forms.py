"""Forms without cookies: a token that only a page of ours can have carried.

The token in the address already is the shopper's whole authority, so nobody can be tricked into
acting with it. What the form token adds: a link preview, a crawler or a guessed address cannot
act, and one who merely saw the address has to open the page first.
"""

import hashlib
import hmac
from urllib.parse import parse_qs

from starlette.requests import Request

#: Our forms carry one field; anything longer is not ours.
BODY_BYTES_MAX = 2_048


def form_token(form_key: bytes, token: str) -> str:
    """Make the token that the forms of one checkout carry."""
    digest = hmac.new(form_key, b"checkout form\0" + token.encode(), hashlib.sha256)
    return digest.hexdigest()[:32]


async def has_form_token(request: Request, *, form_key: bytes, token: str) -> bool:
    """Read the submitted form and tell whether a page of ours for this checkout made it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return False
    fields = parse_qs(body.decode("ascii", "replace"))
    given = fields.get("form_token", [""])[0]
    return hmac.compare_digest(given.encode(), form_token(form_key, token).encode())
