"""The ASGI application, for `uvicorn explorer.asgi:application` and the like."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
application = get_asgi_application()
