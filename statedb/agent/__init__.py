"""The agent: a configuration becomes a database, sources that fill it, consumers that use it, and a server.

    process/    life cycle, configuration, sources and consumers by name
    http/       the server and its resources
    client/     tables of another process: requests, replica, comparison
    cli/        the command line        demo/    `statedb demo`

It is the only part that knows all others.
"""
