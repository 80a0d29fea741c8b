"""Pictures in a terminal, for those that can draw them: kitty's protocol and iTerm2's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Literal

Protocol = Literal["kitty", "iterm2"]

_PROGRAMS: Mapping[str, Protocol] = {
    "ghostty": "kitty",
    "iTerm.app": "iterm2",
    "WezTerm": "iterm2",
}
"""By ``TERM_PROGRAM``."""

_CHUNK = 4096
"""Most characters of data in one command of kitty's protocol."""

_LINES = 7
"""Lines of text that a picture is as high as."""

CANNOT = (
    "Pictures are drawn in kitty, Ghostty, iTerm2 and WezTerm, not through tmux or screen, and "
    "this is none of them; --html FILE writes them to a page."
)
NO_TERMINAL = (
    "Pictures are drawn in a terminal, and the output goes elsewhere; "
    "--html FILE writes them to a page."
)


def protocol(environment: Mapping[str, str]) -> Protocol | None:
    """Return how the terminal draws pictures; None where it does not, or through tmux or screen."""
    terminal = environment.get("TERM", "")
    if environment.get("TMUX") or terminal.startswith(("screen", "tmux", "dumb")):
        return None
    if environment.get("KITTY_WINDOW_ID") or terminal in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    return _PROGRAMS.get(environment.get("TERM_PROGRAM", ""))


def drawn(png: bytes, how: Protocol) -> str:
    """Return what has a terminal draw a PNG."""
    data = b64encode(png).decode("ascii")
    if how == "iterm2":
        options = f"inline=1;height={_LINES};size={len(png)}"
        return f"\033]1337;File={options}:{data}\a"
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        options = f"a=T,f=100,r={_LINES}," if number == 0 else ""
        parts.append(f"\033_G{options}m={int(number < len(chunks) - 1)};{chunk}\033\\")
    return "".join(parts)
