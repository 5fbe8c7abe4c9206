"""What holds for all tests."""

collect_ignore = ["typing"]  # checked by mypy (statedb/test_typing.py), never imported
