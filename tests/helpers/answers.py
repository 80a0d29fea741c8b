"""Questions to a home, and what an answer is worth beside that of the intact home.

An answer may be the same, or differ and say why, or be refused in one sentence. Whatever else comes
is an error of vidsim.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vidsim.schemas.errors import VidsimError
from vidsim.search.library import Library

_TOLERANCE = 1e-6

_ALL = 100
"""More results than any home of the tests has videos, so that none hides behind the last."""

_FALSE = (
    "neither a file nor the id",
    "Nothing is stored",
    "has nothing to be compared by",
    "No library is called",
    "is no library, folder or stored video",
)
"""What is said of videos and libraries that do not exist: untrue here, as all questions are about
stored ones. An index or a note that is missing is no fact about a video."""

_HARMLESS = "Tuned weights are used"
"""How the note begins that tells of nothing wrong."""

Answer = dict[str, Any]
"""As JSON: a ``result``, or the sentence by which it was ``refused``, or a ``traceback``."""


class Verdict(StrEnum):
    """What an answer is worth, the best first."""

    SAME = "same"
    NOTED = "noted"
    REFUSED = "refused"
    LITTER = "LITTER"
    STUCK = "STUCK"
    WRONG = "WRONG"
    TRACEBACK = "TRACEBACK"
    HANG = "HANG"

    @property
    def bad(self) -> bool:
        """Whether it is an error of vidsim."""
        return self not in {Verdict.SAME, Verdict.NOTED, Verdict.REFUSED}


@dataclass(frozen=True)
class Judgement:
    """A verdict, and why: the words of a note or an error, or what differs."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Question:
    """A query by the id of a stored video.

    Attributes:
        clip: The id.
        modalities: What to compare by; None for all.
        libraries: Libraries to search; none for all.
        filter: Milvus filter, "" for none.
    """

    clip: str
    modalities: str | None = None
    libraries: Sequence[str] = ()
    filter: str = ""

    def __str__(self) -> str:
        where = f" in {', '.join(self.libraries)}" if self.libraries else ""
        condition = f" where {self.filter}" if self.filter else ""
        return f"{self.clip} by {self.modalities or 'everything'}{where}{condition}"


def attempt(action: Callable[[], Any]) -> Answer:
    """Runs something, and gives what came of it as JSON."""
    try:
        return {"result": action()}
    except VidsimError as error:
        return {"refused": str(error)}
    except Exception:
        return {"traceback": traceback.format_exc()}


def ask(home: Path, questions: Sequence[Question]) -> list[Answer]:
    """Opens a home as a person would, and asks it everything."""

    def answers() -> list[Answer]:
        with Library.open(home) as library:
            return [attempt(lambda q=q: query(library, q)) for q in questions]

    opened = attempt(answers)
    return opened["result"] if "result" in opened else [opened] * len(questions)


def query(library: Library, question: Question) -> dict[str, Any]:
    return library.query(
        question.clip,
        k=_ALL,
        modalities=question.modalities,
        libraries=question.libraries,
        filter=question.filter,
    ).model_dump(mode="json")


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """The first of those that are worst."""
    order = list(Verdict)
    return max(judgements, key=lambda j: order.index(j.verdict), default=Judgement(Verdict.SAME))


def judge(intact: Answer, found: Answer, question: Question | str) -> Judgement:
    """Compares an answer with that of the intact home; one that is no query is told by its name."""
    if "result" not in found:
        return _not_answered(found)
    compare = _difference if isinstance(question, Question) else _first_other
    difference = compare(intact["result"], found["result"])
    if not difference:
        return Judgement(Verdict.SAME)
    if told := _told([intact["result"]], found["result"]):
        return Judgement(Verdict.NOTED, told[0])
    return Judgement(Verdict.WRONG, f"{question}: {difference}")


def judge_between(before: Answer, after: Answer, found: Answer) -> Judgement:
    """Judges an answer of a home that was left somewhere between two states."""
    return judge_among([before, after], found)


