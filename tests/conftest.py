"""What holds for all tests, and the real API server for those that ask for one."""

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings

from .apiserver import binary
from .apiserver.server import ApiServer

collect_ignore = ["typing"]  # checked by mypy (statedb/test_typing.py), never imported

# `make test` tries the same examples each time, so that a run says of a change what it said before. CI and
# `make stress` search with fresh ones. An example's time says more about who else uses the machine than about our
# code: benchmarks judge speed, tests do not.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("search" if os.environ.get("CI") or os.environ.get("STATEDB_SEARCH") else "fixed")

# A shell lets programs that it starts in the background ignore SIGINT, and their children too. Some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FIGURE = "figure"
"""The property of a test whose value the summary shows."""
REQUIRED = "STATEDB_APISERVER"
"""Set to ``required``, a missing kube-apiserver fails the tests that need it. Else they are skipped, and counted."""


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """A real API server with Cilium's CRDs, shared: name your objects so that others do not meet them, or remove them.

    Who kills it or changes what it serves starts one of its own (`ApiServer`), and marks the test ``apiserver``.
    """
    with ApiServer() as server:
        server.start()
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who uses the fixture bears the mark; who bears it is skipped where there is no server and none is required."""
    for item in items:
        if "apiserver" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.apiserver)
    needing = [item for item in items if item.get_closest_marker("apiserver")]
    if not needing or os.environ.get(REQUIRED) == "required":
        return
    try:
        binary.find()
    except binary.Missing as error:
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=str(error)))
    except binary.BuildFailed as error:
        raise pytest.UsageError(str(error)) from None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests a missing program has cost, and the remedy; the figures that tests tell."""
    _count_missing_programs(terminalreporter)
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == FIGURE and report.when == "call":
                terminalreporter.write_line(str(value))
    reasons = [
        report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if "apiserver" in report.keywords
    ]
    if reasons:
        why = reasons[0].removeprefix("Skipped: ")
        terminalreporter.write_line(
            f"tests against a real API server, skipped: {len(reasons)}, for there is {why}", yellow=True
        )


def _count_missing_programs(terminalreporter: pytest.TerminalReporter) -> None:
    """Of the other programs, by the reason of the skip: ``there is no NAME; install ...``."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "apiserver" not in report.keywords]
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.items():
        if reason.startswith("there is no "):
            terminalreporter.write_line(f"tests skipped: {count}, for {reason}", yellow=True)
