"""Hostile rows run nothing. Each is read in a process of its own, under an audit hook."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import os, pickle, sys
import ormsgpack

marker = sys.argv[1]
pack = lambda code, *payload: ormsgpack.Ext(code, ormsgpack.packb(payload))
touch = f"touch {marker}"

class Reduced:
    def __reduce__(self):
        return os.system, (touch,)

def row(value):
    return "msgpack", ormsgpack.packb({"channel_values": {"a": value}})

ROWS = {
    "system": row(pack(0, "posix", "system", touch)),
    "popen": row(pack(1, "subprocess", "Popen", [["touch", marker]])),
    "shell": row(pack(2, "subprocess", "run", {"args": touch, "shell": True})),
    "method": row(pack(3, "os", "system", touch, "__call__")),
    "pydantic1": row(pack(4, "subprocess", "run", {"args": touch, "shell": True})),
    "pydantic2": row(pack(5, "subprocess", "run", {"args": touch, "shell": True}, "x")),
    "module": row(pack(0, "this", "zen", "x")),
    "object-array": row(pack(6, "O", [1], "C", b"\\0" * 8)),
    "snapshot": row(ormsgpack.Ext(7, ormsgpack.packb(pack(0, "posix", "system", touch)))),
    "json": ("json", b'{"channel_values": {"a": {"lc": 2, "type": "constructor", "id": ["os", "system"],'
                     b' "args": ["touch %s"], "kwargs": {}}}}' % marker.encode()),
    "utf-7": ("json", "{}".encode("utf-16")),
    "pickle": ("pickle", pickle.dumps(Reduced())),
    "old-pickle": ("pickle", b"cposix\\nsystem\\n(V\\\\u0074ouch\\nS'\\\\d'\\ntR."),
}
NAMES = sys.argv[2:] or list(ROWS)
"""

AUDITED = (
    PRELUDE
    + """
from checkpoints.inert import Extension, InertSerializer, Pickled, channel_spans, opened
from Crypto.Cipher import AES

KEY = b"sixteen byte key"
def sealed(type_, raw):
    cipher = AES.new(KEY, AES.MODE_EAX)
    body, tag = cipher.encrypt_and_digest(raw)
    return type_ + "+aes", cipher.nonce + tag + body

ROWS |= {name + " encrypted": sealed(*row) for name, row in ROWS.items()}
NAMES = list(ROWS)
serializers = InertSerializer(), InertSerializer(KEY)
seen = []
WATCHED = ("import", "open", "exec", "compile", "socket.", "subprocess.", "os.", "pickle.", "ctypes.dl")
recording = True
def hook(event, args):
    if recording and event.startswith(WATCHED):
        seen.append((event, repr(args)[:200]))
sys.addaudithook(hook)

def walk(value):
    if isinstance(value, Pickled):
        value.listing()
    thing = opened(value)
    for inner in (getattr(thing, "payload", None), getattr(thing, "value", None)):
        if inner is not None:
            walk(inner)
    if isinstance(value, dict):
        for inner in value.values():
            walk(inner)
    if isinstance(value, list):
        for inner in value:
            walk(inner)
    repr(value), repr(thing), isinstance(value, Extension) and hash(value)

def all_of_it():
    for serializer in serializers:
        for name in NAMES:
            value = serializer.loads_typed(ROWS[name])
            walk(value)
            serializer.dumps_typed(value)
            channel_spans(ROWS[name][1])
            serializer.loads_metadata(ROWS[name][1])

all_of_it()
recording = False
print(len(NAMES), seen)
"""
)

CONTROL = (
    PRELUDE
    + """
import logging
logging.disable()
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
events = []
sys.addaudithook(lambda event, args: events.append(event))
JsonPlusSerializer(pickle_fallback=True).loads_typed(ROWS[NAMES[0]])
import time
deadline = time.monotonic() + 10
while not os.path.exists(marker) and time.monotonic() < deadline:
    time.sleep(0.01)
print("os.system" in events or "subprocess.Popen" in events)
"""
)

FIRST = """
import sys
from checkpoints.inert import InertSerializer
inert = InertSerializer(b"sixteen byte key")
events = []
sys.addaudithook(lambda event, args: events.append(event))
value = inert.loads_typed((sys.argv[1], bytes.fromhex(sys.argv[2])))
print(value, {"import", "open", "exec", "ctypes.dlopen"} & set(events))
"""


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_reading_hostile_rows_imports_opens_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert run(AUDITED, str(marker)).strip() == "26 []"
    assert not marker.exists()


@pytest.mark.parametrize("name", ["system", "popen", "shell", "pydantic1", "snapshot", "pickle"])
def test_the_official_serializer_runs_the_same_rows(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    assert run(CONTROL, str(marker), name).strip() == "True"
    assert marker.exists()


def test_not_even_the_first_encrypted_row_imports_the_cipher() -> None:
    type_, raw = EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen byte key").dumps_typed({"a": 1})
    assert run(FIRST, type_, raw.hex()).strip() == "{'a': 1} set()"


def test_the_hook_sees_what_it_watches_for(tmp_path: Path) -> None:
    script = AUDITED.replace("all_of_it()\nrecording", "import this; open(os.devnull).close()\nrecording", 1)
    seen = run(script, str(tmp_path / "marker"))
    assert "('import'," in seen
    assert "('open'," in seen
