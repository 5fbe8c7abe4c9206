"""What can be wrong with an ingest that was asked for. Troubles of a running one stand in the ``sources`` table."""

from __future__ import annotations


class IngestError(Exception):
    """Base of all errors of this package that reach a caller."""


class InvalidOptions(IngestError, ValueError):
    """A source cannot be made from these options; the message names the option and the remedy."""


class OwnedElsewhere(IngestError):
    """Another source fills this (cluster, table) already. Give every table one source."""


class MissingDependency(IngestError):
    """A backend needs a package that is not installed; the message names the extra that brings it."""
