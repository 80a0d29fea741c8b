"""What people decided about pairs of videos that share footage; no file is ever deleted.

A decision is about content, so it stays with files that are renamed. Of files that are the same
byte for byte it is about their ids, which alone tell them apart.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ....ingest.system.checked_json import ChangedError, read_checked, write_checked
from ....ingest.system.unreadable import unwritten
from ....schemas.errors import StoreError
from ....schemas.results import Result

Choice = Literal["keep", "not the same"]


class Decision(Result):
    """What was decided about two videos."""

    first: str = Field(description="a video id", examples=["demo/copy_of_siren.mp4"])
    second: str = Field(description="another", examples=["demo/siren.mp4"])
    decision: Choice = Field(description="'keep' one of them or both; or they are 'not the same'")
    keep: str | None = Field(default=None, description="which of them; null for both")
    decided_at: str = Field(description="UTC", examples=["2026-05-01T12:00:00Z"])


@dataclass(frozen=True)
class Side:
    """One of two videos.

    Attributes:
        video_id: Its id.
        content: A text that files share which are the same byte for byte, and no others.
    """

    video_id: str
    content: str


class _Kept(BaseModel):
    """A decision in the file; the two videos stand in the order of their names.

    Attributes:
        names: By which the videos are known again.
        video_ids: Their ids when it was decided.
        choice: What was decided.
        keep: Number of the one to keep; None for both.
        decided_at: When.
    """

    model_config = ConfigDict(frozen=True)

    names: tuple[str, str]
    video_ids: tuple[str, str]
    choice: Choice
    keep: Annotated[int, Field(ge=0, le=1)] | None
    decided_at: str

    def decision(self, video_ids: tuple[str, str]) -> Decision:
        return Decision(
            first=video_ids[0],
            second=video_ids[1],
            decision=self.choice,
            keep=None if self.keep is None else video_ids[self.keep],
            decided_at=self.decided_at,
        )


_FORMAT = TypeAdapter(list[_Kept])

_ByNames = dict[tuple[str, str], _Kept]


class Decisions:
    """The decisions about a home's videos; any thread may call."""

    def __init__(self, path: Path) -> None:
        """Prepare; `path` is the file that holds them, read when it is first needed."""
        self._path = path
        self._lock = Lock()
        self._read: _ByNames | None = None

    def all(self) -> list[Decision]:
        """Return all decisions, the newest last, by the ids that videos had then.

        Raises:
            StoreError: They cannot be read.
        """
        return [kept.decision(kept.video_ids) for kept in self._kept().values()]

    def of(self, first: Side, second: Side) -> Decision | None:
        """Return what was decided about two videos, by the ids that they have now.

        Raises:
            StoreError: The decisions cannot be read.
        """
        known = self._kept()
        if not known:
            return None
        names, video_ids = _ordered(first, second)
        kept = known.get(names)
        return kept.decision(video_ids) if kept else None

    def decide(
        self, first: Side, second: Side, choice: Choice | None, keep: str | None = None
    ) -> Decision | None:
        """Decide about two videos; return the decision.

        Args:
            first: One of them.
            second: The other.
            choice: What is decided; None to take back what was.
            keep: The id of the one to keep; None for both.

        Raises:
            StoreError: The decisions cannot be read or written.
        """
        names, video_ids = _ordered(first, second)
        with self._lock:
            changed = {each: kept for each, kept in self._known().items() if each != names}
            if choice is not None:
                changed[names] = _Kept(
                    names=names,
                    video_ids=video_ids,
                    choice=choice,
                    keep=None if keep is None else video_ids.index(keep),
                    decided_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                )
            try:
                write_checked(self._path, _FORMAT.dump_python([*changed.values()], mode="json"))
            except OSError as error:
                raise StoreError(unwritten(f"The file {self._path}", error)) from error
            self._read = changed
        return self.of(first, second)

    def _kept(self) -> _ByNames:
        with self._lock:
            return self._known()

    def _known(self) -> _ByNames:
        if self._read is None:
            self._read = _read(self._path)
        return self._read


def _ordered(first: Side, second: Side) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the names of two videos, in order, and their ids, as the names stand."""
    alike = first.content == second.content
    (one, its_id), (other, other_id) = sorted(
        (side.video_id if alike else side.content, side.video_id) for side in (first, second)
    )
    return (one, other), (its_id, other_id)


def _read(path: Path) -> _ByNames:
    """Return the decisions of a file.

    Raises:
        StoreError: It cannot be read, or is damaged.
    """
    try:
        found = _FORMAT.validate_python(read_checked(path) or [])
    except (ChangedError, ValidationError) as error:
        raise StoreError(
            f"The decisions about duplicates in {path} are damaged; put a copy back, or move the "
            "file away to begin anew."
        ) from error
    return {kept.names: kept for kept in found}
