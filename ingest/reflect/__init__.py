"""From what a source says to rows: one transaction per batch. Knows no transport and no format.

    feed          what a source will ever offer
    batch         events that wait to be written together
    claims        which object holds which key of a table, and who waits for it
    withheld      objects that a server left out without being believed
    ownership     which rows of a table are one source's
    initializers  what a source promises to fill, and what an earlier one left unfilled
    writer        the one transaction: rows, rejected objects and the source's state
    reflector     an event's way through all of these

Whether an object may go is not decided here, but by `ingest.belief`.
"""

from .feed import Feed, Timings
from .reflector import Reflector

__all__ = ["Feed", "Reflector", "Timings"]
