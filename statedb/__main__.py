"""``python -m statedb``: the command line."""

from .agent.cli.main import main

main()
