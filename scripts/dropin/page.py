"""The table as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sparseift.common.console import si

from .rows import NOT_DONE, TOLERANCE, Row, lacks_check


def markdown(rows: list[Row]) -> Iterator[str]:
    """The table, the share of networks that each member fits, and why it refuses the others."""
    members = list(dict.fromkeys(row.member for row in rows))
    networks = list(dict.fromkeys(row.network for row in rows))
    found = {(row.network, row.member): row for row in rows}
    checked = any(row.check for row in rows)
    yield f"# {len(networks)} networks at sparsity {rows[0].sparsity:g}"
    yield ""
    yield (
        f"Written by `scripts/dropin_table`. A network is met where its FLOPs are those of the dense one to within "
        f"{TOLERANCE:.1%}; all else is refused in one line. FLOPs are 2 per multiply-accumulate of convolutions and "
        "linears, of one image."
    )
    if checked:
        yield ""
        yield (
            "The check runs a network with real values, where it takes them on smaller images: finite outputs, one "
            "training step with an update of RigL that keeps to the masks, a state dict with which the network from "
            "before the step computes the same. Small networks come first; `dropin.csv` has the result of every row."
        )
    yield ""
    yield from table(["member", "networks", "met", "refused", *(["check passed", "not checked"] if checked else [])])
    for member in members:
        column = [row for row in rows if row.member == member]
        met, refused = sum(row.met for row in column), sum(bool(row.refusal) for row in column)
        cells = [f"`{member}`", len(column), f"{met} ({met / len(column):.1%})", refused]
        if checked:
            cells.append(sum(row.check == "passed" for row in column))
            cells.append(sum(lacks_check(row) for row in column))
        yield line(cells)
    yield from lines("Refused", [(row, row.refusal) for row in rows if row.refusal])
    failed = [row for row in rows if row.check and row.check != "passed" and not row.check.startswith(NOT_DONE)]
    yield from lines("Check not passed", [(row, row.check) for row in failed])
    yield from ("", "## All", "")
    yield "Parameters stored and, after the slash, active (not masked)."
    yield ""
    yield from table(["network", "pixels", "FLOPs", "parameters", *(f"`{member}`" for member in members)])
    for network in networks:
        own = [found[network, member] for member in members if (network, member) in found]
        first = max(own, key=lambda row: row.budget)
        cells = [network, first.image or "-", si(first.budget) if first.budget else "-", si(first.dense)]
        yield line([*cells, *(cell(found.get((network, member))) for member in members)])


def lines(title: str, found: list[tuple[Row, str]]) -> Iterator[str]:
    """A section with a line for each network and text, which names the members that it holds for."""
    members: dict[tuple[str, str], list[str]] = {}
    for row, text in found:
        members.setdefault((row.network, text), []).append(f"`{row.member}`")
    if members:
        yield from ("", f"## {title}", "")
    yield from (f"- {network}, {', '.join(names)}: {text}" for (network, text), names in members.items())


def cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.refusal:
        return "refused"
    return f"{si(row.stored)} / {si(row.active)}" + ("" if row.met else f", {row.ratio:.4f} of the FLOPs")


def line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def table(header: list[str]) -> Iterator[str]:
    yield line(header)
    yield line(["---", *["---:"] * (len(header) - 1)])
