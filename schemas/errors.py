"""Errors for the user; each message is one sentence that names the next step."""

from __future__ import annotations


class VidsimError(Exception):
    """Base of every error that vidsim raises deliberately; the CLI prints it and exits with 1."""


class MediaError(VidsimError):
    """A file cannot be cut into segments (not a video, damaged, over a limit)."""


class WeightsError(VidsimError):
    """Weights are missing, cannot be fetched, or fail their SHA-256."""


class StoreError(VidsimError):
    """Milvus or a shard cannot be opened, read or written."""


class WorkerError(VidsimError):
    """A worker process crashed, hung or exceeded a limit."""


class LibraryError(VidsimError):
    """A library, video or folder does not exist."""


class ModelError(VidsimError):
    """A modality, backbone or filter does not fit the request."""


class SettingsError(VidsimError):
    """An environment variable has an invalid value."""


class DeployError(VidsimError):
    """A Docker engine, or a service in it, cannot do what was requested."""
