"""Turns the events of a source into rows, one transaction for each batch. Knows no transport and no format.

    feed          a part of a source, and the tables that it fills
    batch         events that are written together
    claims        which object holds which key of a table, and which objects wait for it
    withheld      objects whose deletes are withheld
    inherited     rows of before, until the first lists have come
    ownership     which rows of a table belong to a source
    initializers  the initializers of a source's tables
    writer        one transaction with rows, rejected objects and the state of the source
    reflector     puts all of these together

`ingest.belief` decides whether the rows of an object may be deleted.
"""

from .feed import Feed, Timings
from .reflector import Reflector

__all__ = ["Feed", "Reflector", "Timings"]
