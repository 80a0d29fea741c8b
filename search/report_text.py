"""Results as text: tables, lines and notes for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..ingest.shards.home import Place, without_user
from ..ingest.system.step import duration
from ..schemas.answer import Heading, Line, Table, clock, count, decimals
from .likeness import nothing_alike, word_among
from .not_compared import pair_lacks, query_lacks

if TYPE_CHECKING:  # pydantic models, loaded by whatever creates them
    from ..schemas.explanation import Explanation, Played
    from ..schemas.results import (
        DuplicatesReport,
        FailedFile,
        ImportReport,
        IndexTuning,
        IngestReport,
        IngestTiming,
        LabelSummary,
        LibrarySummary,
        MatchedMoment,
        ModalityMatch,
        QueryResult,
        StoredVideo,
        VerifyReport,
    )

_MOST_LINES = 20
"""Files listed in a report; --json has them all."""

_LEAST_SHARE = 0.05
"""Of the time after the start of an ingest: a stage that took less is not named."""

_STAGES = {"decode": "decoding", "write": "writing"}
"""Names of an ingest's stages in a sentence, where they are no modalities."""

_FIGURES = ("shards", "milvus", "missing", "extra", "differing", "repaired")
"""Columns of figures in the table of 'vidsim verify'."""


def worked(report: IngestReport) -> bool:
    """Return whether anything of the folder is stored."""
    return bool(report.embedded or report.unchanged or report.moved)


def ingest_text(report: IngestReport) -> Iterator[Line]:
    """Format what a library holds after an ingest."""
    if not worked(report):
        return
    segments = count(report.segments, "segment")
    yield Heading(f"{report.library}: {count(report.videos, 'video')}, {segments}")
    for modality, rows in report.rows.items():
        silent = f" ({count(report.no_audio, 'video')} without sound)"
        note = silent if modality == "audio" and report.no_audio else ""
        yield f"    {modality:<6}  {count(rows, 'row')}{note}"


def ingest_notes(report: IngestReport, verbose: bool = False) -> list[str]:
    """Summarise an ingest, with the notes and warnings that it left."""
    done = f"{report.embedded:,} embedded, {report.unchanged:,} unchanged"
    moved = f", {report.moved:,} moved" if report.moved else ""
    removed = f", {report.removed:,} removed" if report.removed else ""
    left = f", {report.left:,} left" if report.left else ""
    notes = [f"{done}{moved}{removed}, {len(report.failed):,} failed{left}."]
    notes += failed_notes(report.failed)
    if unchanged := sum(not file.tried for file in report.failed):
        files = count(unchanged, "file")
        notes.append(f"Not tried again, as unchanged since: {files} (--retry tries all).")
    notes += _first([f"damaged: {f.path}: {f.reason}" for f in report.damaged])
    if report.missing:
        stored = count(len(report.missing), "stored video")
        notes.append(f"Of {stored} the file is gone (see --prune):")
        notes += _first(report.missing)
    notes += _passed_over(report.passed_over, verbose)
    notes += noted(report.notes)
    if report.embedded and report.timing and report.timing.startup_s:
        notes.append(_took(report.timing))
    if report.embedded:
        notes.append("Next: vidsim query CLIP, or vidsim libraries --videos for ids to query with.")
    elif not any(f.tried for f in report.failed) and not report.moved:
        notes.append("Nothing new to do.")
    return notes


def _took(timing: IngestTiming) -> str:
    """Say what an ingest spent its time on: each stage counts for as long as all waited for it."""
    stages = sorted(timing.stages.items(), key=lambda stage: -stage[1].held_s)
    least_s = (timing.seconds - timing.startup_s) * _LEAST_SHARE
    spent = [
        f"{_STAGES.get(name, name)} {_time(stage.held_s)}"
        for name, stage in stages
        if stage.held_s >= least_s
    ]
    start = f"{_time(timing.startup_s)} until networks were loaded"
    return f"Took {_time(timing.seconds)}: {', '.join([start, *spent])}."


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return duration(seconds)


def failed_notes(failed: Sequence[FailedFile]) -> list[str]:
    """List the files that gave nothing, and why."""
    return _first([f"failed{'' if f.tried else ' before'}: {f.path}: {f.reason}" for f in failed])


def noted(notes: Sequence[str]) -> list[str]:
    """Mark a result's notes as such."""
    return [f"note: {note}" for note in notes]


def _first(items: Sequence[str], others: str = "--json lists all") -> list[str]:
    lines = [f"  {item}" for item in items[:_MOST_LINES]]
    if len(items) > _MOST_LINES:
        lines.append(f"  and {len(items) - _MOST_LINES:,} more ({others})")
    return lines


def _passed_over(passed_over: Mapping[str, Sequence[str]], verbose: bool) -> list[str]:
    if not passed_over:
        return []
    from ..ingest.discover.listing import describe_kind, describe_passed_over

    more = "" if verbose else " (-v lists them)"
    lines = [f"Passed over: {describe_passed_over(passed_over)}{more}."]
    for kind, paths in passed_over.items() if verbose else ():
        lines += [f"  {describe_kind(kind)}: {path}" for path in paths]
    return lines


