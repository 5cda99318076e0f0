"""python -m sparseift.report: summarize runs in tables, figures and a page."""

from __future__ import annotations

from ..common.extras import require_suite
from ..common.messages import one_line_errors


def main() -> None:
    with one_line_errors():
        require_suite("sparseift report")
    from .program import main as report

    report()


if __name__ == "__main__":
    main()
