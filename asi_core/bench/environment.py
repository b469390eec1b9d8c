"""A description of the machine that a measurement was made on."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch

# Settings of memory allocation; a page fault for each new page can cost more than a step.
_ALLOCATOR = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_", "PYTORCH_", "OMP_", "MKL_", "KMP_")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def environment(device: torch.device) -> dict[str, Any]:
    """Day, machine, versions, threads and allocator settings, for JSON."""
    return {
        "date": date.today().isoformat(),
        "device": str(device),
        "accelerator": _accelerator(device),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.is_available(),
        "allocator": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_ALLOCATOR)},
        "huge_pages": _HUGE_PAGES.read_text(encoding="utf-8").strip()
        if _HUGE_PAGES.exists()
        else None,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _accelerator(device: torch.device) -> dict[str, Any] | None:
    """Name, memory and libraries of a device that is not the processor."""
    if device.type == "cpu":
        return None
    module = torch.get_device_module(device)
    facts = module.get_device_properties(device) if hasattr(module, "get_device_properties") else ""
    return {
        "name": getattr(facts, "name", device.type),
        "memory_bytes": getattr(facts, "total_memory", None),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32": torch.backends.cudnn.allow_tf32,
    }


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
