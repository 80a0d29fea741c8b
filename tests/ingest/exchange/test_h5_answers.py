"""What a reader of HDF5 that was taken over may tell: it ends in one sentence, at little cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsim.ingest.exchange import h5_reader
from vidsim.ingest.exchange.h5_child import packed
from vidsim.ingest.exchange.h5_reader import H5Reader
from vidsim.schemas.errors import StoreError

from ...helpers.pretended_child import PretendedChild, message

TEXTS = ["ids", "text", "|S3", [2]]


def listing(datasets: Any, attributes: Any = None) -> bytes:
    listed = {"size": 9, "attributes": attributes or {"": {}}, "datasets": datasets}
    return message("listing", json=packed(listed))


def texts(ends: list[int], data: bytes = b"abcdef") -> bytes:
    of = np.frombuffer(data, np.uint8)
    return message("texts", bytes=of, ends=np.array(ends, np.int64))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(h5_reader, "Child", PretendedChild)
    (tmp_path / "a.h5").write_bytes(b"123456789")
    return tmp_path / "a.h5"


def read(path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> list[str]:
    monkeypatch.setattr(PretendedChild, "said", said)
    with H5Reader() as reader:
        return reader.open(path).texts("ids")


def test_a_right_answer_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(path, monkeypatch, listing([TEXTS]) + texts([2, 6]))
    assert found == ["ab", "cdef"]


@pytest.mark.parametrize(
    "said",
    [
        listing([["ids", "text", "|S3", [2**40]]]) + texts([1] * 8192) * 3,
        listing([["ids", "text", "|S3", [-1]]]),
        listing([["ids", "text", "|S3", ["2"]]]),
        listing([["ids", "numbers", "nothing", [2]]]),
        listing([["ids", "else", "|S3", [2]]]),
        listing([["ids"]]),
        listing(7),
        listing([TEXTS], [1]),
        message("listing", json=np.frombuffer(b"[" * 100_000, np.uint8)),
        message("listing"),
        message("arrays"),
        message("refused"),
        listing([TEXTS]) + message("texts"),
        listing([TEXTS]) + texts([2]),
        listing([TEXTS]) + texts([3, 2]),
        listing([TEXTS]) + texts([2, 7]),
        listing([TEXTS]) + texts([-1, 6]),
        listing([TEXTS]) + message("failed", {"memory": True}),
    ],
)
def test_nonsense_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    with pytest.raises(StoreError, match=r"a\.h5 cannot be read: .*; ask whoever made it"):
        read(path, monkeypatch, said)


def test_rows_that_were_not_asked_for_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = listing([["rows", "numbers", "float32", [2]]]) + message("arrays", x=np.zeros(2))
    monkeypatch.setattr(PretendedChild, "said", said)
    with H5Reader() as reader:
        file = reader.open(path)
        with pytest.raises(StoreError, match="unreadable"):
            file.numbers("rows")
