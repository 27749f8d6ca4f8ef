"""JSON rows and metadata: decoded as UTF-8 text into plain data."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from checkpoints.inert.budget import Budget, OverBudget
from checkpoints.inert.nodes import Rotten

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([dD][89abAB]..\\u[dD][c-fC-F]..)|u([dD][89a-fA-F]..)|.)", re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_NEST = {"[": 1, "{": 1, "]": -1, "}": -1}


def decode(data: bytes | str, budget: Budget) -> Any:
    """Decode text. Raises ValueError with the reason.

    `json.loads(bytes)` would guess the encoding and import its codec. Lone surrogates, which no page
    could send, become U+FFFD; an integer too long for `int` becomes `Rotten`.
    """
    if len(data) > budget.bytes:
        raise OverBudget(f"it has {len(data):,} bytes, more than the {budget.bytes:,} that are read")
    text = data if isinstance(data, str) else _text(data)
    _weigh(text, budget)
    if "\\ud" in text or "\\uD" in text:
        text = _ESCAPE.sub(_whole, text)
    return _DECODER.decode(text)


def encode(value: Any) -> bytes:
    """Write a value as JSON text. Raises TypeError for what JSON rows cannot hold."""
    return json.dumps(value, ensure_ascii=False, default=_refuse).encode()


def fingerprint(value: Any) -> bytes:
    """Write a value for comparison only: unlike `==` it tells 1 from True and from 1.0."""
    return json.dumps(value, default=repr).encode()


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from None


def _weigh(text: str, budget: Budget) -> None:
    """Refuse what is too nested or too wide, before anything is built."""
    if len(text) <= budget.depth:
        return
    structure = _STRING.sub("", text)
    if structure.count(",") + structure.count("[") + structure.count("{") >= budget.nodes:
        raise OverBudget(f"it holds more than {budget.nodes:,} values")
    nesting = accumulate(_NEST[bracket] for bracket in _BRACKET.findall(structure))
    if max(nesting, default=0) > budget.depth:
        raise OverBudget(f"it is nested deeper than {budget.depth} levels")


def _whole(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape[2] else escape[0]


def _integer(digits: str) -> int | Rotten:
    try:
        return int(digits)
    except ValueError:
        return Rotten("json", digits.encode(), f"an integer of {len(digits):,} digits")


def _refuse(value: Any) -> Any:
    raise TypeError(f"A JSON row cannot hold a {type(value).__qualname__}.")


_DECODER = json.JSONDecoder(parse_int=_integer)
