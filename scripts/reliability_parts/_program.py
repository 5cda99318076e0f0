"""The command line of scripts/reliability."""

from __future__ import annotations

import argparse
import json
import pkgutil
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import reliability_parts

from ._row import Row, table


def parts() -> dict[str, ModuleType]:
    names = [module.name for module in pkgutil.iter_modules(reliability_parts.__path__) if module.name[0] != "_"]
    return {name: import_module(f"reliability_parts.{name}") for name in names}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="reliability", description="Break runs and their inputs on purpose, and count what becomes of them"
    )
    choices = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, module in parts().items():
        title = (module.__doc__ or name).splitlines()[0]
        own = choices.add_parser(name, help=title, description=title)
        own.add_argument("--seed", type=int, default=0, help="of the random choices (%(default)s)")
        own.add_argument("--processes", type=int, default=2, help="processes to use (%(default)s)")
        own.add_argument("--folder", type=Path, help="new folder to work in, which is kept (a temporary one)")
        own.add_argument("--json", type=Path, metavar="FILE", help="file for all cases")
        if hasattr(module, "add_arguments"):
            module.add_arguments(own)
    options = parser.parse_args()
    if options.folder and options.folder.exists():
        parser.exit(2, f"reliability: --folder is '{options.folder}'; expected a folder that does not exist\n")
    return options


@contextmanager
def working_folder(chosen: Path | None) -> Iterator[Path]:
    if chosen:
        chosen.mkdir(parents=True)
        yield chosen.resolve()
    else:
        with TemporaryDirectory(prefix="reliability-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def show(rows: list[Row], seconds: float) -> None:
    for kind, count, outcomes in table(rows):
        print(f"{kind}: {count}: {outcomes}")
    for row in rows:
        if not row.good:
            print(f"NOT AS PROMISED {row.kind}: {row.case}: {row.outcome}: {row.detail}")
    print(f"{sum(row.good for row in rows)} of {len(rows)} as promised ({seconds:.0f} s)")


def main() -> None:
    options = arguments()
    began = time.monotonic()
    with working_folder(options.folder) as options.folder:
        rows = list(parts()[options.part].run(options))
    seconds = time.monotonic() - began
    show(rows, seconds)
    if options.json:
        command = shlex.join(["scripts/reliability", *sys.argv[1:]])
        content = {"command": command, "seconds": round(seconds), "table": table(rows), "rows": [*map(asdict, rows)]}
        options.json.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    sys.exit(not rows or not all(row.good for row in rows))
