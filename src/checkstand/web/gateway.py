"""The gateway as one ASGI app: the API, the notices' door, the checkout page, health."""

from importlib.metadata import version

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from checkstand.errors import CheckstandError
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.operations.resources import Resources
from checkstand.queries.health import is_ready, oldest_doubt
from checkstand.web.api import (
    account,
    anomalies,
    endpoints,
    events,
    fulfilment,
    ledger,
    orders,
    reconciliation,
    refunds,
)
from checkstand.web.api.openapi import DescribedApp, operation_id
from checkstand.web.body_gate import BodyGate
from checkstand.web.checkout.desk import CheckoutDesk
from checkstand.web.checkout.page import checkout_routes
from checkstand.web.content_policy import ContentPolicy
from checkstand.web.notices import PREFIX as NOTICES
from checkstand.web.notices import build_notice_door
from checkstand.web.problems import install


def build_gateway(resources: Resources, *, desk: NoticeDesk, app: ASGIApp | None = None) -> ASGIApp:
    """Put the doors together behind the content policy and the body's limits.

    `app` is what `build_app` made of the same resources, if that was called before.
    """
    app, notices = app or build_app(resources), build_notice_door(desk)

    async def fork(scope: Scope, receive: Receive, send: Send) -> None:
        is_notice = scope["type"] == "http" and scope["path"].startswith(NOTICES)
        await (notices if is_notice else app)(scope, receive, send)

    # Outside the framework's own error handler, so that even a 500 leaves under the policy.
    return ContentPolicy(BodyGate(fork))


def build_app(resources: Resources) -> FastAPI:
    """Put the routes together. Those that need no JSON are plain ones, at half the cost."""
    app = DescribedApp(
        title="Checkstand",
        summary="Take Binance Pay payments: orders, their checkout pages, and what became of them.",
        version=version("checkstand"),
        generate_unique_id_function=operation_id,
        openapi_url="/api/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere, which our policy forbids
        redoc_url=None,
    )
    app.state.resources = resources
    install(app)
    for room in (
        orders,
        refunds,
        fulfilment,
        anomalies,
        endpoints,
        events,
        ledger,
        reconciliation,
        account,
    ):
        app.include_router(room.router)
    app.router.routes.extend(
        [
            *checkout_routes(
                CheckoutDesk(resources), form_key=resources.vault.form_key, clock=resources.clock
            ),
            *_health_routes(resources),
        ]
    )
    return app


def _health_routes(resources: Resources) -> list[BaseRoute]:
    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        try:
            await is_ready(resources.database)
            now = resources.clock.now()
            since = await oldest_doubt(resources.database, now=now)
        except CheckstandError as error:
            return PlainTextResponse(f"{error.message}\n", status_code=503)
        if since is None:
            return PlainTextResponse("ready\n")
        age = int((now - since).total_seconds())
        return PlainTextResponse(f"ready\noldest unknown outcome: {age} s\n")

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
    ]
