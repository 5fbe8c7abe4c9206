"""The store without a GIL: a race of its own, and the tests of the engine with what they need there.

make test-freethreaded
"""
