"""What the backends share that read keys of an etcd: connections, lists and watches, and which list may delete rows.

    options             the options in a configuration
    connect connection  the servers and credentials; the thread that talks to one of them
    session             one connection, from the first answer to the last
    source              what all sources on etcd have in common
    kind prefix         one prefix: its decoder, and the revision up to which it is known
    keyspace            all prefixes of a source: lists, watches, witnesses
    writers heartbeat   the state of the programs that write the keys, by heartbeat, canaries and leases
    judging             which missing keys are believed to be deleted, by the state of the writers
    lineage             whether the server is the one that was known before

All but ``options``, ``kind`` and ``lineage`` need the extra ``statedb[etcd]``.
"""
