"""Costs of training.

`accounting` and `estimate` count by formula, `measurement` measures what is really kept.
"""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

if TYPE_CHECKING:
    from asi_core.costs import accounting, estimate, measurement
else:
    __getattr__ = lazy_names(__name__, {m: m for m in ("accounting", "estimate", "measurement")})

__all__ = ["accounting", "estimate", "measurement"]
