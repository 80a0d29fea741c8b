"""Pictures in a terminal: which can draw them, and what it is sent."""

from __future__ import annotations

import base64
import re

import pytest

from vidsim.search.terminal_pictures import drawn, protocol


@pytest.mark.parametrize(
    ("environment", "how"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"KITTY_WINDOW_ID": "1", "TERM": "xterm-256color"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app", "TERM": "xterm-256color"}, "iterm2"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, None),
        ({}, None),
    ],
)
def test_which_terminals_draw(environment: dict[str, str], how: str | None) -> None:
    assert protocol(environment) == how


@pytest.mark.parametrize("size", [10, 3072, 10_000])
def test_kitty_is_sent_the_data_in_chunks_of_which_the_last_says_so(size: int) -> None:
    data = bytes(n % 251 for n in range(size))
    parts = re.findall("\033_G([^;]*);([^\033]*)\033\\\\", drawn(data, "kitty"))
    assert base64.b64decode("".join(chunk for _, chunk in parts)) == data
    assert all(len(chunk) <= 4096 for _, chunk in parts)
    assert parts[0][0].startswith("a=T,f=100,")
    more = [options.rpartition("m=")[2] for options, _ in parts]
    assert more == ["1"] * (len(parts) - 1) + ["0"]


def test_iterm2_is_sent_the_data_and_its_size() -> None:
    sent = drawn(b"a picture", "iterm2")
    found = re.fullmatch("\033]1337;File=inline=1;height=7;size=9:(.*)\a", sent)
    assert found
    assert base64.b64decode(found[1]) == b"a picture"
