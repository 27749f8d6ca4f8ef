"""`checkpoint-explorer export` and `import`: bundles as the terminal shows them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from checkpoints.bundling import aimport_bundle, awrite_bundle, describe
from checkpoints.errors import StoreError
from checkpoints.stores import Location
from checkpoints.stores.location import printable, shown
from explorer.copying import INTERRUPTED, Line
from explorer.people.roles import Person
from explorer.wording import count, size

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping

    from checkpoints.bundling import Bundled, Imported, Progress
    from checkpoints.stores.records import Size
    from explorer.audit import recorded

EXPORT = "Write whole threads of a store into a file, from which they can be imported again."
IMPORT = "Put the threads of a bundle into a store of either kind. One that is there already stays as it is."
STEPS = {"export": "Exporting", "check": "Checking", "import": "Importing"}
MOST_REFUSED = 20  # that are named


class ListUnreadable(StoreError):
    """The list of threads to export cannot be read."""

    advice = "Name a text file in UTF-8 with one thread id on each line, or - for the standard input."


def add_export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", help="the store that has the threads; it is only read")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--thread", action="append", metavar="ID", help="a thread; may be given several times")
    which.add_argument("--threads-from", metavar="FILE", help="a file with one id on each line; - reads them")
    which.add_argument("--all", action="store_true", help="all threads of the store")
    parser.add_argument("--to", required=True, metavar="FILE", help="the bundle, a new file")


def add_import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="FILE", help="the bundle; it is only read")
    parser.add_argument("store", metavar="STORE", help="the store that gets them; a file may be a new one")
    parser.add_argument("--thread", action="append", metavar="ID", help="only this thread; may be repeated")


def export_bundle(options: Namespace) -> int:
    """Export threads, and say what was. Raises StoreError."""
    store = Location.parse(options.store)
    thread_ids = None if options.all else options.thread or _listed(options.threads_from)
    line = BundleLine()
    try:
        with _noted("export", store) as entry:
            bundled = asyncio.run(awrite_bundle(store, thread_ids, options.to, progress=line.tell))
            entry.add(threads=bundled.threads, digest=bundled.digest)
    except KeyboardInterrupt:
        line.clear()
        print("Stopped: nothing was exported.", file=sys.stderr)
        return INTERRUPTED
    finally:
        line.clear()
    print("\n".join(_exported(bundled, store, options.to)))
    return 0


def import_bundle(options: Namespace) -> int:
    """Import threads, say what was and what was refused; return 1 where something was. Raises StoreError."""
    store = Location.parse(options.store)
    line = BundleLine()
    print(_described(options.bundle))
    try:
        with _noted("import", store) as entry:
            imported = asyncio.run(
                aimport_bundle(options.bundle, store, thread_ids=options.thread, progress=line.tell)
            )
            entry.add(threads=imported.threads, refused=len(imported.refused))
    except KeyboardInterrupt:
        line.clear()
        print("Stopped. What was imported by then stays; importing again goes on.", file=sys.stderr)
        return INTERRUPTED
    finally:
        line.clear()
    print("\n".join(_imported(imported, store)))
    print("".join(f"{text}\n" for text in _refused(imported)), end="", file=sys.stderr)
    return 1 if imported.refused else 0


def _noted(action: str, store: Location) -> recorded:
    """Note it in the audit, before and after. Raises NotAudited and CommandError."""
    from explorer import installation, stores  # these need the settings
    from explorer.audit import recorded

    installation.require()
    return recorded(Person.of_system_user(), action, store=stores.key(store))


class BundleLine(Line):
    """The terminal's last line, which tells how many threads are done."""

    def tell(self, progress: Progress) -> None:
        """Tell it, a few times a second."""
        self.write(f"{STEPS[progress.step]} {_threads(progress)}, {size(progress.done.bytes)}")


def _threads(progress: Progress) -> str:
    if progress.of is None:
        return count(progress.threads, "thread")
    return f"{progress.threads:,} of {count(progress.of, 'thread')}"


def _listed(path: str) -> list[str]:
    """Read thread ids, one on each line. Raises ListUnreadable."""
    try:
        text = sys.stdin.read() if path == "-" else _text(path)
    except OSError as error:
        raise ListUnreadable(f"{shown(path)} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ListUnreadable(f"{shown(path)} is no text.") from None
    ids = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not ids:
        raise ListUnreadable(f"{shown(path)} names no thread.")
    return ids


def _text(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _exported(bundled: Bundled, store: Location, path: str) -> Iterator[str]:
    into = printable(shown(path))
    yield f"Exported {count(bundled.threads, 'thread')} of {_place(store)} into {into}:"
    yield from _tables(bundled.tables)
    yield f"The file has {size(bundled.bytes)}. Its SHA-256 is {bundled.digest}"


def _described(path: str) -> str:
    found = describe(path)
    made = f"{count(found.threads, 'thread')} of {printable(found.header.store)}"
    return f"{printable(shown(path))} has {made}, exported at {printable(found.header.made_at)}."


def _imported(imported: Imported, store: Location) -> Iterator[str]:
    yield f"Imported {count(imported.threads, 'thread')} into {_place(store)}:"
    yield from _tables(imported.tables)
    if imported.left:
        yield f"{count(imported.left, 'blob')} that no checkpoint refers to stayed behind."


def _refused(imported: Imported) -> Iterator[str]:
    if not imported.refused:
        return
    yield f"{count(len(imported.refused), 'thread was', 'threads were')} not imported:"
    for error in list(imported.refused.values())[:MOST_REFUSED]:
        yield f"  {error.sentence}"
    if (more := len(imported.refused) - MOST_REFUSED) > 0:
        yield f"  and {more:,} more."


def _tables(tables: Mapping[str, Size]) -> Iterator[str]:
    for table, held in tables.items():
        yield f"  {table:<18} {count(held.rows, 'row')}, {size(held.bytes)}"


def _place(location: Location) -> str:
    return printable(shown(location.text))
