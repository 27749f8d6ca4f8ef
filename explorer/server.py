"""The server of one run: a socket, a token where there are no users, uvicorn in this process."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import sys
import webbrowser
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import CommandError
from setproctitle import setproctitle

from explorer.lifespan import Lifespan
from explorer.people.serving import ANYWHERE, is_loopback, served
from explorer.replays import beside
from explorer.stores import registered

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765


@dataclass(frozen=True, slots=True)
class Binding:
    """A listening socket and the URL at which it admits a browser. `tls` are the certificate and its key."""

    socket: socket.socket
    host: str
    token: str
    tls: tuple[str, str] | None = None

    @property
    def url(self) -> str:
        host = settings.EXPLORER_HOSTS[0] if self.host in ANYWHERE and settings.EXPLORER_HOSTS else self.host
        host = f"[{host}]" if ":" in host else host
        address = f"{'https' if self.tls else 'http'}://{host}:{self.socket.getsockname()[1]}/"
        return address if served() else f"{address}?{urlencode({'token': self.token})}"


def bind(host: str, port: int, token: str | None = None, tls: tuple[str, str] | None = None) -> Binding:
    """Listen, without users on loopback only. Port 0 takes a free one; a token is made if there is none."""
    address = _address(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family)
    except OSError as error:
        raise CommandError(_unavailable(host, port, error)) from error
    return Binding(listening, host, token or secrets.token_urlsafe(24), tls)


def configure(binding: Binding, stores: Sequence[str]) -> None:
    """Make this process the server of these stores."""
    # Set here and not in the environment, where child processes and other tools would see the token.
    settings.EXPLORER_STORES = tuple(stores)
    settings.EXPLORER_TOKEN = binding.token
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, binding.host]
    setproctitle(f"checkpoint-explorer: {', '.join(registered())}")


def serve(binding: Binding, *, browser: bool, worker: bool = False) -> None:
    """Serve until the process is interrupted, with a worker beside it that runs replays if asked to."""
    if browser and _has_display():
        webbrowser.open(binding.url)  # the socket listens already: the browser waits for the answer
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a kill cleans up as Ctrl-C does
    # Once more outside: whoever is impatient presses Ctrl-C again while the worker ends.
    with suppress(KeyboardInterrupt), binding.socket, beside.worker() if worker else nullcontext():
        _run(binding)


def _run(binding: Binding) -> None:
    with suppress(KeyboardInterrupt):
        uvicorn.Server(_config(binding)).run(sockets=[binding.socket])


def _config(binding: Binding) -> uvicorn.Config:
    certificate, key = binding.tls or (None, None)
    return uvicorn.Config(
        Lifespan(get_asgi_application()),
        lifespan="on",
        log_config=None,  # its own would print the text of exceptions
        ws="none",
        access_log=False,  # it would write the token
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


def _address(host: str) -> str:
    if host == "localhost":
        return DEFAULT_HOST
    if served() or is_loopback(host):
        return host
    raise CommandError(
        f"{host} is not a loopback address: without users the explorer serves this machine only. "
        f"Use --host {DEFAULT_HOST}, and an SSH tunnel to read from elsewhere; or make users, docs/people.md."
    )


def _unavailable(host: str, port: int, error: OSError) -> str:
    reason = (
        "is in use"
        if error.errno == errno.EADDRINUSE
        else f"cannot be used ({os.strerror(error.errno or 0)})"
    )
    return f"Port {port} of {host} {reason}. Name another with --port, or --port 0 for any free one."


def _has_display() -> bool:
    """Tell whether a graphical browser can open; a text browser would take this terminal over."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
