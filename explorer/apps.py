"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class ExplorerConfig(AppConfig):
    """Names its tables after the product: another app called explorer may use the same database."""

    name = "explorer"
    label = "checkpoint_explorer"
