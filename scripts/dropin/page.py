"""Writes the table as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sparseift.common.console import si

from .rows import NOT_DONE, TOLERANCE, Row, lacks_check


def markdown(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the page: totals by member, reasons for rejections, and all networks."""
    members = list(dict.fromkeys(row.member for row in rows))
    networks = list(dict.fromkeys(row.network for row in rows))
    found = {(row.network, row.member): row for row in rows}
    checked = any(row.check for row in rows)
    agree = sum(row.agrees for row in rows if row.budget)
    yield f"# {len(networks)} networks at sparsity {rows[0].sparsity:g}"
    yield ""
    yield (
        "`scripts/dropin_table` writes this page. A network is supported if the FLOPs of the transformed network are "
        f"within {TOLERANCE:.1%} of those of the dense network. Other networks are rejected with a one-line reason. "
        "FLOPs are for one image, with two per multiply-accumulate, of layers and of the products of attention. "
        f"torch's `FlopCounterMode` counts the same FLOPs, before and after the transformation, in {agree} of "
        f"{sum(bool(row.budget) for row in rows)} rows with a plan."
    )
    if checked:
        yield ""
        yield (
            "The check runs a network with real weights, on smaller images if the network accepts them. It requires "
            "finite outputs, masked weights that stay zero in a training step with a RigL update, and equal outputs of "
            "a copy from before the step that loads the new state dict. Small networks are checked first. "
            "`dropin.csv` has the result of every row."
        )
    yield ""
    outcomes = ["supported", "rejected", *(["check passed", "not checked"] if checked else [])]
    yield from table(["member", "networks", *outcomes])
    for member in members:
        column = [row for row in rows if row.member == member]
        met, refused = sum(row.met for row in column), sum(bool(row.refusal) for row in column)
        cells = [f"`{member}`", len(column), f"{met} ({met / len(column):.1%})", refused]
        if checked:
            cells.append(sum(row.check == "passed" for row in column))
            cells.append(sum(lacks_check(row) for row in column))
        yield line(cells)
    yield from lines("Rejected networks", [(row, row.refusal) for row in rows if row.refusal])
    failed = [row for row in rows if row.check and row.check != "passed" and not row.check.startswith(NOT_DONE)]
    yield from lines("Failed checks", [(row, row.check) for row in failed])
    yield from ("", "## All networks", "")
    yield (
        "Cells show stored parameters / active (not masked) parameters. The last column shows what `sparse_wide` would "
        "really cost, relative to the dense network, if its plan did not count the products of attention."
    )
    yield ""
    header = ["network", "pixels", "FLOPs", "parameters", *(f"`{member}`" for member in members), "layers alone"]
    yield from table(header)
    for network in networks:
        own = [found[network, member] for member in members if (network, member) in found]
        first = max(own, key=lambda row: row.budget)
        cells = [network, first.image or "-", si(first.budget) if first.budget else "-", si(first.dense)]
        wide = found.get((network, "sparse_wide"))
        really = f"{wide.layers_ratio:.4f}" if wide and wide.budget else "-"
        yield line([*cells, *(cell(found.get((network, member))) for member in members), really])


def lines(title: str, found: list[tuple[Row, str]]) -> Iterator[str]:
    """Yield a section with one line per network and text, with the members that it applies to."""
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
        return "rejected"
    return f"{si(row.stored)} / {si(row.active)}" + ("" if row.met else f", {row.ratio:.4f} of the FLOPs")


def line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def table(header: list[str]) -> Iterator[str]:
    yield line(header)
    yield line(["---", *["---:"] * (len(header) - 1)])
