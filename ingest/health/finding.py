"""What the doctor found of one thing, and how a check is kept from stopping the others.

It imports the standard library alone: it also serves where nothing else of vidsim can be imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "advice", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        name: The thing.
        state: ``wrong`` stops work, or some of it; ``advice`` does not.
        found: What there is.
        step: What to do; "" where it is fine.
    """

    name: str
    state: State
    found: str
    step: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: The thing.
        look: Looks at it; what it raises is told as its finding.
        limit_s: Seconds after which it is not waited for any longer.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    limit_s: float


def carry_out(check: Check) -> list[Finding]:
    """Return what a check finds: one finding at least, whatever happens in it."""
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except ImportError as error:
            found.append(Finding(check.name, "wrong", f"not looked at ({error})", _MEND))
        except Exception as error:  # it is told, and fails nothing else
            found.append(_of(check.name, error))

    # Not a pool: what hangs, on a disk of the network say, must not be waited for at the end.
    thread = threading.Thread(target=look, name=f"vidsim-{check.name}", daemon=True)
    thread.start()
    thread.join(check.limit_s)
    if thread.is_alive():
        return [
            Finding(
                check.name,
                "wrong",
                f"no answer within {check.limit_s:g} s",
                "see whether a disk or a server that it needs hangs",
            )
        ]
    return found or [Finding(check.name, "fine", "nothing to look at")]


def _of(name: str, error: Exception) -> Finding:
    said = str(error).rstrip(".")
    if any(of.__name__ == "VidsimError" for of in type(error).__mro__):  # it names the next step
        what, _, step = said.partition("; ")
        return Finding(name, "wrong", what, step)
    return Finding(
        name, "wrong", f"it could not be looked at ({type(error).__name__}: {said})", _REPORT
    )


_MEND = "mend the packages first"

_REPORT = "see whether what is named there can be read; else please report it"


_MARKS = {"fine": "ok", "advice": "advice", "wrong": "WRONG"}


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield a line per finding, and one for what to do."""
    for finding in findings:
        yield f"{_MARKS[finding.state]:<7} {finding.name:<9} {finding.found}"
        if finding.step:
            yield f"{'':<17} -> {finding.step}"


def summary(findings: Iterable[Finding]) -> str:
    """Return one sentence about all of them."""
    states = [finding.state for finding in findings]
    if wrong := states.count("wrong"):
        return f"{wrong} of {len(states)} checks found something that stops work (WRONG, above)."
    if advice := states.count("advice"):
        return f"Everything works; {advice} of {len(states)} lines have advice."
    return "Everything is fine."
