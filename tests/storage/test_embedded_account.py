"""Under whom PostgreSQL runs: ourselves, or for root an existing account with one capability.

As root these tests become another user by the means under test, which lets that user reach a Python
below root's closed directories; as another user they run what such a user can see.
"""

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from checkstand.storage.embedded.binaries import find_binaries
from checkstand.storage.embedded.process import ACCOUNT, Account, become

DAC_READ_SEARCH = 2  # linux/capability.h

START = """
import json, sys
from pathlib import Path
from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
try:
    with EmbeddedPostgres.start(Path(sys.argv[1]), timeout_seconds=45) as server:
        server.ensure_database("checkstand")
        status = Path(f"/proc/{server.postgres_pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        facts = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
        print(json.dumps({"ran": facts}))
except EmbeddedUnavailable as problem:
    print(json.dumps({"refused": problem.sentence}))
"""


def outcome(
    data_dir: Path,
    *,
    before: tuple[str, ...] = (),
    preexec_fn: Callable[[], None] | None = None,
    program: str = START,
) -> dict[str, Any]:
    """Start a server from a process of its own and return what became of it."""
    done = subprocess.run(
        [*before, sys.executable, "-c", program, str(data_dir)],
        preexec_fn=preexec_fn,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def snapshot(*roots: Path) -> dict[str, tuple[int, int, int]]:
    """Return mode and owner of directories, all they hold, and all that lies above them."""
    places = {path for root in roots for path in (root, *root.parents, *root.rglob("*"))}
    found = {str(path): path.lstat() for path in places}
    return {path: (seen.st_mode, seen.st_uid, seen.st_gid) for path, seen in found.items()}


if os.geteuid() != 0:

    def test_postgres_runs_as_the_user_who_started_it(tmp_path: Path) -> None:
        with EmbeddedPostgres.start(tmp_path / "data") as server:
            assert server.postgres_pid > 0

        assert (tmp_path / "data" / "cluster").stat().st_uid == os.geteuid()

    def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(EmbeddedUnavailable, match="cannot be used by user"):
                EmbeddedPostgres.start(tmp_path / "data")
        finally:
            tmp_path.chmod(0o700)


if sys.platform == "linux" and os.geteuid() == 0:
    NOBODY = pwd.getpwnam(ACCOUNT)

    def as_nobody() -> None:
        become(Account(NOBODY.pw_uid, NOBODY.pw_gid, DAC_READ_SEARCH))

    def as_nameless() -> None:
        become(Account(54321, 54321, DAC_READ_SEARCH))

    @pytest.fixture
    def closed_dir(tmp_path: Path) -> Path:
        """A place below a directory that only root may enter."""
        (tmp_path / "closed").mkdir(mode=0o700)
        return tmp_path / "closed"

    @pytest.fixture
    def closed_environment(closed_dir: Path) -> Iterator[str]:
        """A start whose PostgreSQL programs lie below a directory that only root may enter."""
        installed = find_binaries().directory.parents[1]
        packages = closed_dir / "packages"
        for name in (f"{installed.name}/pginstall18", f"{installed.name}.libs"):
            source = installed.parent / name
            if source.exists():
                shutil.copytree(source, packages / name, symlinks=True)
        (packages / installed.name / "__init__.py").touch()
        yield f"import sys; sys.path.insert(0, {str(packages)!r})\n{START}"
        shutil.rmtree(packages)

    def test_root_below_a_closed_directory_runs_it_as_nobody(
        closed_dir: Path, closed_environment: str
    ) -> None:
        accounts = [Path(f"/etc/{name}").read_bytes() for name in ("passwd", "group", "shadow")]
        before = snapshot(closed_dir)

        facts = outcome(closed_dir / "data", program=closed_environment)["ran"]

        after = snapshot(closed_dir)
        assert facts["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert facts["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert facts["Groups"].strip() == ""
        for kind in ("CapEff", "CapPrm", "CapAmb", "CapInh"):
            assert int(facts[kind], 16) == 1 << DAC_READ_SEARCH
        data = str(closed_dir / "data")
        outside = {path: seen for path, seen in after.items() if not path.startswith(data)}
        assert outside == before
        owners = {path: seen[1] for path, seen in after.items() if path.startswith(data)}
        assert {path for path, uid in owners.items() if uid == NOBODY.pw_uid} == {
            path for path in owners if path.startswith(f"{data}/cluster")
        }
        assert accounts == [
            Path(f"/etc/{name}").read_bytes() for name in ("passwd", "group", "shadow")
        ]

    def test_the_database_is_closed_to_other_processes_of_the_account(tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        with EmbeddedPostgres.start(tmp_path / "data") as server:
            probe = subprocess.run(
                [server.bin("psql"), "-c", "SELECT 1", server.url(database="postgres")],
                user=NOBODY.pw_uid,
                group=NOBODY.pw_gid,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )

        assert probe.returncode == 2
        assert "Permission denied" in probe.stderr

    def test_the_capabilities_a_container_has_by_default_are_enough(closed_dir: Path) -> None:
        # Docker's set, which lacks CAP_DAC_READ_SEARCH.
        kept = (
            "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,"
            "net_raw,sys_chroot,mknod,audit_write,setfcap"
        )
        bounding = "-all," + ",".join(f"+{name}" for name in kept.split(","))

        facts = outcome(closed_dir / "data", before=("setpriv", f"--bounding-set={bounding}"))[
            "ran"
        ]

        assert int(facts["CapEff"], 16) == 1 << 1  # CAP_DAC_OVERRIDE
        assert facts["Uid"].split() == [str(NOBODY.pw_uid)] * 4

    def test_a_process_that_may_gain_no_privileges_can_still_start_it(closed_dir: Path) -> None:
        assert "ran" in outcome(closed_dir / "data", before=("setpriv", "--no-new-privs"))

    def test_a_root_without_the_needed_capabilities_hears_which(closed_dir: Path) -> None:
        bounding = "--bounding-set=-setuid,-setpcap"

        refused = outcome(closed_dir / "data", before=("setpriv", bounding))["refused"]

        assert refused == (
            "PostgreSQL refuses to run as root and cannot be run as 'nobody' here (this process "
            "lacks CAP_SETUID, CAP_SETPCAP): run as another user, or set "
            "CHECKSTAND_DATABASE_URL to a PostgreSQL of yours."
        )

    def test_another_user_runs_it_as_itself(tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)

        facts = outcome(theirs / "data", preexec_fn=as_nobody)["ran"]

        assert facts["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert {path.lstat().st_uid for path in theirs.rglob("*")} == {NOBODY.pw_uid}

    def test_a_directory_another_user_may_not_write_is_refused(tmp_path: Path) -> None:
        refused = outcome(tmp_path / "data", preexec_fn=as_nobody)["refused"]

        assert f"{tmp_path / 'data'} cannot be used by user {ACCOUNT}" in refused

    def test_a_data_directory_of_root_is_refused_to_another_user(tmp_path: Path) -> None:
        EmbeddedPostgres.start(tmp_path / "data").close()

        refused = outcome(tmp_path / "data", preexec_fn=as_nobody)["refused"]

        assert f"{tmp_path / 'data'} belongs to user root" in refused
        assert "run as the user who made it" in refused

    def test_a_data_directory_of_another_user_is_refused_to_root(tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)
        assert "ran" in outcome(theirs / "data", preexec_fn=as_nobody)

        with pytest.raises(EmbeddedUnavailable, match=f"belongs to user {ACCOUNT}"):
            EmbeddedPostgres.start(theirs / "data")

        assert stat.S_IMODE((theirs / "data").stat().st_mode) == 0o700

    def test_a_cluster_given_to_another_account_is_refused(tmp_path: Path) -> None:
        EmbeddedPostgres.start(tmp_path / "data").close()
        os.chown(tmp_path / "data" / "cluster", 12345, 12345)

        with pytest.raises(EmbeddedUnavailable, match="cluster belongs to user 12345"):
            EmbeddedPostgres.start(tmp_path / "data")

    def test_a_user_without_a_name_hears_that_postgresql_needs_one(tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, 54321, 54321)

        refused = outcome(theirs / "data", preexec_fn=as_nameless)["refused"]

        assert "PostgreSQL needs a name for uid 54321" in refused
