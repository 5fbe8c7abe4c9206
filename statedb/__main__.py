"""``python -m statedb``: the command line.

``-m`` puts the current directory first on the import path, where a user's ``ingest/`` or ``consumers/`` would hide
ours. It is removed again, unless this package itself was found there (in a checkout).
"""

import sys
from pathlib import Path

_HOME = Path(__file__).resolve().parent.parent

if not sys.flags.safe_path and sys.path and Path(sys.path[0]).resolve() == Path.cwd() != _HOME:
    del sys.path[0]

from .agent.cli.main import main  # noqa: E402 - the path must be right before anything else is imported

main()
