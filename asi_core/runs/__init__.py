"""Runs that continue when their page is closed: tables, store, engine and worker.

What programs use of them is here: `dataframe` and `history` read stored runs with pandas,
`lengthen` trains one on, `register_listener` follows all runs, and `write_event_files` writes
TensorBoard's files.
"""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

_HOMES = {
    "RunListener": "engine.listeners",
    "register_listener": "engine.listeners",
    "lengthen": "engine.lengthening",
    "dataframe": "exchange.frames",
    "history": "exchange.frames",
    "write_event_files": "exchange.event_files",
}

if TYPE_CHECKING:
    from asi_core.runs.engine.lengthening import lengthen
    from asi_core.runs.engine.listeners import RunListener, register_listener
    from asi_core.runs.exchange.event_files import write_event_files
    from asi_core.runs.exchange.frames import dataframe, history
else:
    __getattr__ = lazy_names(__name__, {name: f"{home}:{name}" for name, home in _HOMES.items()})

__all__ = [
    "RunListener",
    "dataframe",
    "history",
    "lengthen",
    "register_listener",
    "write_event_files",
]
