"""Faults, for every backend, on real servers: `python -m tests.faults`; `tests.faults.soak`: twenty minutes of them.

site        a source of truth with a reader of it, and what can be done to both; what all backends share
etcds, apis, directories    the sites
kinds       the faults
cell        one fault at one site: inflicted, healed, and what was seen of it
leaks       the same again and again: threads, sockets and memory must not grow
page        docs/faults.md
"""