def query_text(
    result: QueryResult, paths: bool = False, pictures: Sequence[Line] = ()
) -> Iterator[Line]:
    """Format a line per video and a line per modality.

    Args:
        result: The answer.
        paths: Whether to tell each video's path too.
        pictures: What draws each result, in their order; none for no pictures.
    """
    width = len(str(len(result.results)))
    for number, found in enumerate(result.results):
        word = word_among(found.likeness, result.chance)
        yield Heading(
            f"{found.rank:>{width}}  {decimals(found.likeness)}  {word:<12}  {found.video_id}"
        )
        if paths:
            yield f"{'':{width}}  {found.path}"
        yield from pictures[number : number + 1]
        yield f"{'':{width}}  {_moments(found.moments)}"
        for modality in result.modalities:
            match = found.modalities.get(modality)
            how = _evidence(match) if match else "none"
            yield f"{'':{width}}  {modality:<6}  {how}"


def query_notes(result: QueryResult) -> list[str]:
    """Say whether anything is alike, how to read a ranking, and what it left out."""
    notes = []
    if result.nothing_alike:
        notes.append(nothing_alike(result.best_likeness or 0.0, result.chance))
    if result.results:
        notes.append("Each modality: likeness, rank, similarity, query ~ video seconds.")
    return notes + query_lacks(result.missing_modalities) + noted(result.notes)


def explain_text(found: Explanation) -> Iterator[Line]:
    """Format the likeness of two videos, by modality, and where they correspond."""
    yield Heading(f"{decimals(found.likeness)}  {found.word}")
    for modality, of in found.modalities.items():
        yield f"    {modality:<6}  {decimals(of.likeness)}  similarity {of.similarity:6.3f}"
    for moment in found.moments:
        yield (
            f"    {clock(moment.query_start_s)} ~ {clock(moment.start_s)}, "
            f"{moment.end_s - moment.start_s:.0f} s  {decimals(moment.likeness)}"
        )


def explain_notes(found: Explanation) -> list[str]:
    """Say what could not be compared, and what else a person should know."""
    return pair_lacks(found.missing_modalities) + noted(found.notes)


def played_notes(played: Played) -> list[str]:
    """Say what shows a video, or that nothing here can."""
    if played.player:
        return [f"Opened in {played.player}, at {clock(played.at_s)}."]
    return ["There is no display here to open it on; its path is above."]


def _moments(moments: Sequence[MatchedMoment]) -> str:
    """Say where it is most like the query, such as "best at 1:18, 6 s; also at 2:40"."""
    best = moments[0]
    length_s = best.end_s - best.start_s
    text = f"best at {clock(best.start_s)}, {length_s:.{0 if length_s >= 2 else 1}f} s"
    others = ", ".join(clock(moment.start_s) for moment in moments[1:])
    return text + (f"; also at {others}" if others else "")


def _evidence(match: ModalityMatch) -> str:
    return (
        f"{decimals(match.likeness)}  {f'#{match.rank}':<4}  {match.similarity:6.3f}  "
        f"{match.query_start_s:.1f}-{match.query_end_s:.1f} ~ {match.start_s:.1f}-{match.end_s:.1f}"
    )


def libraries_text(libraries: Sequence[LibrarySummary]) -> Iterator[Line]:
    """Format what each library holds, and where it is from."""
    for item in libraries:
        yield Heading(item.library)
        yield (
            f"    {count(item.videos, 'video')}, {count(item.segments, 'segment')}, "
            f"{item.hours:.2f} hours"
        )
        yield "    rows: " + ", ".join(f"{name} {rows:,}" for name, rows in item.rows.items())
        yield f"    from {item.root}{_absent(item)}"


def _absent(library: LibrarySummary) -> str:
    """Say what is missing of the folder that a library is from; "" where nothing is."""
    if not library.missing:
        return ", which is missing" if library.root_state == "missing" else ""
    looked_at = f"{library.looked_at:,} files looked for"
    if library.missing == library.looked_at:
        return f", where none of {looked_at} is there"
    return f", where {library.missing:,} of {looked_at} are missing"


def videos_text(videos: Sequence[StoredVideo]) -> list[Line]:
    """Format a line per video, with what of it did not decode."""
    return [v.video_id + (f"  ({v.damage})" if v.damage else "") for v in videos]


def catalogue_text(videos: Sequence[StoredVideo]) -> Iterator[Line]:
    """Format a line per video under a header; ids, which may be long, come last."""
    heard = {True: "sound", False: "silent", None: "-"}
    rows = [("duration", "size", "sound", "modalities", "label", "video")]
    rows += [
        (
            clock(v.duration_s),
            _bytes(v.size),
            heard[v.sound],
            " ".join(v.modalities),
            v.label,
            v.video_id + (f"  ({v.damage})" if v.damage else ""),
        )
        for v in videos
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(5)]
    for row in rows if videos else ():
        numbers = [row[n].rjust(widths[n]) for n in range(2)]
        words = [row[n].ljust(widths[n]) for n in range(2, 5)]
        yield "  ".join([*numbers, *words, row[5]])