def judge_among(states: Sequence[Answer], found: Answer) -> Judgement:
    """Judges an answer of a home that goes from one state to the next.

    Without a note it has each video as one of them has it, and all that are in all. Where nothing
    could be said before, nothing need be said yet.
    """
    if "result" not in found:
        unsaid = "refused" in found and any("result" not in s for s in states)
        return Judgement(Verdict.REFUSED, found["refused"]) if unsaid else _not_answered(found)
    results = [s["result"] for s in states if "result" in s]
    if {_words(n) for n in found["result"]["notes"]} - {
        _words(n) for s in results for n in s["notes"]
    }:
        return Judgement(Verdict.NOTED, found["result"]["notes"][-1])
    got, *known = (evidence(result) for result in (found["result"], *results))
    all_ = set.intersection(*map(set, known)) if len(known) == len(states) else set()
    if missing := all_ - got.keys():
        return Judgement(Verdict.WRONG, f"{sorted(missing)[0]} is not found")
    for video_id, of in got.items():
        if not any(alike(state.get(video_id), of) for state in known):
            was = [state.get(video_id) for state in known]
            return Judgement(Verdict.WRONG, f"{video_id} {of}, not {was}")
    return Judgement(Verdict.SAME)


def evidence(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By video, its similarity in each modality."""
    return {
        match["video_id"]: {m: of["similarity"] for m, of in match["modalities"].items()}
        for match in result["results"]
    }


def _not_answered(found: Answer) -> Judgement:
    if "traceback" in found:
        return Judgement(Verdict.TRACEBACK, where_raised(found["traceback"]))
    said = found["refused"]
    untrue = any(words in said for words in _FALSE)
    return Judgement(Verdict.WRONG if untrue else Verdict.REFUSED, said)


def judge_all(
    intact: Sequence[Answer], found: Sequence[Answer], questions: Sequence[Question | str]
) -> Judgement:
    """The worst of several answers."""
    return worst([judge(*each) for each in zip(intact, found, questions, strict=True)])


def where_raised(trace: str) -> str:
    """The last line of a traceback, and the innermost place of vidsim's own."""
    lines = trace.strip().splitlines()
    places = re.findall(r'File "[^"]*/vidsim/((?!tests/)[^"]+)", line (\d+)', trace)
    place = "{}:{}".format(*places[-1]) if places else "outside of vidsim"
    return f"{lines[-1][:200]} ({place})" if lines else "nothing was said"


def _told(usual: Sequence[dict[str, Any]], found: dict[str, Any]) -> list[str]:
    """The notes of a result that its usual ones lack, whatever their figures."""
    known = {_words(note) for result in usual for note in result["notes"]}
    return [
        note
        for note in found["notes"]
        if _words(note) not in known and not note.startswith(_HARMLESS)
    ]


def _words(note: str) -> str:
    return re.sub(r"[\d.,]+", "", note)


def _difference(intact: dict[str, Any], found: dict[str, Any]) -> str:
    """What differs first between two results of a query, "" for nothing."""
    for name in ("query", "modalities", "missing_modalities", "fusion"):
        if intact[name] != found[name]:
            return f"{name} {found[name]}, not {intact[name]}"
    ranked, wanted = ([r["video_id"] for r in each["results"]] for each in (found, intact))
    if len(ranked) != len(wanted):
        return f"{len(ranked)} results, not {len(wanted)}"
    for number, (one, other) in enumerate(zip(intact["results"], found["results"], strict=True)):
        for name, value in one.items():
            if not alike(value, other[name]):
                return f"rank {number + 1}: {name} {other[name]}, not {value}"
    return ""


def _first_other(intact: dict[str, Any], found: dict[str, Any]) -> str:
    """What differs first between two results, "" for nothing; notes are none."""
    for name, value in intact.items():
        if name != "notes" and not alike(value, found[name]):
            return f"{name} {str(found[name])[:200]}, not {str(value)[:200]}"
    return ""


def alike(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same, numbers within a millionth."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) <= _TOLERANCE
    return bool(one == other)
