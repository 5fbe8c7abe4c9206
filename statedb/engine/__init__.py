"""The store: tables, transactions, snapshots, watches and change streams. Imports nothing from outside this package.

Use it through ``statedb``: every module here is private. The modules are in layers. Each imports only from those above
it in this list, and an import contract in pyproject.toml checks that:

    errors                      one exception class for each thing that the caller can do about it
    keys, networks              compound keys and their prefixes; IP networks as packed bytes
    schema, shape, sameness     declarations of tables and indexes; the type of an index's keys; equality of rows
    states, order, row_list     a row at one moment; keys in order; rows in order
    bucket                      the primary keys under one index key
    layers, history             old states as layers over the newest rows; the chain of commits
    row_change                  one row before and after a change
    wakers, concern             what a watch wakes; what it waits for
    watch, watch_set            watches and their registry; a wait on several watches
    reserve                     the write reservation of a table
    index_store, extract, store the newest state of one index and of one table
    source                      reads that are correct for every snapshot, also during a commit
    table_view, index_views, network_view    what users read
    codec, dump, snapshot, origins     tables as JSON lines; all tables at one instant; who holds old states
    fork                        repairs databases in a child process
    commit, single, staged_keys, overlay, writer, transaction    how a change becomes the newest state
    changes, streams            what changed since a snapshot, in batches
    head, stats, invariants     the part of a database that transactions need; statistics; checks
    owner, database, load       what users open; reads a dump back
"""
