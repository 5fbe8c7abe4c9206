"""Tools for property tests of programs that use the engine: a naive model, sample tables, strategies, a clock.

Play a history on the engine and on the model, and compare everything that can be read:

    >>> from hypothesis import given, settings
    >>> from statedb import Database
    >>> from statedb.testing import Hosts, Model, Slots, assert_same, check_invariants, histories, play

    >>> @settings(max_examples=5, database=None, deadline=None)
    ... @given(histories(max_size=5))
    ... def test_the_engine_answers_as_the_model_does(history):
    ...     db, model = Database(Hosts, Slots), Model(Hosts, Slots)
    ...     assert play(history, db) == play(history, model)
    ...     assert_same(db.snapshot(), model.snapshot())
    ...     check_invariants(db)

    >>> test_the_engine_answers_as_the_model_does()

For your own tables, pass a strategy for the rows of each table: ``histories({Users: users()})``. Only the
strategies (``histories``, ``steps``, ``hosts``, ``slots``) need the package hypothesis.
"""

from typing import TYPE_CHECKING, Any

from ._clock import VirtualClock
from ._compare import assert_equal, assert_same, check_invariants, fold, observe, probes_of
from ._histories import Step, Writes, perform, perform_alone, play
from ._model import Model, ModelSnapshot, ModelTable, ModelTransaction
from ._tables import Host, Hosts, Slot, SlotKey, Slots

if TYPE_CHECKING:
    from ._strategies import histories, hosts, slots, steps

__all__ = [
    "Host",
    "Hosts",
    "Model",
    "ModelSnapshot",
    "ModelTable",
    "ModelTransaction",
    "Slot",
    "SlotKey",
    "Slots",
    "Step",
    "VirtualClock",
    "Writes",
    "assert_equal",
    "assert_same",
    "check_invariants",
    "fold",
    "histories",
    "hosts",
    "observe",
    "perform",
    "perform_alone",
    "play",
    "probes_of",
    "slots",
    "steps",
]

_STRATEGIES = ("histories", "hosts", "slots", "steps")


def __getattr__(name: str) -> Any:
    """The strategies, imported on first use. Raises ImportError if hypothesis is not installed."""
    if name not in _STRATEGIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _strategies

    return getattr(_strategies, name)
