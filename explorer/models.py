"""What the app itself keeps. The stores that it shows are not among it."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models

ONLY: Final = 1


class Installation(models.Model):
    """What all servers over one database share, so that they behave as one. There is one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    secret_key = models.TextField()
    token = models.TextField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=ONLY), name="one_installation")]

    def __str__(self) -> str:
        return "the servers over this database"
