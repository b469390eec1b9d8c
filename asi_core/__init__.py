"""ASI Lab: fine-tuning with compressed activations, and the accounting of every byte and multiply.

Importing the package does not import torch; its tensor functions do, when they are first used.
"""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

if TYPE_CHECKING:
    from asi_core.costs.estimate import estimate
    from asi_core.layers.surgery import compress_, restore_
    from asi_core.training.loop import fine_tune
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "compress_": "layers.surgery:compress_",
            "restore_": "layers.surgery:restore_",
            "estimate": "costs.estimate:estimate",
            "fine_tune": "training.loop:fine_tune",
        },
    )

__version__ = "1.0.0"
__all__ = ["compress_", "estimate", "fine_tune", "restore_"]
