"""The ASGI application, for `uvicorn explorer.asgi:application` and the like."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
pages = get_asgi_application()

from explorer.lifespan import Lifespan  # noqa: E402  its modules need the settings
from explorer.startup import prepare  # noqa: E402

application = Lifespan(pages, prepare)
