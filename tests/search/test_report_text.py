"""What a person reads of a result, where the command's own tests do not show it."""

from __future__ import annotations

import pytest

from vidsim.schemas.results import (
    IngestReport,
    IngestTiming,
    LibrarySummary,
    RootState,
    StageTime,
)
from vidsim.search.report_text import ingest_notes, libraries_text
from vidsim.search.status_text import root_note


def report(embedded: int, seconds: float, startup_s: float, **held_s: float) -> IngestReport:
    stages = {
        name: StageTime(cpu_s=0, busy_s=0, held_s=held, blocked_s=0)
        for name, held in held_s.items()
    }
    return IngestReport(
        library="clips",
        videos=3,
        segments=3,
        rows={},
        embedded=embedded,
        unchanged=3 - embedded,
        no_audio=0,
        missing=[],
        removed=0,
        failed=[],
        timing=IngestTiming(seconds=seconds, startup_s=startup_s, stages=stages),
    )


def test_an_ingest_says_what_took_the_time_the_longest_first() -> None:
    notes = ingest_notes(report(3, 4000, 12, decode=900, color=20, motion=2800, write=268))
    assert notes[1] == (
        "Took 1:06:40: 12 s until networks were loaded, motion 0:46:40, decoding 0:15:00, "
        "writing 0:04:28."
    )
    notes = ingest_notes(report(3, 9.5, 8.25, decode=0.25, frame=1.0))
    assert notes[1] == "Took 9.5 s: 8.2 s until networks were loaded, frame 1.0 s, decoding 0.2 s."


def test_an_ingest_that_embedded_nothing_says_nothing_of_time() -> None:
    assert not [line for line in ingest_notes(report(0, 1.2, 0)) if line.startswith("Took")]


@pytest.mark.parametrize(
    ("state", "looked_at", "missing", "told", "noted"),
    [
        ("here", 100, 0, "", ""),
        ("missing", 0, 0, ", which is missing", "The files of films are not in /x/films;"),
        ("missing", 3, 3, ", where none of 3 files looked for is there", "The files of films"),
        ("partly missing", 99, 3, ", where 3 of 99 files looked for are missing", "Files of films"),
        ("no folder", 0, 0, "", ""),
        ("unknown", 0, 0, "", ""),
    ],
)
def test_libraries_say_where_a_folder_or_files_of_it_are_missing(
    state: RootState, looked_at: int, missing: int, told: str, noted: str
) -> None:
    library = LibrarySummary(
        library="films",
        videos=200,
        segments=200,
        hours=1.0,
        rows={"labhist": 200},
        root="/x/films",
        root_state=state,
        looked_at=looked_at,
        missing=missing,
    )
    *_, last = libraries_text([library])
    assert last == f"    from /x/films{told}"
    note = root_note(library)
    assert note.startswith(noted)
    assert bool(note) == bool(noted)
