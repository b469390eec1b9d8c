"""ASI Lab: fine-tuning with compressed activations, and the accounting of every byte and multiply.

Importing the package does not import torch; its tensor functions do, when they are first used.
"""

import os
from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

# Subpackages and modules, so that `asi_core.methods.ASI(ranks=4)` works.
_MODULES = (
    *(
        "bench",
        "compression",
        "costs",
        "datasets",
        "errors",
        "figures",
        "layers",
        "linalg",
        "methods",
    ),
    *(
        "planning",
        "poster",
        "records",
        "results",
        "runs",
        "settings",
        "testing",
        "training",
        "units",
        "zoo",
    ),
)

# PyTorch's profiler, which reports allocations, otherwise writes to the terminal that it begins.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

if TYPE_CHECKING:
    from asi_core import (
        bench,
        compression,
        costs,
        datasets,
        errors,
        figures,
        layers,
        linalg,
        methods,
        planning,
        poster,
        records,
        results,
        runs,
        settings,
        testing,
        training,
        units,
        zoo,
    )
    from asi_core.compression.config import Compression
    from asi_core.compression.prepare import prepare_
    from asi_core.compression.profile import profile
    from asi_core.compression.verbs import estimate, measure
    from asi_core.datasets import register_dataset
    from asi_core.layers.surgery import compress_, restore_
    from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
    from asi_core.methods import register_method
    from asi_core.planning import plan
    from asi_core.runs.engine.keeping import keep_run
    from asi_core.training.fine_tuning import fine_tune
    from asi_core.training.fitting import fit
    from asi_core.zoo.cards import register_model
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Compression": "compression.config:Compression",
            "compress_": "layers.surgery:compress_",
            "prepare_": "compression.prepare:prepare_",
            "warm_starts": "layers.warm_starts:warm_starts",
            "load_warm_starts_": "layers.warm_starts:load_warm_starts_",
            "restore_": "layers.surgery:restore_",
            "estimate": "compression.verbs:estimate",
            "measure": "compression.verbs:measure",
            "plan": "planning:plan",
            "profile": "compression.profile:profile",
            "fine_tune": "training.fine_tuning:fine_tune",
            "fit": "training.fitting:fit",
            "keep_run": "runs.engine.keeping:keep_run",
            "register_dataset": "datasets:register_dataset",
            "register_method": "methods:register_method",
            "register_model": "zoo.cards:register_model",
            **{name: name for name in _MODULES},
        },
    )

__version__ = "1.0.0"
__all__ = [
    "Compression",
    "bench",
    "compress_",
    "compression",
    "costs",
    "datasets",
    "errors",
    "estimate",
    "figures",
    "fine_tune",
    "fit",
    "keep_run",
    "layers",
    "linalg",
    "load_warm_starts_",
    "measure",
    "methods",
    "plan",
    "planning",
    "poster",
    "prepare_",
    "profile",
    "records",
    "register_dataset",
    "register_method",
    "register_model",
    "restore_",
    "results",
    "runs",
    "settings",
    "testing",
    "training",
    "units",
    "warm_starts",
    "zoo",
]


def __dir__() -> list[str]:
    return __all__
