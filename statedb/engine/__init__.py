"""The store: tables, transactions, snapshots, watches and change streams. Imports nothing from outside this package.

Use it through ``statedb``; every module here is private. They form a ladder: each knows only those below it, and an
import contract in pyproject.toml checks it. From the bottom:

    errors                      one exception class for each thing the caller can do about it
    keys, networks              compound keys and their prefixes; IP networks as packed bytes
    schema, shape, sameness     declarations of tables and indexes; the one shape of an index's keys; equal rows
    states, order, row_list     a row at one moment; keys in order; rows in order
    bucket                      the primary keys under one index key
    layers, history             old states as layers over the newest rows; the chain of commits
    row_change                  one row before and after
    wakers, concern             what a watch wakes; what it is about
    watch, watch_set            watches and their registry; several watches waited for as one
    reserve                     which transaction may write a table now
    index_store, extract, store the newest state of one index, and of one table
    source                      the rule by which every read is right, also during a commit
    table_view, index_views, network_view    what users read
    codec, dump, snapshot, origins     tables as lines; all tables at one instant; who holds old states
    fork                        what a child process has to tidy up
    commit, single, staged_keys, overlay, writer, transaction    how a change becomes the newest state
    changes, streams            what changed since, batch by batch
    head, stats, invariants     the parts of a database that transactions need; numbers; checks
    owner, database, load            what users open; reading a dump back
"""
