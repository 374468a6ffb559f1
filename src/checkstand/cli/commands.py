"""Every command as a function; each loads what it needs when it runs, so that help is quick, and
after its settings, so that a wrong one is said at once.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from checkstand.cli.accounts import app as accounts
from checkstand.cli.anomalies import anomalies
from checkstand.cli.house import DONE, FAILED, INTERRUPTED, WRONG_USAGE
from checkstand.cli.house import read_environment as _settings
from checkstand.cli.house import run_work as _run
from checkstand.cli.ledger import app as ledger
from checkstand.cli.limits import app as limits
from checkstand.cli.orders import app as orders
from checkstand.cli.ports import Port
from checkstand.cli.reconcile import app as reconcile
from checkstand.cli.recovery import app as recover
from checkstand.cli.recovery import backup, restore
from checkstand.cli.retention import retention
from checkstand.cli.simulator import app as simulator
from checkstand.errors import CheckstandError, Refused

if TYPE_CHECKING:
    from checkstand.settings import Settings

app = App(
    name="checkstand",
    help="The counter where a shop takes Binance Pay.",
    version_flags=["--version"],
)
keys = App(name="keys", help="API keys for the shop's programs.")
bench = App(name="bench", help="Measure ourselves against others, in a source checkout.")
accounts.command(limits)
app.command(keys)
app.command(accounts)
app.command(anomalies)
app.command(retention)
app.command(backup)
app.command(restore)
app.command(recover)
app.command(bench)
app.command(ledger)
app.command(orders)
app.command(reconcile)
app.command(simulator)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code; everything that goes wrong ends here."""
    from checkstand.settings import SettingsError

    try:
        result = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return WRONG_USAGE
    except SettingsError as error:
        return _complain(error.message, WRONG_USAGE)
    except CheckstandError as error:
        return _complain(error.message, _code_of(error))
    except OSError as error:
        has_sentence = error.strerror is not None and error.filename is None
        return _complain(str(error.strerror if has_sentence else error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError:
        raise  # `main` says what to install
    except Exception as error:  # noqa: BLE001  (the door of commands: a bug of ours, told as one)
        return _report_bug(error)
    return result if isinstance(result, int) else DONE


@app.command
def serve(
    *,
    host: str | None = None,
    port: Port | None = None,
    worker: Annotated[bool, Parameter(negative="--no-worker")] = True,
) -> int:
    """Run the gateway, with a worker beside it.

    Parameters
    ----------
    host
        Address to listen on; CHECKSTAND_HOST otherwise.
    port
        Port to listen on, 0 picks a free one; CHECKSTAND_PORT otherwise.
    worker
        Also do the background duties in this process.
    """
    settings = _settings(host=host, port=port)
    from checkstand.app import running_gateway

    async def go() -> int:
        async with running_gateway(settings, with_worker=worker) as (address, _):
            return await _until_stopped(f"ready {address}")

    return _run(go())


@app.command
def worker() -> int:
    """Do the background duties alone: ask Binance, deliver events, expire orders.

    CHECKSTAND_PUBLIC_URL has to say where `serve` is reached: Binance is told with every code.
    """
    settings = _settings()
    from checkstand.app import building_house, see_to_worker_address
    from checkstand.jobs.worker import running_worker

    see_to_worker_address(settings)

    async def go() -> int:
        async with building_house(settings) as resources, running_worker(resources):
            return await _until_stopped("ready worker")

    return _run(go())


@app.command
def migrate() -> int:
    """Bring the database to the newest schema. `serve` and `worker` do it too."""
    settings = _settings()
    from checkstand.app import observer_of, opening_database

    async def go() -> int:
        async with opening_database(settings, observer=observer_of(settings)):
            print("the database is at the newest schema")
        return DONE

    return _run(go())


@app.command
def demo(
    *,
    auto: bool = False,
    port: Port | None = None,
    simulator_port: Port | None = None,
    shop_port: Port | None = None,
) -> int:
    """Start everything with the simulator and print a checkout page to open.

    Parameters
    ----------
    auto
        Buy without a person, on free ports, and print the order's timeline.
    port
        The gateway's port; CHECKSTAND_PORT otherwise, 0 picks a free one.
    simulator_port
        The simulator's port (8081).
    shop_port
        The sample shop's port (8082).
    """
    settings = _settings(port=port)
    from checkstand.demo.stage import SHOP_PORT, SIMULATOR_PORT, Ports

    if auto:
        return _run(_buy_alone(settings, Ports(gateway=0, simulator=0, shop=0)))
    ports = Ports(
        gateway=settings.port,
        simulator=SIMULATOR_PORT if simulator_port is None else simulator_port,
        shop=SHOP_PORT if shop_port is None else shop_port,
    )
    return _run(_show(settings, ports))


@keys.command(name="create")
def create(name: str, /, *, scope: tuple[str, ...] = ()) -> int:
    """Make an API key and print it, alone on the last line. It is not shown again.

    Parameters
    ----------
    name
        What you will know it by.
    scope
        What it may do; may be repeated. All of it when none is given.
    """
    settings = _settings()
    from checkstand.app import building_house
    from checkstand.operations.manage_keys import create_key
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID

    async def go() -> int:
        async with building_house(settings) as house:
            key = await create_key(
                house.database,
                account_id=DEFAULT_ACCOUNT_ID,
                reference=house.accounts.get(DEFAULT_ACCOUNT_ID).reference,
                name=name,
                scopes=list(scope) or None,
                clock=house.clock,
                ids=house.ids,
                random=house.random,
            )
        print(f"The key {name}, shown this once:")
        print(key)
        return DONE

    return _run(go())


@bench.command(name="sdk")
def bench_sdk(*, calls: int = 1000, rounds: int = 5) -> int:
    """Compare the SDK's CPU per signed HTTPS call with the official connector's.

    Parameters
    ----------
    calls
        Calls in a round.
    rounds
        Rounds of each client, in turn.
    """
    script = _bench_script("sdk.py")
    command = [sys.executable, str(script), "--calls", str(calls), "--rounds", str(rounds)]
    return subprocess.run(command, check=False).returncode  # noqa: S603  (our own script)


@bench.command(name="notices")
def bench_notices(*, notices: int = 3000, rounds: int = 3) -> int:
    """Compare notices taken in per second, and their CPU, with pgbench and a bare echo.

    Parameters
    ----------
    notices
        Notices for each measure of a round.
    rounds
        Rounds, of which the middle counts.
    """
    script = _bench_script("notices.py")
    command = [sys.executable, str(script), "--notices", str(notices), "--rounds", str(rounds)]
    return subprocess.run(command, check=False).returncode  # noqa: S603  (our own file)


@bench.command(name="reconcile")
def bench_reconcile(*, orders: int = 100_000, days: int = 10) -> int:
    """Reconcile so many paid orders with report files of that size, and planted discrepancies.

    Parameters
    ----------
    orders
        Paid orders, and lines of the files.
    days
        Days over which they are spread.
    """
    script = _bench_script("reconcile.py")
    command = [sys.executable, str(script), "--orders", str(orders), "--days", str(days)]
    return subprocess.run(command, check=False).returncode  # noqa: S603  (our own script)


def _bench_script(name: str) -> Path:
    """Find a benchmark: they need what only developers install, so the wheel has none."""
    script = Path(__file__).parents[3] / "bench" / name
    if not script.is_file():
        raise Refused(
            "bench_missing", "benchmarks come with the source checkout, not with the package"
        )
    return script


async def _buy_alone(settings: "Settings", ports: Any) -> int:
    from checkstand.demo import purchase
    from checkstand.demo.stage import setting_stage

    async with setting_stage(settings, ports=ports) as stage:
        order = await purchase.buy(stage)
        await purchase.pay(order)
        for entry in await purchase.wait_for_goods(stage, order):
            print(purchase.render_entry(entry))
    return DONE


async def _show(settings: "Settings", ports: Any) -> int:
    from checkstand.demo import purchase
    from checkstand.demo.stage import setting_stage

    async with setting_stage(settings, ports=ports) as stage:
        order = await purchase.buy(stage)
        return await _until_stopped(
            f"ready {stage.gateway_url}",
            "",
            f"  Checkout page   {order.checkout_url}",
            f"  The shop says   {stage.shop.url}/orders/{order.merchant_order_id}",
            f"  Buy once more   {stage.shop.url}/",
            f"  Simulator       {stage.simulator_url}/",
            f"  An API key      {stage.api_key}",
            "",
            "Open the checkout page, follow its button to the simulated wallet, and pay.",
            "Ctrl-C stops everything; nothing is kept.",
        )


async def _until_stopped(*announced: str) -> int:
    """Say what is ready, then wait for SIGINT or SIGTERM; return the exit code it asks for."""
    async with _stop_signals() as stopped:
        # Whoever reads this may answer with a signal at once, so both are caught by now.
        print(*announced, sep="\n", flush=True)
        number = await stopped
    return INTERRUPTED if number == signal.SIGINT else DONE


@contextlib.asynccontextmanager
async def _stop_signals() -> AsyncIterator[asyncio.Future[int]]:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _complain(message: str, code: int) -> int:
    print(f"checkstand: {message}", file=sys.stderr)
    return code


def _report_bug(error: Exception) -> int:
    """Log what went wrong in full, without the values at hand, and say so in one sentence."""
    try:
        import structlog

        from checkstand.observability import configure_logs
    except ModuleNotFoundError:  # the simulator's extra brings no structured logs
        traceback.print_exception(error)
    else:
        configure_logs(level="error")
        structlog.get_logger().error("unexpected error", exc_info=error)
    return _complain("something went wrong here; a bug report needs what is said above", FAILED)


def _code_of(error: CheckstandError) -> int:
    return WRONG_USAGE if isinstance(error, Refused) else FAILED
