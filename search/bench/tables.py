"""Benchmarks as Markdown tables, to be read as they are or put into a document."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.results import KmeansBench, KnnBench, QueryBench


def kmeans_table(bench: KmeansBench) -> list[str]:
    """Lines of a table: a row a k, time and inertia of each way."""
    found = {(t.method, t.k): t for t in bench.timings}
    methods = list(dict.fromkeys(t.method for t in bench.timings))
    rows = [["k", *(f"{m} {what}" for m in methods for what in ("ms", "inertia"))]]
    for k in dict.fromkeys(t.k for t in bench.timings):
        row = [str(k)]
        for t in (found[m, k] for m in methods):
            row += [
                f"{t.ms:.1f} ({t.time_ratio:.2f}x)",
                f"{t.inertia:.1f} ({t.inertia_ratio:.3f}x)",
            ]
        rows.append(row)
    return [
        *_markdown(rows),
        f"{bench.pixels:,} pixels, {bench.threads} threads, medians of {bench.runs} interleaved "
        "runs; x: against faiss on all pixels, 20 iterations.",
    ]


def knn_table(bench: KnnBench) -> list[str]:
    """Lines of a table: a row a number of queries and K, ms and recall of each index."""
    found = {(t.engine, t.index, t.queries, t.k): t for t in bench.timings}
    columns = list(dict.fromkeys((t.engine, t.index) for t in bench.timings))
    rows = [["queries", "K"]]
    for engine, index in columns:
        rows[0] += [f"{engine} {index} ms"] + ["recall"] * _approximate(index)
    for queries, k in dict.fromkeys((t.queries, t.k) for t in bench.timings):
        row = [str(queries), str(k)]
        for engine, index in columns:
            t = found[engine, index, queries, k]
            row += [f"{t.ms:.2f}"] + [f"{t.recall:.3f}"] * _approximate(index)
        rows.append(row)
    built = ", ".join(f"{engine} {seconds:.1f} s" for engine, seconds in bench.build_s.items())
    return [
        *_markdown(rows),
        f"{bench.data}: {bench.rows:,} x {bench.dim}; IVF of {bench.lists} lists, "
        f"{bench.probes} searched; {bench.threads} threads; medians of {bench.runs} interleaved "
        f"calls; Milvus {bench.milvus}; vectors taken in and indexed in: {built}.",
    ]


def query_table(bench: QueryBench) -> list[str]:
    """Lines of a table: a row for the query, its parts, and each yardstick."""
    rows = [["what", "p50 ms", "p95 ms"]]
    rows += [[t.what, f"{t.p50_ms:.1f}", f"{t.p95_ms:.1f}"] for t in bench.timings]
    held = ", ".join(f"{name} {rows:,}" for name, rows in bench.rows.items())
    filled = f"filled in {bench.fill_s:.0f} s" if bench.fill_s is not None else "kept"
    return [
        *_markdown(rows),
        f"{bench.videos:,} synthetic videos ({held} rows), {filled}; {bench.queries} stored ids; "
        f"recall@10 {bench.recall:.3f}; {bench.threads} threads; Milvus {bench.milvus}.",
        *bench.notes,
    ]


def _approximate(index: str) -> bool:
    return index != "FLAT"


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells, the first of which is the heading, right-aligned; then an empty line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.rjust(w) for cell, w in zip(row, widths)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|"
    return [lines[0], rule, *lines[1:], ""]
