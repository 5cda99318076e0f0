"""The command line of scripts/gpu_check."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchmarks.machine import machine, versions

from sparseift.common.files import replacing

from . import arithmetic, runs, speed  # noqa: F401  (these fill CHECKS)
from .check import CHECKS, LeftOut, Setting


def arguments() -> argparse.Namespace:
    width = max(map(len, CHECKS))
    parser = argparse.ArgumentParser(
        prog="gpu_check",
        description="Check sparse training on this machine's GPUs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="checks:\n" + "\n".join(f"  {one.name.ljust(width)}  {one.title}" for one in CHECKS.values()),
    )
    there = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("names", nargs="*", metavar="CHECK", help="checks to run (default: all)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default=there, help="default: cuda if there is a GPU")
    parser.add_argument("--quick", action="store_true", help="use small sizes, as a smoke test")
    parser.add_argument("--out", type=Path, default=Path("gpu_check"), help="output folder (default: %(default)s)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in CHECKS]:
        parser.exit(2, f"gpu_check: CHECK is '{unknown[0]}'; expected one of {', '.join(CHECKS)}\n")
    if options.device == "cuda" and there == "cpu":
        parser.exit(2, "gpu_check: --device is 'cuda'; expected cpu, because there is no GPU\n")
    return options


def main() -> None:
    options = arguments()
    warnings.simplefilter("ignore")  # third-party libraries warn about each other
    folder = options.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(options.device, options.quick, folder)
    report: dict[str, Any] = {"quick": options.quick, "machine": described(options.device), "checks": {}}
    for name in options.names or CHECKS:
        report["checks"][name] = row = outcome_of(name, setting)
        print(f"{name}: {row['outcome']} ({row['seconds']:.0f} s)", flush=True)
        for line in lines(row["figures"]):
            print("   ", line, flush=True)
        write(report, folder)
    failed = [name for name, row in report["checks"].items() if row["outcome"].startswith("failed")]
    sys.exit(1 if failed else 0)


def described(device: str) -> dict[str, Any]:
    """Return the machine, its GPUs and the versions."""
    count = torch.cuda.device_count() if device == "cuda" else 0
    found = [torch.cuda.get_device_properties(index) for index in range(count)]
    gpus = [f"{gpu.name}, {gpu.total_memory / 1e9:.1f} GB, compute {gpu.major}.{gpu.minor}" for gpu in found]
    libraries = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if gpus else {}
    return {**machine(), "device": device, "gpus": gpus, **libraries, **versions()}


def outcome_of(name: str, setting: Setting) -> dict[str, Any]:
    began, figures = time.monotonic(), {}
    try:
        found = CHECKS[name].run(setting)
        outcome, figures = "passed" if found.passed else "failed", found.figures
    except LeftOut as reason:
        outcome = f"left out: {reason}"
    except Exception as error:  # the other checks still tell something
        traceback.print_exc()
        outcome = f"failed: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    title, seconds = CHECKS[name].title, round(time.monotonic() - began, 1)
    return {"title": title, "outcome": outcome, "seconds": seconds, "figures": figures}


def write(report: dict[str, Any], folder: Path) -> None:
    """Write gpu_check.json and gpu_check.md."""
    texts = {"gpu_check.json": json.dumps(report, indent=1), "gpu_check.md": "\n".join(markdown(report))}
    for name, text in texts.items():
        with replacing(folder / name) as partial:
            partial.write_text(text + "\n")


def markdown(report: dict[str, Any]) -> Iterator[str]:
    yield from ("# Check of sparse training on this machine", "")
    if report["quick"]:
        yield from ("Run with --quick: sizes are so small that the times mean nothing.", "")
    yield from (f"- {name}: {value}" for name, value in report["machine"].items())
    yield from ("", "| check | | outcome | seconds |", "|---|---|---|---:|")
    for name, row in report["checks"].items():
        yield f"| {name} | {row['title']} | {row['outcome']} | {row['seconds']:.0f} |"
    for name, row in report["checks"].items():
        if row["figures"]:
            yield from ("", f"## {name}", "", *(f"- {line}" for line in lines(row["figures"])))


def lines(figures: dict[str, Any]) -> Iterator[str]:
    for name, value in figures.items():
        if isinstance(value, dict):
            parts = ", ".join(f"{key} {shown(part)}" for key, part in value.items())
            yield f"{name}: {parts}"
        else:
            yield f"{name}: {shown(value)}"


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
