"""The errors a person can meet; each message is one sentence that names the next step."""

from __future__ import annotations


class VidsimError(Exception):
    """Base of every error vidsim raises on purpose; the CLI prints it and exits with 1."""


class MediaError(VidsimError):
    """A file that cannot be turned into segments (not a video, damaged, over a limit)."""


class WeightsError(VidsimError):
    """Weights that are missing, cannot be fetched, or fail their SHA-256."""


class StoreError(VidsimError):
    """Milvus or a shard that cannot be opened, read or written."""


class WorkerError(VidsimError):
    """A worker process that crashed, hung or ran over a limit."""


class LibraryError(VidsimError):
    """A library, video or folder that is not there."""


class ModelError(VidsimError):
    """A modality, backbone or filter that does not fit what was asked of it."""


class SettingsError(VidsimError):
    """An environment variable with a value that it cannot have."""


class DeployError(VidsimError):
    """A Docker engine or one of the services in it that cannot do what was asked."""
