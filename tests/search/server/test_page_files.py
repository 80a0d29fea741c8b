"""The page's files: each names only such as there are, and nothing of other hosts."""

from __future__ import annotations

import re

import pytest

from vidsim.search.server.routes.about import PAGE

FILES = sorted(PAGE.iterdir())


@pytest.mark.parametrize("name", [f.name for f in FILES])
def test_a_file_names_only_files_that_are_there(name: str) -> None:
    text = (PAGE / name).read_text()
    named = {
        *re.findall(r"""(?:href|src)=["']/?page/([^"']+)""", text),
        *re.findall(r"""from '\./([^']+)'""", text),
        *re.findall(r"""import\('\./([^']+)'\)""", text),
        *re.findall(r"""url\(['"]?(?!data:)([^'")]+)""", text),
    }
    assert named <= {f.name for f in FILES}
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
