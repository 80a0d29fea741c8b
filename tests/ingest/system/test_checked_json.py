"""Small JSON files with a checksum: damage is told, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.ingest.system.checked_json import ChangedError, read_checked, write_checked


def test_content_comes_back(tmp_path: Path) -> None:
    write_checked(tmp_path / "a" / "b.json", {"x": [1, None, "é"]})
    assert read_checked(tmp_path / "a" / "b.json") == {"x": [1, None, "é"]}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000]
)
def test_damage_of_any_kind_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ChangedError, match="is damaged"):
        read_checked(path)
