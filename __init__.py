"""Video-similarity search by colour, frame content, sound and motion.

    from vidsim import Library

    with Library.open() as library:
        library.ingest("ucf101/")
        print(library.query("clip.avi", k=5).results[0].video_id)

Importing it loads nothing; each name below is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ingest.system.progress import Step as Step
    from .ingest.system.stop import Stop as Stop
    from .schemas.errors import DeployError as DeployError
    from .schemas.errors import LibraryError as LibraryError
    from .schemas.errors import MediaError as MediaError
    from .schemas.errors import ModelError as ModelError
    from .schemas.errors import SettingsError as SettingsError
    from .schemas.errors import StoreError as StoreError
    from .schemas.errors import VidsimError as VidsimError
    from .schemas.errors import WeightsError as WeightsError
    from .schemas.errors import WorkerError as WorkerError
    from .schemas.evaluation import EvaluationReport as EvaluationReport
    from .schemas.explanation import Explanation as Explanation
    from .schemas.explanation import Played as Played
    from .schemas.modality import Modality as Modality
    from .schemas.results import DuplicatePair as DuplicatePair
    from .schemas.results import DuplicatesReport as DuplicatesReport
    from .schemas.results import FailedFile as FailedFile
    from .schemas.results import ImportReport as ImportReport
    from .schemas.results import IndexTuning as IndexTuning
    from .schemas.results import IngestReport as IngestReport
    from .schemas.results import LabelReport as LabelReport
    from .schemas.results import LabelSummary as LabelSummary
    from .schemas.results import LevelComparison as LevelComparison
    from .schemas.results import LibrarySummary as LibrarySummary
    from .schemas.results import ModalityMatch as ModalityMatch
    from .schemas.results import QueryMatch as QueryMatch
    from .schemas.results import QueryResult as QueryResult
    from .schemas.results import StoredVideo as StoredVideo
    from .schemas.results import VerifyReport as VerifyReport
    from .schemas.status import Status as Status
    from .search.library import Library as Library

__version__ = "0.2.0"

_HOMES = {
    "Library": "search.library",
    "Modality": "schemas.modality",
    "Step": "ingest.system.progress",
    "Stop": "ingest.system.stop",
    "EvaluationReport": "schemas.evaluation",
    "Explanation": "schemas.explanation",
    "Played": "schemas.explanation",
    "Status": "schemas.status",
    **dict.fromkeys(
        (
            "DuplicatesReport",
            "ImportReport",
            "IndexTuning",
            "IngestReport",
            "LibrarySummary",
            "DuplicatePair",
            "FailedFile",
            "LabelReport",
            "LabelSummary",
            "LevelComparison",
            "ModalityMatch",
            "QueryMatch",
            "QueryResult",
            "StoredVideo",
            "VerifyReport",
        ),
        "schemas.results",
    ),
    **dict.fromkeys(
        (
            "DeployError",
            "LibraryError",
            "MediaError",
            "ModelError",
            "SettingsError",
            "StoreError",
            "VidsimError",
            "WeightsError",
            "WorkerError",
        ),
        "schemas.errors",
    ),
}
"""Which module holds what is offered here."""

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    """Load what is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """What is offered, loaded or not."""
    return [*__all__]
