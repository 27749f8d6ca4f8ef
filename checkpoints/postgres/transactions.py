"""Transactions of several statements, begun anew when they collide with others."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg.pq import TransactionStatus

from checkpoints.postgres.driver import arun, run
from checkpoints.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from checkpoints.statements import Operation, T

ATTEMPTS = 8
PAUSE = 0.005  # seconds on average, twice as long after each attempt
COLLISIONS = (SerializationFailure, DeadlockDetected)
ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


def transact(conn: psycopg.Connection[Any], operation: Callable[[], Operation[T]], *, one_moment: bool) -> T:
    """Run the operation in a transaction of its own, or as a part of the one that the owner has open."""
    if conn.info.transaction_status != TransactionStatus.IDLE:  # it has its isolation, and is not ours to end
        with conn.transaction():
            return run(conn, operation())
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with conn.transaction():
                return run(conn, _begun(operation, one_moment))
        except COLLISIONS:
            if attempt == ATTEMPTS:
                raise
            time.sleep(pause(attempt))
    raise AssertionError  # the last attempt returns or raises


async def atransact(
    conn: psycopg.AsyncConnection[Any], operation: Callable[[], Operation[T]], *, one_moment: bool
) -> T:
    """Do what `transact` does."""
    if conn.info.transaction_status != TransactionStatus.IDLE:
        async with conn.transaction():
            return await arun(conn, operation())
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with conn.transaction():
                return await arun(conn, _begun(operation, one_moment))
        except COLLISIONS:
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(pause(attempt))
    raise AssertionError


def pause(attempt: int) -> float:
    """Return how long to wait, each for another time: those who collided would collide again."""
    return PAUSE * 2.0**attempt * random.random()  # noqa: S311 - no secret


def _begun(operation: Callable[[], Operation[T]], one_moment: bool) -> Operation[T]:
    if one_moment:
        yield Statement(ONE_MOMENT)
    return (yield from operation())
