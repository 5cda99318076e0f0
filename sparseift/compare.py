"""python -m sparseift.compare A B: the differences between two runs."""

from __future__ import annotations

from pathlib import Path

from .common.extras import require_suite
from .common.messages import Arguments, one_line_errors


def main() -> None:
    parser = Arguments(prog="sparseift compare", description="Show how two runs differ: settings, layers, results")
    for name in "AB":
        parser.add_argument(name, type=Path, help="run folder")
    with one_line_errors():
        arguments = parser.parse_args()
        require_suite("sparseift compare")
        from .report.differences import compare

        compare(arguments.A, arguments.B)


if __name__ == "__main__":
    main()
