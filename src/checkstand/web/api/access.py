"""Who calls: the API key, its account, its scopes; and the idempotency key of a request."""

import re
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from checkstand.domain.account import ApiKey
from checkstand.domain.act import Doer
from checkstand.errors import Refused
from checkstand.operations.manage_keys import SCOPES, find_key
from checkstand.operations.resources import Resources
from checkstand.web.api.keyed_route import HEADER, KEY_PATTERN, KEY_WORDS, KeyedRoute, claim_for

_BEARER: Final = HTTPBearer(auto_error=False, description="An API key: `checkstand keys create`")
#: Their answers are stored in the transactions that do them.
_ANSWERED_BY_THE_DEED: Final = frozenset({"create_order", "create_refund", "renew_order"})
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


# Asynchronous though nothing is awaited: the framework takes every plain function to a thread.
async def resources_of(request: Request) -> Resources:
    """Return what the app was built with."""
    resources: Resources = request.app.state.resources
    return resources


House = Annotated[Resources, Depends(resources_of)]


class Needs:
    """A dependency that lets in a key with one scope."""

    def __init__(self, scope: str) -> None:
        if scope not in SCOPES:
            raise ValueError(f"there is no scope {scope}")
        self._scope = scope

    async def __call__(
        self,
        request: Request,
        resources: House,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> ApiKey:
        """Return the caller's key. Raises Refused."""
        if credentials is None:
            raise Refused(
                "api_key_missing",
                "send an API key: Authorization: Bearer csk_…",
                field="Authorization",
            )
        key = await find_key(resources, text=credentials.credentials)
        if key is None:
            raise Refused(
                "api_key_unknown", "this API key is unknown or revoked", field="Authorization"
            )
        if self._scope not in key.scopes:
            raise Refused(
                "scope_missing",
                f"the key {key.name} may not {SCOPES[self._scope]}; it lacks {self._scope}",
                field="Authorization",
            )
        own = request.headers.get(HEADER)
        if own is not None and request.method == "POST" and _keeps_answers(request):
            await claim_for(
                request, resources, account_id=key.account_id, key=await idempotency_key(own)
            )
        return key


def _keeps_answers(request: Request) -> bool:
    """Say whether the route keeps answers under keys by itself; a create's is kept by its deed."""
    route = request.scope["route"]
    return isinstance(route, KeyedRoute) and route.name not in _ANSWERED_BY_THE_DEED


def doer_of(key: ApiKey) -> Doer:
    """Name who acts through the API: the shop, by one of its keys."""
    return Doer(actor="merchant", who=f"API key {key.name}")


async def idempotency_key(
    value: Annotated[
        str,
        Header(
            alias=HEADER,
            description=KEY_WORDS,
            json_schema_extra={"pattern": KEY_PATTERN},
        ),
    ],
) -> str:
    """Return the request's idempotency key. Raises Refused."""
    if not _KEY.fullmatch(value):
        raise Refused(
            "idempotency_key_malformed",
            "an Idempotency-Key is 1 to 255 visible ASCII characters",
            field="Idempotency-Key",
        )
    return value


CanReadOrders = Annotated[ApiKey, Depends(Needs("orders:read"))]
CanWriteOrders = Annotated[ApiKey, Depends(Needs("orders:write"))]
CanRefund = Annotated[ApiKey, Depends(Needs("refunds:write"))]
CanApproveRefunds = Annotated[ApiKey, Depends(Needs("refunds:approve"))]
CanReadEvents = Annotated[ApiKey, Depends(Needs("events:read"))]
CanWriteEvents = Annotated[ApiKey, Depends(Needs("events:write"))]
CanReadLedger = Annotated[ApiKey, Depends(Needs("ledger:read"))]
CanWriteEndpoints = Annotated[ApiKey, Depends(Needs("endpoints:write"))]
CanWriteAccounts = Annotated[ApiKey, Depends(Needs("accounts:write"))]
CanReadReconciliation = Annotated[ApiKey, Depends(Needs("reconciliation:read"))]
CanWriteReconciliation = Annotated[ApiKey, Depends(Needs("reconciliation:write"))]
IdempotencyKey = Annotated[str, Depends(idempotency_key)]
