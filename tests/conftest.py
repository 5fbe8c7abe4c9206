"""What holds for all tests."""

from hypothesis import settings

collect_ignore = ["typing"]  # checked by mypy (statedb/test_typing.py), never imported

# An example's time says more about who else uses the machine than about our code: benchmarks judge speed, tests do not.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
