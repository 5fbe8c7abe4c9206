"""What the backends share that read keys of an etcd: whom to ask, what to list, which list may delete.

    options           as they stand in a configuration
    connect line      the server in turn, its credentials, the thread that talks to it
    kind prefix       one prefix: what its keys say, and up to which revision we know it
    keyspace          all prefixes of a source: lists, watches, witnesses
    writers heartbeat what was seen of the programs that write the keys: heartbeat, canaries, leases
    judging           which absence may be believed, given that
    lineage trust     whether the server is the one we knew, and for how long another one is not believed

Needs the extra ``statedb[etcd]``, but for ``options``, ``kind``, ``lineage`` and ``trust``.
"""
