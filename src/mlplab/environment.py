"""What made a result: versions, processor, source revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "sympy")


def environment() -> dict[str, object]:
    """Package versions, processor, threads, and the revision of the source where it is a checkout."""
    return {
        "mlplab": _version("mlplab"),
        "revision": source_revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }


def source_revision() -> str | None:
    """The commit of the checkout that this code runs from, `+changes` where it is not what was committed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        # Evidence of other exercises may be new beside it: only the code decides what a result means.
        changed = _git(root, "status", "--porcelain", "--", "src", "pyproject.toml", "constraints.txt")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    ran = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    flags = [
        flag
        for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        if flag in fields.get("flags", "").split()
    ]
    return f"{fields.get('model name', platform.machine()).strip()}, {' '.join(flags)}".rstrip(", ")
