"""A server that does not let us in, or is not there: an error says why at once, and nothing of the URL."""

from __future__ import annotations

import asyncio
import socket
import time
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from postgres import Server, server
from stores_data import ask, write

from checkpoints import errors
from checkpoints.stores import Location, Store, check, close, read
from checkpoints.stores.postgres import pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SECRETS = ("s3cr3t", "visitor", "agents_host")
RULES = """\
local all postgres trust
local shut all reject
local all all scram-sha-256
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for passwords."""
    with server() as started:
        with psycopg.connect(started.url, autocommit=True) as conn:
            conn.execute("CREATE ROLE visitor LOGIN PASSWORD 's3cr3t'")
            conn.execute("CREATE ROLE shutout NOLOGIN PASSWORD 's3cr3t'")
            conn.execute("CREATE ROLE crowd LOGIN PASSWORD 's3cr3t' CONNECTION LIMIT 0")
            for name in ("shop", "shut", "closed", "private"):
                conn.execute(f"CREATE DATABASE {name}".encode())
            conn.execute("ALTER DATABASE closed ALLOW_CONNECTIONS false")
            conn.execute("REVOKE CONNECT ON DATABASE private FROM PUBLIC")
            (started.data / "pg_hba.conf").write_text(RULES)
            conn.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
        yield started


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await close()


def url(guarded: Server, user: str, database: str = "shop", **query: str) -> str:
    more = "".join(f"&{key}={value}" for key, value in query.items())
    return f"postgresql://{user}@/{database}?host={guarded.data}{more}"


async def refused(address: str) -> errors.StoreError:
    """Return the error that both ways of asking give, which tells nothing of the address."""
    location = Location.parse(address)
    with pytest.raises(errors.StoreError) as at_start:
        check(location)
    with pytest.raises(errors.StoreError) as caught:
        await read(location, Store.overview)
    assert str(at_start.value) == str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in (*SECRETS, "connection to server") if secret in str(caught.value)]
    assert not [secret for secret in SECRETS if secret in told.replace("agents_host/x.py", "")]
    return caught.value


@pytest.mark.parametrize(
    ("user", "database", "error", "sentence"),
    [
        ("visitor:wrong", "shop", errors.AccessRefused, "refused the user or the password"),
        ("visitor", "shop", errors.AccessRefused, "refused the user or the password"),
        ("nobody:s3cr3t", "shop", errors.AccessRefused, "refused the user or the password"),
        ("visitor:s3cr3t", "missing", errors.StoreMissing, "no database missing on this server"),
        ("visitor:s3cr3t", "shut", errors.AccessRefused, "admits nobody from here"),
        ("visitor:s3cr3t", "closed", errors.AccessRefused, "may not connect to closed"),
        ("visitor:s3cr3t", "private", errors.AccessRefused, "may not connect to private"),
        ("shutout:s3cr3t", "shop", errors.AccessRefused, "may not connect to shop"),
        ("crowd:s3cr3t", "shop", errors.ServerFull, "no connection left"),
        ("visitor:s3cr3t", "shop", errors.NoCheckpointTables, "no LangGraph tables"),
    ],
)
async def test_who_is_not_let_in_is_told_why(
    guarded: Server, user: str, database: str, error: type[errors.StoreError], sentence: str
) -> None:
    found = await refused(url(guarded, user, database))
    assert type(found) is error
    assert sentence in found.sentence
    assert found.advice


async def test_an_option_that_the_server_does_not_know_is_refused(guarded: Server) -> None:
    found = await refused(url(guarded, "visitor:s3cr3t", options="-cs3cr3t%3D1"))
    assert "option of the URL" in found.sentence


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2", "agents_host.invalid"])
async def test_where_nobody_answers_is_said_so(host: str) -> None:
    found = await refused(f"postgresql://visitor:s3cr3t@{host}/shop")
    assert (type(found), found.sentence) == (errors.StoreUnreachable, "No server answers for shop.")


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CONNECT_SECONDS", -0.7)
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        location = Location.parse(f"postgresql://u@127.0.0.1:{mute.getsockname()[1]}/shop")
        with pytest.raises(errors.StoreUnreachable, match="did not answer in time"):
            await read(location, Store.overview)


async def test_a_server_that_was_stopped_is_read_again_when_it_is_back() -> None:
    with server() as started:
        with psycopg.connect(started.url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE shop")
        location = Location.parse(write(started.url_of("shop"), ["a"]))
        before = await read(location, lambda store: store.threads())
        started.stop()
        began = time.monotonic()
        with pytest.raises(errors.StoreError) as stopped:
            await read(location, lambda store: store.threads())
        assert isinstance(stopped.value, errors.StoreUnreachable | errors.StoreBusy)
        assert time.monotonic() - began < 2
        started.start()
        assert await read(location, lambda store: store.threads()) == before


async def test_a_standby_is_read_and_notices_what_its_primary_writes() -> None:
    with server() as primary:
        write(primary.url, ["a"])
        standby = Server(primary.folder / "standby")
        into = ("-D", str(standby.data), "-R", "-X", "stream", "-c", "fast")
        assert primary._run("pg_basebackup", *into, "-d", primary.url).wait(30) == 0
        (standby.data / ".s.PGSQL.5432.lock").unlink()  # the primary's
        standby.start()
        try:
            await _watch(primary, standby)
        finally:
            standby.stop(at_once=True)


async def _watch(primary: Server, standby: Server) -> None:
    probe = await ask(standby.url, lambda store: store.change_probe())
    assert await ask(standby.url, lambda store: store.change_probe()) == probe
    assert (await ask(standby.url, lambda store: store.overview())).standby
    assert not (await ask(primary.url, lambda store: store.overview())).standby
    write(primary.url, ["b"])
    for _ in range(250):
        page = await ask(standby.url, lambda store: store.threads())
        if len(page.threads) == 2 and page.threads[0].checkpoints == 3:
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the standby did not follow")
    assert await ask(standby.url, lambda store: store.change_probe()) != probe
