"""Description of the machine and the versions, and settings of the allocator."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "rigl-torch")
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**62),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""With these settings glibc keeps freed memory. By default it returns large blocks to the system and faults their pages
in again in every step, and on virtual machines the cost of these faults varies over minutes."""


def with_quiet_allocator() -> None:
    """Restart this program with ALLOCATOR in its environment, which glibc reads at the start of a process."""
    if not ALLOCATOR.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **ALLOCATOR})


def machine() -> dict[str, str | int]:
    import torch

    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor() -> str:
    """Return the name of the processor and its vector extensions."""
    return f"{_described().get('model name', platform.processor() or 'unknown')} ({' '.join(vector_extensions())})"


def vector_extensions() -> list[str]:
    flags = _described().get("flags", "").split()
    return [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]


def _described() -> dict[str, str]:
    """Return the first entry of /proc/cpuinfo."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
