"""Errors when a source is created or started. Problems of a running source are in the table ``sources``."""

from __future__ import annotations


class IngestError(Exception):
    """Base of all errors that this package raises."""


class InvalidOptions(IngestError, ValueError):
    """A source cannot be made from these options; the message names the option and the remedy."""


class OwnedElsewhere(IngestError):
    """Another source already fills this table for this cluster. Each table has one source."""


class MissingDependency(IngestError):
    """A backend needs a package that is not installed; the message names the extra that brings it."""
