"""Protocols: the clean ones never let a query find itself or its group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.schemas.errors import LibraryError, ModelError
from vidsim.search.evaluation.protocols import (
    group,
    group_codes,
    leave_one_out,
    official,
    row_split,
    split,
)

LABELS = st.lists(st.sampled_from(["snow", "rain", "sun", ""]), min_size=2, max_size=60)
CLIPS = st.lists(
    st.tuples(st.sampled_from(["YoYo", "Punch"]), st.integers(1, 4), st.integers(1, 6)),
    min_size=1,
    max_size=40,
    unique=True,
)


def neighbours(protocol) -> dict[int, set[int]]:
    """By query, the videos it may find."""
    queries = np.flatnonzero(protocol.queries)
    return {
        int(q): set(np.flatnonzero(row).tolist())
        for q, row in zip(queries, protocol.allowed(queries), strict=True)
    }


@given(st.integers(1, 40))
def test_leave_one_out_hides_the_query_alone(count):
    found = neighbours(leave_one_out([f"lib/{i}.mp4" for i in range(count)]))
    assert found == {i: set(range(count)) - {i} for i in range(count)}


@given(LABELS, st.integers(0, 5))
def test_a_split_is_by_video_and_by_class(labels, seed):
    protocol = split(labels, seed)
    assert not (protocol.queries & protocol.gallery).any()
    assert (protocol.queries | protocol.gallery).all()
    for label in set(labels):
        members = [i for i, found in enumerate(labels) if found == label]
        trained = int(protocol.gallery[members].sum())
        assert trained == max(1, round(0.7 * len(members)))
    again = split(labels, seed)
    assert (again.gallery == protocol.gallery).all()


def test_another_seed_splits_otherwise():
    labels = ["snow"] * 50
    assert (split(labels, 0).gallery != split(labels, 1).gallery).any()


@given(CLIPS)
def test_no_clip_finds_its_own_group(clips):
    ids = [f"ucf/{label}/v_{label}_g{g:02}_c{c:02}.avi" for label, g, c in clips]
    for query, found in neighbours(group(ids)).items():
        assert found == {i for i, clip in enumerate(clips) if clip[:2] != clips[query][:2]}


def test_names_without_a_group_are_told_about():
    ids = ["u/YoYo/v_YoYo_g01_c01.avi", "u/YoYo/v_YoYo_g01_c02.avi", "u/YoYo/other.avi"]
    protocol = group(ids)
    assert neighbours(protocol) == {0: {2}, 1: {2}, 2: {0, 1}}
    assert protocol.notes == ("group: names without a group are groups of one (1 of 3).",)
    assert len(set(group_codes(ids).tolist())) == 2
    with pytest.raises(ModelError, match="leave-one-out"):
        group(["lib/snow/1.mp4", "lib/snow/2.mp4"])


IDS = [f"ucf/YoYo/v_YoYo_g{g:02}_c01.avi" for g in range(1, 6)]


@pytest.fixture
def lists(tmp_path):
    def write(train: str, test: str):
        (tmp_path / "train.txt").write_text(train)
        (tmp_path / "test.txt").write_text(test)
        return tmp_path / "train.txt", tmp_path / "test.txt"

    return write


def test_official_lists_are_read_as_ucf101_writes_them(lists):
    train = "YoYo/v_YoYo_g01_c01.avi 101\r\nYoYo/v_YoYo_g02_c01.avi 101\r\n"
    protocol = official(IDS, *lists(train, "YoYo/v_YoYo_g03_c01.avi\n\n"))
    assert neighbours(protocol) == {2: {0, 1}}
    assert protocol.notes == ("official: what is in neither list is left out (2 of 5 videos).",)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (
            "YoYo/v_YoYo_g09_c01.avi 1\n",
            "YoYo/v_YoYo_g01_c01.avi\n",
            "train.txt names videos that the export lacks .1 of 1",
        ),
        ("YoYo/v_YoYo_g01_c01.avi 1\n", "", "test.txt names no video"),
        ("YoYo/v_YoYo_g01_c01.avi 1\n", "YoYo/v_YoYo_g01_c01.avi\n", "both name"),
    ],
)
def test_lists_that_do_not_fit_are_one_sentence(lists, train, test, words):
    with pytest.raises(LibraryError, match=words) as caught:
        official(IDS, *lists(train, test))
    assert "\n" not in str(caught.value)


def test_two_libraries_with_the_same_names_are_one_sentence(lists):
    ids = [*IDS, IDS[1].replace("ucf/", "copy/")]
    with pytest.raises(LibraryError, match=f"several videos .{IDS[1]}, {ids[-1]}.*--library NAME"):
        official(ids, *lists("YoYo/v_YoYo_g02_c01.avi", "YoYo/v_YoYo_g03_c01.avi"))


def test_a_list_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(LibraryError, match="cannot be read"):
        official(IDS, tmp_path / "none.txt", tmp_path / "none.txt")


def test_the_split_of_rows_does_leak():
    owners = np.repeat(np.arange(20), 8)
    train = row_split(len(owners), 0)
    assert train.sum() == round(0.7 * 160)
    assert set(owners[train]) & set(owners[~train])
