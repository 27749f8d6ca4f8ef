"""Serving to others than the one who started it: from which addresses, to whom, and how safely."""

from __future__ import annotations

import ipaddress
import ssl
from argparse import ArgumentTypeError
from contextlib import suppress
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import CommandError

from explorer.people import masks
from explorer.people.roles import VIEWER

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

NO_USERS = "There are no users, so nobody could log in."
BEYOND = "{} is not a loopback address, so it is served to users, and there are none."
MAKE_ONE = (
    "Make one: checkpoint-explorer createuser NAME --role admin. Or let everybody read: --anonymous viewer."
)
NO_DATABASE = (
    "The explorer's own database cannot be used, where users are kept. DATABASE_URL may name another."
)
NO_NAME = (
    "Name the host that people type into their browsers: --allowed-host explorer.example.com. "
    "Requests for other names are refused."
)
NO_TLS = (
    "Passwords would go over the network as plain text. Give --tls-cert and --tls-key, or --proxies 1 "
    "behind a proxy that speaks TLS; or accept it with --insecure-http."
)
ONLY_VIEWER = (
    "Whoever comes without a login can only be a viewer: --anonymous viewer, or EXPLORER_ANONYMOUS=viewer."
)
FILES = "Name files in PEM, the key without a passphrase, that this user may read."
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104  what an operator may bind to


def served() -> bool:
    """Tell whether the explorer is served to users, not to whoever has the token of a local run."""
    return bool(settings.EXPLORER_USERS or settings.EXPLORER_ANONYMOUS)


def add_people_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--users", action="store_true", help="let users log in, who need no token")
    parser.add_argument("--anonymous", choices=[VIEWER], help="let whoever comes without a login read")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a name it is reached by"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="the certificate, to speak TLS")
    parser.add_argument("--tls-key", metavar="FILE", help="and its key")
    parser.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="ROLE:NAMES",
        help="channels and metadata keys that a role does not see: support:messages,metadata.email",
    )
    parser.add_argument("--proxies", type=_few, metavar="N", help="so many proxies stand in front of it")
    parser.add_argument(
        "--insecure-http", action="store_true", help="let users log in over plain HTTP, readable on the way"
    )


def configure(options: Namespace) -> None:
    """Take whom to serve from the options. Raises CommandError."""
    beyond = not is_loopback(options.host)
    settings.EXPLORER_MASKS = (*settings.EXPLORER_MASKS, *options.mask)
    settings.EXPLORER_ANONYMOUS = options.anonymous or settings.EXPLORER_ANONYMOUS
    asked = options.users or settings.EXPLORER_USERS
    settings.EXPLORER_USERS = bool(asked or (beyond and not settings.EXPLORER_ANONYMOUS))
    settings.EXPLORER_HOSTS = [*settings.EXPLORER_HOSTS, *options.allowed_host]
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, *options.allowed_host]
    if options.proxies is not None:
        trust_proxies(options.proxies)
    if bool(options.tls_cert) != bool(options.tls_key):
        raise CommandError("TLS needs both, --tls-cert and --tls-key.")
    if options.tls_cert:
        _check_tls(options.tls_cert, options.tls_key)
    if served():
        plain = options.insecure_http or settings.EXPLORER_INSECURE_HTTP
        # On loopback nobody listens in, and browsers differ in whether they take a secure cookie there.
        secure_cookies(not plain and (beyond or _speaks_tls(options)))


def require_safe(options: Namespace) -> None:
    """Refuse to serve beyond this machine where requests or passwords would not be safe."""
    if not served() or is_loopback(options.host):
        return
    if options.host in ANYWHERE and not settings.EXPLORER_HOSTS:
        raise CommandError(NO_NAME)
    if settings.EXPLORER_USERS and settings.SESSION_COOKIE_SECURE and not _speaks_tls(options):
        raise CommandError(NO_TLS)


def check(kept: bool, host: str = "") -> None:
    """Refuse to serve to users who do not exist. `kept` tells whether their database can be used."""
    from explorer.people import accounts  # it needs the tables

    masks.check()
    if settings.EXPLORER_ANONYMOUS not in ("", VIEWER):
        raise CommandError(ONLY_VIEWER)
    if not settings.EXPLORER_USERS:
        return
    if not kept:
        raise CommandError(NO_DATABASE)
    if not settings.EXPLORER_ANONYMOUS and not accounts.exist():
        beyond = BEYOND.format(host) if host and not is_loopback(host) else NO_USERS
        raise CommandError(f"{beyond} {MAKE_ONE}")


def secure_cookies(secure: bool) -> None:
    """Let cookies go over TLS only, or over plain HTTP, too."""
    settings.EXPLORER_INSECURE_HTTP = not secure
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = secure


def trust_proxies(number: int) -> None:
    """Believe the last proxies what they say of the client's address and of TLS."""
    settings.EXPLORER_PROXIES = number
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if number else None


def _speaks_tls(options: Namespace) -> bool:
    return bool(options.tls_cert or settings.EXPLORER_PROXIES)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _check_tls(certificate: str, key: str) -> None:
    """Refuse what TLS cannot be spoken with, before anything listens."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except OSError as error:  # an SSLError is one
        reason = (
            error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no pair in PEM"
        )
        raise CommandError(f"The certificate and its key cannot be used: {reason}. {FILES}") from None


def _few(text: str) -> int:
    if not text.isdecimal() or int(text) > 10:
        raise ArgumentTypeError("name a number from 0 to 10")
    return int(text)
