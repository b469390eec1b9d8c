"""Fine-tuning: the run specification (`spec`), its events (`events`), and the loop between them.

`spec`, `events` and `summary` import no torch.
"""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

_MODULES = ("batches", "events", "features", "loop", "prefix", "probes", "spec", "summary")

if TYPE_CHECKING:
    from asi_core.training import (
        batches,
        events,
        features,
        loop,
        prefix,
        probes,
        spec,
        summary,
    )
else:
    __getattr__ = lazy_names(__name__, {module: module for module in _MODULES})

__all__ = ["batches", "events", "features", "loop", "prefix", "probes", "spec", "summary"]
