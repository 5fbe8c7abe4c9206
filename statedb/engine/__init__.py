"""The store: tables, transactions, snapshots, watches and change streams. Imports nothing from outside this package.

Use it through ``statedb``; every module here is private.
"""
