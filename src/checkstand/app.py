"""Builds everything once: clock, ids, random, database, provider, sender; and takes it apart.

`building_house` yields the resources; `serving` puts the gateway in front of them.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from checkstand.ambient import Clock, HostClock, Ids, Random, SystemIds, SystemRandom
from checkstand.deliveries.sender import DeliverySender
from checkstand.domain.budget import CallRate
from checkstand.domain.doubt import Patience
from checkstand.domain.retention import RetentionPolicy
from checkstand.errors import CheckstandError, Refused
from checkstand.jobs.worker import keeping_keys, running_worker
from checkstand.observability import DirectedPoints, KillAt, Observer, Observers
from checkstand.operations.account_book import AccountBook
from checkstand.operations.open_account import MerchantKeys, open_default_account
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.operations.recover import begin_recovery, list_accounts
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Policy, Resources
from checkstand.operations.witness_database import witness_database
from checkstand.provider.gateway import Provider
from checkstand.settings import Settings, SettingsError
from checkstand.storage import backups
from checkstand.storage.backups import Backup, Programs
from checkstand.storage.database import Database
from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable, HeldServer
from checkstand.storage.migrate import migrate
from checkstand.storage.witness_file import WitnessFile
from checkstand.vault import Vault
from checkstand.web.gateway import build_gateway

_log = structlog.get_logger()

_DATABASE_NAME = "checkstand"
#: What may be listened on, and what nobody can call.
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  (nothing is bound here)
#: In the data directory while a restore is under way.
_RESTORING = "restoring"
#: How often a host's clock is compared with the database's.
_CLOCK_EVERY_SECONDS = 60.0
#: How soon a process learns that an account was stopped or let go by another.
_ACCOUNTS_EVERY_SECONDS = 5.0


class CannotListen(CheckstandError):
    """The address is taken or not ours; the message names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlace:
    """Where the database is, for the application and for who changes its schema."""

    url: str
    owner_url: str
    programs: Programs  # PostgreSQL's own, for backups
    held: HeldServer | None = None  # the embedded one, if it is that


@contextlib.contextmanager
def _opening_place(settings: Settings) -> Iterator[DatabasePlace]:
    if settings.database_url is not None:
        owner_url = settings.database_owner_url or settings.database_url
        yield DatabasePlace(url=settings.database_url, owner_url=owner_url, programs=_find_program)
        return
    try:
        held = HeldServer(settings.data_dir / "postgres")
    except EmbeddedUnavailable as error:
        raise SettingsError("embedded_unavailable", str(error)) from error
    with contextlib.closing(held):
        held.server.ensure_database(_DATABASE_NAME)
        url = held.server.url(database=_DATABASE_NAME)
        yield DatabasePlace(url=url, owner_url=url, programs=held.server.bin, held=held)


