"""Sets up the demo: an embedded database, the simulator, the gateway, its worker and the shop.

All of it lives in one process and a throw-away directory, so that stopping it leaves nothing.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from checkstand import app
from checkstand.demo.shop import Shop, running_shop
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.resources import Resources
from checkstand.settings import Settings
from checkstand.simulator.server import (
    DEFAULT_API_KEY,
    DEFAULT_API_SECRET,
    DEFAULT_MERCHANT,
    running_simulator,
)

SIMULATOR_PORT = 8081
SHOP_PORT = 8082
#: The wallet must show the name that the checkout page promises.
_SHOP_NAME = "Checkstand sample shop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where each part listens; 0 picks a free port."""

    gateway: int
    simulator: int = SIMULATOR_PORT
    shop: int = SHOP_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that runs, and a key to talk to it with."""

    gateway_url: str
    simulator_url: str
    shop: Shop
    api_key: str
    resources: Resources


@contextlib.asynccontextmanager
async def setting_stage(settings: Settings, *, ports: Ports) -> AsyncIterator[Stage]:
    """Run the demo while the block runs. Raises CannotListen, PortTaken, SettingsError."""
    async with contextlib.AsyncExitStack() as stack:
        data_dir = stack.enter_context(_throw_away_directory())
        simulator = await stack.enter_async_context(
            running_simulator(
                host=settings.host,
                port=ports.simulator,
                merchants=(replace(DEFAULT_MERCHANT, name=_SHOP_NAME),),
            )
        )
        demo_settings = replace(
            settings,
            database_url=None,
            data_dir=data_dir,
            port=ports.gateway,
            secret_keys=(),
            shop_name=_SHOP_NAME,
            allow_private_webhooks=True,  # the shop is on this machine
            binance_api_key=DEFAULT_API_KEY,
            binance_api_secret=DEFAULT_API_SECRET,
            binance_base_url=simulator.base_url,
        )
        gateway_url, resources = await stack.enter_async_context(app.running_gateway(demo_settings))
        api_key = await _make_key(resources)
        shop = await stack.enter_async_context(
            running_shop(
                gateway_url=gateway_url,
                api_key=api_key,
                host=settings.host,
                port=ports.shop,
                checkout_origin=resources.policy.public_url,
            )
        )
        await shop.register_endpoint()
        yield Stage(
            gateway_url=gateway_url,
            simulator_url=simulator.base_url,
            shop=shop,
            api_key=api_key,
            resources=resources,
        )


async def _make_key(resources: Resources) -> str:
    return await create_key(
        resources.database,
        account_id=DEFAULT_ACCOUNT_ID,
        reference=resources.accounts.get(DEFAULT_ACCOUNT_ID).reference,
        name="demo",
        scopes=None,
        clock=resources.clock,
        ids=resources.ids,
        random=resources.random,
    )


@contextlib.contextmanager
def _throw_away_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="checkstand-demo-", ignore_cleanup_errors=True) as made:
        yield Path(made)
