"""Protocols: which videos are queries, and which are in the gallery."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...schemas.errors import LibraryError, ModelError
from .split_lists import Names, describe_missing, read_split

ProtocolName = Literal[
    "leave-one-out", "split", "group", "official", "capstone-all", "capstone-split"
]

CLEAN: tuple[ProtocolName, ...] = ("leave-one-out", "split", "group", "official")

LEAKY: tuple[ProtocolName, ...] = ("capstone-all", "capstone-split")
"""The 2019 capstone's protocols: a query's own rows are among its neighbours."""

TRAIN_SHARE = 0.7
"""Training share of a split, as in the capstone."""

_GROUP = re.compile(r"v_(?P<label>\w+)_g(?P<group>\d+)_c\d+")
"""Clip names of UCF101 (Soomro, Zamir and Shah, 2012); clips of a group are cut from one video."""


@dataclass(frozen=True)
class Protocol:
    """Which videos may be neighbours of which queries.

    Attributes:
        name: One of `CLEAN`.
        queries: (videos,) whether it is a query.
        gallery: (videos,) whether it may be a neighbour.
        groups: (videos,) group numbers; a video is never a neighbour of one of its own group.
        notes: Remarks for the report.
    """

    name: ProtocolName
    queries: npt.NDArray[np.bool_]
    gallery: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()

    def allowed(self, queries: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return (queries, videos): whether the video may be a neighbour of the query."""
        return np.asarray(self.gallery & (self.groups[queries][:, None] != self.groups))


def leave_one_out(ids: Sequence[str]) -> Protocol:
    """Query every video against all others."""
    everyone = np.ones(len(ids), bool)
    return Protocol("leave-one-out", everyone, everyone, np.arange(len(ids)))


def split(labels: Sequence[str], seed: int) -> Protocol:
    """Query 30 % of the videos of each class against the other 70 %, drawn by `seed`."""
    random = np.random.default_rng(seed)
    train = np.zeros(len(labels), bool)
    names = np.asarray(labels, object)
    for label in sorted(set(labels)):
        members = random.permutation(np.flatnonzero(names == label))
        train[members[: max(1, round(TRAIN_SHARE * len(members)))]] = True
    return Protocol("split", ~train, train, np.arange(len(labels)))


def group(ids: Sequence[str]) -> Protocol:
    """Query every video against all that are not of its UCF101 group.

    Raises:
        ModelError: No name carries a group.
    """
    codes = group_codes(ids)
    without = sum(_group_of(i) is None for i in ids)
    if without == len(ids):
        raise ModelError(
            "No video is named like v_YoYo_g01_c02, which says its group; "
            "use --protocol leave-one-out."
        )
    notes = (
        (f"group: names without a group are groups of one ({without} of {len(ids)}).",)
        if without
        else ()
    )
    everyone = np.ones(len(ids), bool)
    return Protocol("group", everyone, everyone, codes, notes)


def group_codes(ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return (videos,) group numbers from the names; a name without a group is a group of one."""
    keys = [_group_of(i) or i for i in ids]
    numbers = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def official(
    ids: Sequence[str], train_list: Path, test_list: Path, allow_missing: bool = False
) -> Protocol:
    """Query the videos of a test list against those of a training list.

    A list has a ``Class/name.avi`` per line; see `read_split` for the variants that it accepts,
    and for how names match videos.

    Args:
        ids: Ids of the videos.
        train_list: Names of the gallery's videos.
        test_list: Names of the query videos.
        allow_missing: Whether to skip, with a note, entries that match no video.

    Raises:
        LibraryError: A list cannot be read, names no video, or has an entry that matches no video
            or several; or both lists name the same video.
    """
    names = Names(ids)
    parts, notes = [], []
    for path in (train_list, test_list):
        matched = read_split(path, names, ids)
        if matched.missing and not allow_missing:
            raise LibraryError(
                f"{path} names videos that the export lacks ({describe_missing(matched)}); give "
                "the list that belongs to this export, or leave them out with --allow-missing."
            )
        if not matched.videos:
            raise LibraryError(
                f"{path} names no video that the export has ({describe_missing(matched)}); give "
                "the list that belongs to this export."
            )
        if matched.missing:
            notes.append(
                f"official: what {path.name} names and the export lacks is left out "
                f"({describe_missing(matched)})."
            )
        if matched.odd:
            name, video_id = matched.odd[0]
            notes.append(
                f"official: in {path.name}, names of another case or file ending were matched "
                f"({len(matched.odd)} of {matched.entries}, the first is {name} with {video_id})."
            )
        part = np.zeros(len(ids), bool)
        part[list(matched.videos)] = True
        parts.append(part)
    train, test = parts
    if (train & test).any():
        raise LibraryError(
            f"{train_list} and {test_list} both name {ids[int((train & test).argmax())]}; "
            "give lists that exclude each other."
        )
    left = int((~(train | test)).sum())
    if left:
        notes.append(
            f"official: what is in neither list is left out ({left} of {len(ids)} videos)."
        )
    return Protocol("official", test, train, np.arange(len(ids)), tuple(notes))


def row_split(rows: int, seed: int) -> npt.NDArray[np.bool_]:
    """Return (rows,) whether a row is for training: 70 % of all rows, regardless of their video.

    This is the capstone's split, which leaks: rows of one video fall on both sides.
    """
    train = np.zeros(rows, bool)
    train[np.random.default_rng(seed).permutation(rows)[: round(TRAIN_SHARE * rows)]] = True
    return train


def _group_of(video_id: str) -> str | None:
    found = _GROUP.search(PurePosixPath(video_id).name)
    return f"{found['label'].casefold()} {found['group']}" if found else None