def _find_program(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


@contextlib.asynccontextmanager
async def opening_database(settings: Settings, *, observer: Observer) -> AsyncIterator[Database]:
    """Open the database, the embedded one where none is named, at the newest schema."""
    refuse_half_restored(settings)
    with _opening_place(settings) as place:
        await migrate(place.owner_url)
        database = await Database.open(
            place.url, observer=observer, behind_pgbouncer=settings.behind_pgbouncer
        )
        async with database, _keeping(place.held, database):
            yield database


@contextlib.asynccontextmanager
async def _keeping(held: HeldServer | None, database: Database) -> AsyncIterator[None]:
    """Have an embedded server started again while the block runs, should it be killed."""
    if held is None:
        yield
        return

    def move(server: EmbeddedPostgres) -> None:
        database.move_to(server.url(database=_DATABASE_NAME))

    keeping = asyncio.create_task(held.keep(move))
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


@contextlib.asynccontextmanager
async def building_house(
    settings: Settings,
    *,
    public_url: str | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    random: Random | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[Resources]:
    """Build the resources, with the default account. Asks Binance nothing."""
    ids, random = ids or SystemIds(), random or SystemRandom()
    host_clock = HostClock()
    watching = observer or observer_of(settings)
    vault = Vault(_secret_keys(settings), random)
    policy = _policy(settings, public_url or _public_url(settings, settings.port))
    async with (
        opening_database(settings, observer=watching) as database,
        contextlib.AsyncExitStack() as closing,
    ):
        await database.learn_time(host_clock)
        keys = _merchant_keys(settings)
        await open_default_account(
            database, keys=keys, vault=vault, clock=clock or host_clock, ids=ids, random=random
        )
        provider = Provider(
            observer=watching,
            clock=clock or host_clock,
            random=random,
            timeout_seconds=policy.provider_timeout.total_seconds(),
        )
        closing.push_async_callback(provider.aclose)
        sender = DeliverySender(
            allow_private=policy.allow_private_webhooks,
            observer=watching,
            timeout_seconds=policy.delivery_timeout.total_seconds(),
        )
        closing.push_async_callback(sender.aclose)
        resources = Resources(
            database=database,
            provider=provider,
            sender=sender,
            accounts=AccountBook(),
            vault=vault,
            clock=clock or host_clock,
            ids=ids,
            random=random,
            policy=policy,
            witness=WitnessFile(settings.data_dir / "witness.json"),
        )
        await resources.accounts.reload(database, provider, vault, now=resources.clock.now())
        await witness_database(resources)  # before anybody acts on a database from the past
        keeping = [
            asyncio.create_task(_keep_time(database, host_clock)),
            asyncio.create_task(_keep_accounts(resources)),
        ]
        try:
            yield resources
        finally:
            for task in keeping:
                task.cancel()


async def back_up(settings: Settings, directory: Path, *, now: datetime) -> None:
    """Write a backup of the database, while everything runs. Raises Refused or BackupFailed."""
    key = settings.data_dir / "secret_key"
    with _opening_place(settings) as place:
        await asyncio.to_thread(
            backups.make,
            directory,
            url=place.owner_url,
            programs=place.programs,
            key=None if settings.secret_keys or not key.is_file() else key,
            now=now,
        )


async def restore(settings: Settings, directory: Path, *, clock: Clock | None = None) -> datetime:
    """Fill an empty database from a backup and let every account recover.

    The recovery begins on the database's clock, as the calls are written down that it counts.
    Returns when the backup was made. Raises Refused or BackupFailed. Cut short it leaves a mark
    that keeps everything from starting on half a database, or on a whole one without recovery.
    """
    backup = await asyncio.to_thread(backups.read, directory)
    data_dir = settings.data_dir
    if settings.database_url is None and (data_dir / "postgres" / "cluster").exists():
        raise Refused(
            "database_not_empty",
            f"{data_dir} holds a database: set CHECKSTAND_DATA_DIR to a new directory, and keep "
            "the old one until the recovery is finished",
        )
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opening_place(settings) as place:
        await backups.refuse_used(place.owner_url)
        (data_dir / _RESTORING).touch(mode=0o600)
        if backup.has_key and not settings.secret_keys:
            _take_key(backup, data_dir)
        await asyncio.to_thread(backups.load, backup, url=place.owner_url, programs=place.programs)
        await migrate(place.owner_url)
        async with await Database.open(
            place.url, behind_pgbouncer=settings.behind_pgbouncer
        ) as database:
            clock = clock or HostClock()
            if isinstance(clock, HostClock):
                await database.learn_time(clock)
            for account in await list_accounts(database):
                await begin_recovery(
                    database,
                    account_id=account.account_id,
                    cause=f"restored from a backup made at {backup.made_at.isoformat()}",
                    restored_to=backup.made_at,
                    now=clock.now(),
                )
    (data_dir / _RESTORING).unlink()
    return backup.made_at


def refuse_half_restored(settings: Settings) -> None:
    """Raise SettingsError where a restore was cut short."""
    if (settings.data_dir / _RESTORING).exists():
        raise SettingsError(
            "restore_unfinished",
            f"a restore into {settings.data_dir} was cut short: restore again into a new data "
            "directory, or a new database, and remove this one",
        )


def _take_key(backup: Backup, data_dir: Path) -> None:
    key = data_dir / "secret_key"
    if key.exists() and key.read_bytes() != backup.key.read_bytes():
        raise Refused(
            "secret_key_differs",
            f"{key} is not the key of this backup: move it away, or restore elsewhere",
        )
    shutil.copyfile(backup.key, key)
    key.chmod(0o600)


@contextlib.asynccontextmanager
async def running_gateway(
    settings: Settings, *, with_worker: bool = True, clock: Clock | None = None
) -> AsyncIterator[tuple[str, Resources]]:
    """Serve the gateway while the block runs; yield its address and its resources."""
    listener = listen(settings.host, settings.port)
    address = _address(settings.host, listener.getsockname()[1])
    with contextlib.closing(listener):
        async with (
            building_house(
                settings, public_url=settings.public_url or address, clock=clock
            ) as resources,
            contextlib.AsyncExitStack() as stack,
        ):
            await refresh_all_certificates(resources)  # before the door for notices opens
            desk = NoticeDesk(resources)
            # Without a worker here this process has to learn of new keys all the same.
            duties = running_worker if with_worker else keeping_keys
            await stack.enter_async_context(duties(resources))
            await stack.enter_async_context(_serving(build_gateway(resources, desk=desk), listener))
            yield address, resources
            await desk.aclose()


def see_to_worker_address(settings: Settings) -> None:
    """See that a worker by itself knows where Binance reaches the gateway: it sends that along.

    Warns where it has to guess. Raises SettingsError where a guess cannot be right.
    """
    if settings.public_url is not None:
        return
    guessed = _public_url(settings, settings.port)
    if settings.port == 0 or settings.host in _EVERYWHERE:
        raise SettingsError(
            "public_url_missing",
            f"a worker tells Binance where to send notices, and {guessed} is no address: "
            "set CHECKSTAND_PUBLIC_URL to the address of `checkstand serve`",
            field="CHECKSTAND_PUBLIC_URL",
        )
    _log.warning(
        "CHECKSTAND_PUBLIC_URL is not set: set it to the address of `checkstand serve`",
        notices_go_to=guessed,
    )


def listen(host: str, port: int) -> socket.socket:
    """Take an address. Raises CannotListen with the setting to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio would not recognise it and leave Nagle's algorithm on: 40 ms a call.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotListen(
            "cannot_listen",
            f"cannot listen on {host}:{port} ({error.strerror}); "
            "set CHECKSTAND_PORT or --port (0 picks a free one), or CHECKSTAND_HOST",
            field="CHECKSTAND_PORT",
        ) from error
    listener.listen(2048)
    listener.setblocking(False)  # noqa: FBT003  (the standard library's signature)
    return listener


def observer_of(settings: Settings) -> Observer:
    """Return what watches the doors: nothing, or what crash tests asked for."""
    observers: list[Observer] = []
    if settings.kill_at:
        observers.append(KillAt(settings.kill_at))
    if settings.points_dir:
        observers.append(DirectedPoints(settings.points_dir))
    return Observers(observers)


@contextlib.asynccontextmanager
async def _serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # uvicorn tells nobody when it has begun; the socket takes connections before that.
        while not (server.started or task.done()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: whoever runs us decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def _keep_time(database: Database, clock: HostClock) -> None:
    while True:
        await asyncio.sleep(_CLOCK_EVERY_SECONDS)
        with contextlib.suppress(Exception):  # the database may be away; the offset stays
            await database.learn_time(clock)


async def _keep_accounts(resources: Resources) -> None:
    """Learn what other processes changed about accounts: one that is stopped stops here too."""
    while True:
        await asyncio.sleep(_ACCOUNTS_EVERY_SECONDS)
        with contextlib.suppress(Exception):  # the database may be away; what is known stays
            await resources.accounts.reload(
                resources.database,
                resources.provider,
                resources.vault,
                now=resources.clock.now(),
            )


def _policy(settings: Settings, public_url: str) -> Policy:
    return Policy(
        public_url=public_url,
        provider_timeout=timedelta(seconds=settings.binance_timeout_seconds),
        delivery_timeout=timedelta(seconds=settings.delivery_timeout_seconds),
        confirm_above=settings.confirm_above,
        allow_private_webhooks=settings.allow_private_webhooks,
        retention=RetentionPolicy(
            notices_days=settings.keep_notices_days,
            buyers_days=settings.keep_buyers_days,
            keys_days=settings.keep_keys_days,
        ),
        call_rate=CallRate(
            per_minute=settings.calls_per_minute,
            burst=max(1, min(20, settings.calls_per_minute // 60)),
        ),
        fulfilment_lease=timedelta(seconds=settings.fulfilment_lease_seconds),
        patience=Patience(
            unknown=timedelta(seconds=settings.unknown_alarm_seconds),
            paying=timedelta(seconds=settings.paying_alarm_seconds),
        ),
        report_days=settings.report_days,
        settlement_days=settings.settlement_days,
    )


def _public_url(settings: Settings, port: int) -> str:
    return settings.public_url or _address(settings.host, port)


def _address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _merchant_keys(settings: Settings) -> MerchantKeys | None:
    if settings.binance_api_key is None or settings.binance_api_secret is None:
        return None
    return MerchantKeys(
        name=settings.shop_name,
        base_url=settings.binance_base_url,
        api_key=settings.binance_api_key,
        api_secret=settings.binance_api_secret,
    )


def _secret_keys(settings: Settings) -> tuple[str, ...]:
    """Return the secret keys; beside an embedded database one is made at the first start."""
    if settings.secret_keys:
        return settings.secret_keys
    if settings.database_url is not None:
        raise SettingsError(
            "secret_key_missing",
            "set CHECKSTAND_SECRET_KEY (such as `openssl rand -hex 32` prints): "
            "it encrypts the secrets in your database",
            field="CHECKSTAND_SECRET_KEY",
        )
    return (_generated_key(settings.data_dir),)


def _generated_key(data_dir: Path) -> str:
    path = data_dir / "secret_key"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Written elsewhere and linked, so that nobody ever reads half a key.
        draft = data_dir / f".secret_key.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        return path.read_text("ascii").strip()
    except OSError as error:
        raise SettingsError(
            "data_dir_unusable", f"CHECKSTAND_DATA_DIR {data_dir} cannot be used: {error}"
        ) from error
