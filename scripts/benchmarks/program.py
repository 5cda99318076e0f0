"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path

import torch

from . import checkpoint, inference, input, memory, overhead, sparse, start, step  # noqa: F401  (these fill ROWS)
from .harness import CLOCKS, ROWS, Scale
from .machine import ALLOCATOR, machine, versions
from .tables import as_dict, cells, earlier, write


def arguments() -> argparse.Namespace:
    width = max(map(len, ROWS))
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure the cost of sparse training on this machine",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="benchmarks:\n" + "\n".join(f"  {row.name.ljust(width)}  {row.title}" for row in ROWS.values()),
    )
    parser.add_argument("rows", nargs="*", metavar="BENCHMARK", help="benchmarks to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="use the smallest sizes and skip the long benchmarks")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for a shared machine")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("benchmark"), help="output folder (default: %(default)s)")
    options = parser.parse_args()
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.exit(2, f"bench: BENCHMARK is '{unknown[0]}'; expected one of {', '.join(ROWS)}\n")
    there = [row.name for row in ROWS.values() if row.everywhere or options.device == "cpu"]
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "bench: --device is 'cuda'; expected cpu, because there is no GPU\n")
    if elsewhere := [name for name in options.rows if name not in there]:
        parser.exit(2, f"bench: BENCHMARK is '{elsewhere[0]}'; expected one of {', '.join(there)} with --device cuda\n")
    options.rows = options.rows or [name for name in there if ROWS[name].quick or not options.quick]
    return options


def main() -> None:
    options = arguments()
    warnings.simplefilter("ignore")  # third-party libraries warn about each other
    setting = {"quick": options.quick, "machine": machine(), "allocator": ALLOCATOR}
    if options.device != "cpu":
        setting["device"] = options.device
    rows = earlier(options.out / "bench.json", setting)
    for name in options.rows:
        began, load = time.monotonic(), os.getloadavg()[0]
        figures = [
            as_dict(figure) for figure in ROWS[name].measure(Scale(options.quick, options.clock, options.device))
        ]
        rows[name] = {
            "title": ROWS[name].title,
            "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            "versions": versions(),
            "clock": options.clock,
            "load": load,
            "figures": figures,
        }
        write(setting, {name: rows[name] for name in ROWS if name in rows}, options.out)
        print(f"{name} ({time.monotonic() - began:.0f} s)", flush=True)
        for figure in figures:
            print("   ", "  ".join(filter(None, cells(figure, options.quick))), flush=True)