def videos_of(found: Mapping[str, Sequence[str]]) -> str:
    """Return how many videos of which libraries were found."""
    return f"{count(sum(map(len, found.values())), 'video')} of {', '.join(found)}"


def removal_notes(found: Mapping[str, Sequence[str]]) -> list[str]:
    """List what is removed, by its ids."""
    return _first(
        sorted(video_id for of in found.values() for video_id in of),
        "before a removal, 'vidsim videos' with the same words lists all",
    )


def labels_text(labels: Sequence[LabelSummary]) -> Iterator[Line]:
    """Format a line per label."""
    width = max((len(f"{each.videos:,}") for each in labels), default=0)
    for each in labels:
        yield f"{each.videos:>{width},}  {each.label or '(none)'}"


def _bytes(size: int) -> str:
    """Return a size in the unit that leaves one to three digits before the point."""
    if size < 1000:
        return f"{size} B"
    amount, unit = size / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}"


def reindex_notes(report: VerifyReport) -> list[str]:
    """Return a reindex's notes, then one line that sums it up."""
    written: Counter[str] = Counter()
    for c in report.comparisons:
        written[f"{c.level} of {c.backbone}"] += c.missing + c.differing
    told = [f"{number:,} {what}" for what, number in written.items() if number]
    parts = [f"Written: {', '.join(told) or 'nothing'}"]
    if kept := sum(c.shards - c.missing - c.differing for c in report.comparisons):
        parts.append(f"{kept:,} were there")
    if deleted := sum(c.extra for c in report.comparisons):
        parts.append(f"{deleted:,} that no shard knows were deleted")
    return [*noted(report.notes), "; ".join(parts) + "."]


def how_to_use(target: Place, usual: Place) -> str | None:
    """Return what to set so that commands use `target`; None where it is the `usual` one."""
    if target.uri == usual.uri:
        return None
    where = "the embedded Milvus" if usual.uri is None else "the Milvus of VIDSIM_URI"
    change = f"set VIDSIM_URI={without_user(target.uri)}" if target.uri else "unset VIDSIM_URI"
    return f"Other commands still use {where}; to have them use this one, {change}."


def verify_table(report: VerifyReport) -> Table:
    """Tabulate a row per library, backbone and level."""
    rows = [
        (c.library, c.backbone, c.level, *(f"{getattr(c, name):,}" for name in _FIGURES))
        for c in report.comparisons
    ]
    header = ("library", "backbone", "level", *_FIGURES)
    return Table(header, rows, numbers=frozenset(range(3, len(header))))


def files_table(report: VerifyReport) -> Table:
    """Tabulate what a deep check read beside shards and Milvus."""
    rows = [(of.what, f"{of.files:,}", f"{of.bytes:,}", f"{of.wrong:,}") for of in report.files]
    return Table(("files", "read", "bytes", "wrong"), rows, numbers=frozenset({1, 2, 3}))


def verify_notes(report: VerifyReport) -> list[str]:
    """List examples of what differs, and what was left alone."""
    lines = [*report.mended, *report.damage, *report.lost, *report.notes] + [
        f"{c.library} {c.backbone} {c.level}, for example {', '.join(c.examples)}"
        for c in report.comparisons
        if c.examples
    ]
    if report.elsewhere:
        told = ", ".join(f"{library} ({rows:,})" for library, rows in report.elsewhere.items())
        lines.append(f"Left alone are the rows of libraries that have no shard here: {told}.")
    return lines


def tuning_table(report: IndexTuning) -> Table:
    """Tabulate a row per collection."""
    header = ("collection", "rows", "index", "nlist", "nprobe", "recall", "ms before", "after")
    rows = [
        (
            t.collection,
            f"{t.rows:,}",
            t.index_type,
            str(t.lists or "-"),
            str(t.probes or "-"),
            f"{t.recall:.3f}",
            f"{t.ms_before:.1f}",
            f"{t.ms_after:.1f}",
        )
        for t in report.collections
    ]
    return Table(header, rows, numbers=frozenset(range(len(header))) - {0, 2})


def import_text(report: ImportReport) -> Iterator[Line]:
    """Format a line per library and one per backbone."""
    for found in report.libraries:
        yield (
            f"{found.library}: {found.imported:,} imported, {found.unchanged:,} unchanged; "
            f"{found.videos:,} videos, {found.segments:,} segments"
        )
        for name, rows in found.rows.items():
            yield f"    {name:<18}  {rows:,} rows"


def duplicates_text(report: DuplicatesReport) -> Iterator[Line]:
    """Format three lines per pair."""
    for p in report.pairs:
        how = f"{p.similarity:.3f} cosine, {p.hash_distance:.1f} bits, {p.coverage:.0%} covered"
        yield "identical files" if p.identical else how
        for s in (p.first, p.second):
            yield f"    {s.start_s:7.1f} - {s.end_s:7.1f} s  {s.video_id}"


def duplicates_notes(report: DuplicatesReport) -> list[str]:
    """Count the pairs, and list what could not be compared."""
    pairs, videos = count(len(report.pairs), "pair"), count(report.videos, "video")
    return [f"{pairs} among {videos}.", *failed_notes(report.failed), *noted(report.notes)]
