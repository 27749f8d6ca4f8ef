"""From a source to a graph: imported, made by its factory, compiled. Only a run's own process does this."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import ModuleType

    from explorer.graphs.sources import GraphSource


class NoGraph(Exception):
    """What the configuration names is there and is no graph."""


@asynccontextmanager
async def loaded(source: GraphSource, config: dict[str, Any]) -> AsyncIterator[Pregel[Any, Any, Any, Any]]:
    """Give the graph of a source. What importing it raises is raised; NoGraph where it names something else.

    A factory is called with the config, if it takes one; it may be a coroutine or a context manager.
    """
    module = imported(source)
    made = getattr(module, source.variable, None)
    if made is None:
        graphs = [name for name, each in vars(module).items() if isinstance(each, (Pregel, StateGraph))]
        known = f" Its graphs are: {', '.join(graphs)}." if graphs else ""
        raise NoGraph(f"{source.where} has no {source.variable}.{known}")
    if not isinstance(made, (Pregel, StateGraph)) and callable(made):
        made = made(config) if _takes_config(made) else made()
        if inspect.isawaitable(made):
            made = await made
    if isinstance(made, AbstractAsyncContextManager):
        async with made as entered:
            yield _compiled(entered, source)
    elif isinstance(made, AbstractContextManager):
        with made as entered:
            yield _compiled(entered, source)
    else:
        yield _compiled(made, source)


def imported(source: GraphSource) -> ModuleType:
    """Import the module that a source names."""
    importlib.invalidate_caches()
    file = source.file
    for path in reversed((*source.paths, source.folder)):
        _import_from(path)
    if file is None:
        return importlib.import_module(source.where)
    if not file.is_file():
        raise NoGraph(f"There is no file {file}.")
    root, name = _package(file)
    _import_from(str(root))
    module = importlib.import_module(name) if "." in name else _executed(name, file)
    # An agent that ran as a script has stored its own classes as `__main__`'s.
    sys.modules["__main__"] = module
    return module


def _executed(name: str, file: Path) -> ModuleType:
    """Import one file, whatever its name is taken by."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise NoGraph(f"{file} is not a file of Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _package(file: Path) -> tuple[Path, str]:
    """Return the folder to import from, and the dotted name of a file that may belong to a package."""
    folder, parts = file.parent, [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _import_from(path: str) -> None:
    if path not in sys.path:
        sys.path.insert(0, path)


def _takes_config(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # written in C
        return False
    given = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return any(each.name == "config" or each.default is each.empty for each in given)


def _compiled(made: Any, source: GraphSource) -> Pregel[Any, Any, Any, Any]:
    if isinstance(made, StateGraph):
        return made.compile(name=source.name)
    if not isinstance(made, Pregel):
        raise NoGraph(f"{source.target} is a {type(made).__name__}, not a graph of LangGraph.")
    return made
