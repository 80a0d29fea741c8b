"""What is prepared of weights: made once, read again, and never believed where it is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vidsim.ingest.models.prepared import prepared
from vidsim.schemas.backbones import BACKBONES

YAMNET = BACKBONES["yamnet"]  # its weights' SHA-256 is pinned, so none need be pulled


class Maker:
    """Makes two tensors, and counts how often."""

    def __init__(self, value: float = 1.0) -> None:
        self.made = 0
        self.value = value

    def __call__(self) -> dict[str, Tensor]:
        self.made += 1
        wide = torch.full((2, 3), self.value, dtype=torch.bfloat16)
        return {"wide": wide, "turned": torch.arange(6, dtype=torch.int8).view(2, 3).T}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return [path for path in (cache / "prepared").iterdir() if path.is_file()]


def test_what_was_made_is_read_again(cache: Path) -> None:
    maker = Maker()
    made = prepared(YAMNET, "turned-1", maker)
    read = prepared(YAMNET, "turned-1", maker)
    assert maker.made == 1
    assert made.keys() == read.keys()
    assert all(torch.equal(made[n], read[n]) and made[n].dtype == read[n].dtype for n in made)
    assert len(files(cache)) == 1


@pytest.mark.parametrize("harm", ["a bit", "its end", "all of it"])
def test_what_is_damaged_is_made_anew(cache: Path, harm: str) -> None:
    maker = Maker()
    prepared(YAMNET, "turned-1", maker)
    (path,) = files(cache)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    left = {"a bit": content, "its end": content[:-1], "all of it": b""}
    path.write_bytes(left[harm])
    assert prepared(YAMNET, "turned-1", maker)["wide"].sum() == 6
    prepared(YAMNET, "turned-1", maker)
    assert maker.made == 2
    assert len(files(cache)) == 1


def test_versions_do_not_replace_each_other(cache: Path) -> None:
    assert prepared(YAMNET, "turned-1", Maker(1))["wide"].sum() == 6
    assert prepared(YAMNET, "turned-2", Maker(3))["wide"].sum() == 18
    assert prepared(YAMNET, "turned-1", Maker(4))["wide"].sum() == 6
    assert len(files(cache)) == 2


def test_other_weights_are_prepared_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(YAMNET, "turned-1", Maker(1))
    monkeypatch.setattr("vidsim.ingest.models.prepared.digests", lambda backbone: "others")
    assert prepared(YAMNET, "turned-1", Maker(2))["wide"].sum() == 12
    assert len(files(cache)) == 1  # what was made of weights that are gone is gone


def test_a_cache_that_cannot_be_written_is_no_error(cache: Path) -> None:
    maker = Maker()
    cache.write_text("no folder")
    assert prepared(YAMNET, "turned-1", maker)["wide"].sum() == 6
    assert prepared(YAMNET, "turned-1", maker)["wide"].sum() == 6
    assert maker.made == 2
