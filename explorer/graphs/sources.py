"""Where graphs are: `langgraph.json`, or `name=path.py:variable`. Nothing is imported here."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAME = re.compile(r"[\w.@ -]{1,100}")
FORM = "Write a graph as name=path/to/agent.py:variable, or name=package.module:variable."
ABOUT = 'langgraph.json holds {"graphs": {"agent": "./agent.py:graph"}}.'


class GraphsRefused(Exception):
    """The configuration of graphs cannot be used. Its text says what to change."""


@dataclass(frozen=True, slots=True)
class GraphSource:
    """One graph by name: `target` is `file.py:variable` or `module:variable`.

    `folder` is what relative paths start from, and where the graph runs. `paths` are further folders that
    it imports from. `env_file` is read, and `env` set, when it runs: secrets stay where they are until then.
    """

    name: str
    target: str
    folder: str
    paths: tuple[str, ...] = ()
    env_file: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        """The file or the module."""
        return self.target.rpartition(":")[0]

    @property
    def variable(self) -> str:
        return self.target.rpartition(":")[2]

    @property
    def file(self) -> Path | None:
        """The file's absolute path; None where the target names a module."""
        if self.where.endswith(".py") or "/" in self.where or os.sep in self.where:
            return Path(self.folder, self.where).resolve()
        return None

    def environment(self) -> dict[str, str]:
        """Return what the graph's process gets beside the environment of this one. Raises GraphsRefused."""
        found = dict(self.env)
        if self.env_file:
            try:
                read = dotenv_values(self.env_file)
            except (OSError, UnicodeDecodeError) as error:
                raise GraphsRefused(f"The env file {self.env_file} cannot be read: {_why(error)}.") from None
            found |= {name: value for name, value in read.items() if value is not None}
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> GraphSource:
        return cls(**{**given, "paths": tuple(given["paths"])})


def named(texts: Iterable[str], folder: str = ".") -> Iterator[GraphSource]:
    """Yield the graphs of `--graph name=target` options. Raises GraphsRefused."""
    for text in texts:
        name, equals, target = text.partition("=")
        if not equals:
            raise GraphsRefused(f"{text!r} names no graph. {FORM}")
        yield _source(name.strip(), target.strip(), os.path.abspath(folder))


def configured(path: str) -> Iterator[GraphSource]:
    """Yield the graphs of a `langgraph.json`. Raises GraphsRefused."""
    file = Path(path)
    if file.is_dir():
        file /= "langgraph.json"
    content = _content(file)
    folder = str(file.resolve().parent)
    env_file, env = _env(content.get("env"), folder, file)
    options = {"paths": tuple(_paths(content.get("dependencies"), folder, file))}
    graphs = content.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise GraphsRefused(f"{file} names no graphs. {ABOUT}")
    for name, target in graphs.items():
        given = target.get("path") if isinstance(target, dict) else target
        if not isinstance(given, str):
            raise GraphsRefused(f"The graph {name!r} of {file} has no path. {ABOUT}")
        yield _source(name, given, folder, env_file=env_file, env=env, **options)


def all_of(config: str, options: Iterable[str]) -> tuple[GraphSource, ...]:
    """Return the graphs of a configuration file, if one is named, and of options. Raises GraphsRefused."""
    found: dict[str, GraphSource] = {}
    for source in (*(configured(config) if config else ()), *named(options)):
        if source.name in found:
            raise GraphsRefused(f"Two graphs are called {source.name!r}. Name one of them differently.")
        found[source.name] = source
    return tuple(found.values())


def _source(name: str, target: str, folder: str, **options: Any) -> GraphSource:
    if not NAME.fullmatch(name):
        raise GraphsRefused(
            f"{name!r} cannot be the name of a graph: use letters, digits, spaces and . _ - @."
        )
    where, colon, variable = target.rpartition(":")
    if not (colon and where and variable.isidentifier()):
        raise GraphsRefused(f"{target!r} names no graph. {FORM}")
    return GraphSource(name, target, folder, **options)


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise GraphsRefused(f"{file} cannot be read: {_why(error)}.") from None
    except ValueError as error:
        raise GraphsRefused(f"{file} is not JSON: {error}. {ABOUT}") from None
    if not isinstance(content, dict):
        raise GraphsRefused(f"{file} holds no object. {ABOUT}")
    return content


def _env(given: object, folder: str, file: Path) -> tuple[str, dict[str, str]]:
    match given:
        case None | "":
            return "", {}
        case str():
            path = Path(folder, given)
            if not path.is_file():
                raise GraphsRefused(f'There is no file {path}, which is "env" of {file}.')
            return str(path), {}
        case dict():
            return "", {str(name): str(value) for name, value in given.items()}
    raise GraphsRefused(f'"env" of {file} is neither the path of a file nor an object.')


def _paths(given: object, folder: str, file: Path) -> Iterator[str]:
    """Yield the local folders among the dependencies; packages are installed, or they are not."""
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise GraphsRefused(f'"dependencies" of {file} is not a list of texts.')
    for each in given:
        if each.startswith((".", "/")):
            yield str(Path(folder, each).resolve())


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "it cannot be opened") if isinstance(error, OSError) else "it is not UTF-8"
