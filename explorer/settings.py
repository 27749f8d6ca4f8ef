"""Django's settings. Sessions only where the explorer is served to users; never debug."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.management.utils import get_random_secret_key
from platformdirs import user_data_path

from explorer import database

PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    """Find a folder of files: inside the package when installed from a wheel, beside it in a checkout."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


# What this run serves. The command sets these; under another ASGI server they come from the environment.
EXPLORER_STORES: tuple[str, ...] = tuple(filter(None, os.environ.get("EXPLORER_STORES", "").splitlines()))
EXPLORER_TOKEN: str | None = os.environ.get("EXPLORER_TOKEN") or None
# Nothing is written then, whatever the stores admit.
EXPLORER_READ_ONLY = os.environ.get("EXPLORER_READ_ONLY", "").lower() in {"1", "true", "yes"}
# Served to users who log in, and to visitors of this role who do not. Otherwise the token is needed.
EXPLORER_USERS = os.environ.get("EXPLORER_USERS", "").lower() in {"1", "true", "yes"}
EXPLORER_ANONYMOUS = os.environ.get("EXPLORER_ANONYMOUS", "")
# What a role does not see, one per line: support:messages,metadata.email
EXPLORER_MASKS: tuple[str, ...] = tuple(filter(None, os.environ.get("EXPLORER_MASKS", "").splitlines()))
# Names beside loopback's that it is reached by, and origins that forms may come from.
EXPLORER_HOSTS = os.environ.get("EXPLORER_HOSTS", "").replace(",", " ").split()
CSRF_TRUSTED_ORIGINS = os.environ.get("EXPLORER_TRUSTED_ORIGINS", "").replace(",", " ").split()
# Users may log in over plain HTTP; otherwise cookies go over TLS only.
EXPLORER_INSECURE_HTTP = os.environ.get("EXPLORER_INSECURE_HTTP", "").lower() in {"1", "true", "yes"}
# So many proxies in front of this server name the client's address in X-Forwarded-For.
EXPLORER_PROXIES = int(os.environ.get("EXPLORER_PROXIES", "0"))
# The graphs that replays run: a langgraph.json, and name=path.py:variable.
EXPLORER_GRAPHS_FILE = os.environ.get("EXPLORER_GRAPHS_FILE", "")
EXPLORER_GRAPHS: tuple[str, ...] = tuple(filter(None, os.environ.get("EXPLORER_GRAPHS", "").splitlines()))
# Who runs a replay is heard of at least so often, or it is lost.
EXPLORER_LEASE_SECONDS = int(os.environ.get("EXPLORER_LEASE_SECONDS", "30"))
# A superstep that was asked to stop has so long to end; then its process is killed.
EXPLORER_GRACE_SECONDS = int(os.environ.get("EXPLORER_GRACE_SECONDS", "10"))
EXPLORER_IMPORT_SECONDS = 120
# A server that carries a deletion out is heard of at least so often, or another goes on with it.
EXPLORER_DELETION_LEASE_SECONDS = float(os.environ.get("EXPLORER_DELETION_LEASE_SECONDS", "10"))
# Where backups of what was deleted are kept for a week.
EXPLORER_BACKUPS = os.environ.get("EXPLORER_BACKUPS") or str(user_data_path(database.APP) / "backups")
EXPLORER_CONCURRENCY = int(os.environ.get("EXPLORER_CONCURRENCY", "2"))
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *EXPLORER_HOSTS]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if EXPLORER_PROXIES else None
# Browsers remember for so long that this host speaks TLS, on all its ports.
SECURE_HSTS_SECONDS = int(os.environ.get("EXPLORER_HSTS_SECONDS", "3600"))

SECRET_KEY = os.environ.get("EXPLORER_SECRET_KEY") or get_random_secret_key()
DEBUG = False
ROOT_URLCONF = "explorer.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_tasks_db",
    "explorer",
]
# Several servers share what DATABASE_URL names. Without it nothing opens the database yet.
EXPLORER_SHARED = bool(os.environ.get("DATABASE_URL"))
DATABASES: dict[str, Any] = {"default": database.configured(os.environ.get("DATABASE_URL"))}
# Replays are queued by store and graph, whose names make the queues'.
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# Each runs on the event loop: a middleware with synchronous hooks costs every request a hop to a thread.
MIDDLEWARE = [
    "django_htmx.middleware.HtmxMiddleware",
    "explorer.middleware.headers.headers",
    "explorer.middleware.inline.CspMiddleware",
    "explorer.middleware.host.host",
    "explorer.middleware.static.StaticMiddleware",
    "explorer.middleware.access.access",
    "explorer.middleware.permissions.PermissionMiddleware",
    "explorer.middleware.inline.CsrfMiddleware",
    "explorer.middleware.errors.StoreErrorMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_folder("templates")],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "explorer.people.templates.people",
            ]
        },
    }
]

STATIC_URL = "/static/"
STATICFILES_DIRS = [_folder("static")]
STORAGES = {"staticfiles": {"BACKEND": "explorer.assets.CollectedStorage"}}

DATA_UPLOAD_MAX_MEMORY_SIZE = 16 << 20  # a state that was edited

# A session ends after so long without a request.
SESSION_COOKIE_AGE = int(float(os.environ.get("EXPLORER_SESSION_HOURS", "12")) * 3600)
SESSION_COOKIE_NAME = "explorer_session"
SESSION_COOKIE_SECURE = bool(EXPLORER_USERS or EXPLORER_ANONYMOUS) and not EXPLORER_INSECURE_HTTP
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# These look for Django's own middleware by name. What theirs would do is done in explorer/middleware/, on the
# event loop: its headers, the frame, and the CSRF check, which is Django's
# (tests/explorer/test_people_command.py).
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002", "security.W003"]

CSRF_COOKIE_NAME = "explorer_csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
CSRF_FAILURE_VIEW = "explorer.errors.csrf_failed"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"own": {"()": "explorer.logs.OwnErrors"}},
    "formatters": {"frames": {"()": "explorer.logs.Frames"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "filters": ["own"], "formatter": "frames"}},
    # Of every library, too: a pool of PostgreSQL connections would print hosts, users and the server's words.
    "root": {"handlers": ["stderr"], "level": "ERROR"},
    "loggers": {
        "django": {"level": "ERROR"},
        # A refused request is nobody's failure; Django would print its address.
        "django.security": {"level": "CRITICAL"},
    },
}
