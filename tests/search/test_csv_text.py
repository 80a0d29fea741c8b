"""CSV of answers, as other programs read it."""

from __future__ import annotations

import csv

from vidsim.schemas.answer import Line
from vidsim.schemas.results import (
    DuplicatePair,
    DuplicatesReport,
    MatchedMoment,
    ModalityMatch,
    QueryMatch,
    QueryResult,
    Stretch,
)
from vidsim.search.csv_text import duplicates_csv, query_csv


def read(lines: list[Line]) -> list[dict[str, str]]:
    return list(csv.DictReader(str(line) for line in lines))


def test_a_row_per_result_with_its_best_moment_and_what_it_lacks_empty() -> None:
    by_frame = ModalityMatch(
        rank=1,
        similarity=0.9,
        likeness=1 / 3,
        share=1,
        query_start_s=0,
        query_end_s=1,
        start_s=2,
        end_s=3,
    )
    found = QueryMatch(
        rank=1,
        video_id='lib/a, "b".mp4',
        path="/videos/a",
        label="snow; ice",
        likeness=0.8,
        word="very alike",
        relative_score=0.5,
        moments=[
            MatchedMoment(
                example="q", query_start_s=1, query_end_s=2, start_s=1.23456, end_s=3, likeness=0.9
            )
        ],
        modalities={"frame": by_frame},
    )
    result = QueryResult(
        query="q",
        examples=["q"],
        example_paths=["/videos/q"],
        modalities=["frame", "audio"],
        missing_modalities=[],
        fusion="calibrated",
        chance=0.6,
        nothing_alike=False,
        results=[found],
    )
    assert read([*query_csv(result)]) == [
        {
            "rank": "1",
            "video_id": 'lib/a, "b".mp4',
            "path": "/videos/a",
            "label": "snow; ice",
            "likeness": "0.8",
            "word": "very alike",
            "start_s": "1.235",
            "end_s": "3.0",
            "query_start_s": "1.0",
            "query_end_s": "2.0",
            "likeness_frame": "0.333333",
            "likeness_audio": "",
        }
    ]


def test_a_row_per_pair() -> None:
    pair = DuplicatePair(
        first=Stretch(video_id="lib/a", path="/a", start_s=1, end_s=3),
        second=Stretch(video_id="lib/b", path="/b", start_s=61, end_s=63),
        hash_distance=1.5,
        similarity=0.9,
        coverage=0.8,
    )
    report = DuplicatesReport(
        libraries=["lib"], videos=2, max_distance=5, min_similarity=0.5, pairs=[pair], failed=[]
    )
    (row,) = read([*duplicates_csv(report)])
    assert row["identical"] == "False"
    assert (row["first_video_id"], row["second_path"]) == ("lib/a", "/b")
    assert float(row["second_end_s"]) == 63
