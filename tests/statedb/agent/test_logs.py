"""The log of an agent: its formats, and one line for each change of a source's state."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given, strategies as st

from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.agent import Agent, ConfigError, parse_config
from statedb.agent.process.logs import JsonFormatter, TextFormatter, shown_on_stderr
from statedb.agent.readiness import CONSUMER_GRACE_S, Readiness
from statedb.catalog.wire import keys

from .conftest import WAIT_S


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("statedb.agent", logging.WARNING, __file__, 1, message, args, exc_info)


def test_text_has_a_time_with_zone_and_no_control_characters():
    time, level, logger, message = TextFormatter().format(record("bad key %r\x1b[31m", "a\nb")).split(" ", 3)
    assert datetime.fromisoformat(time).tzinfo is not None
    assert (level, logger, message) == ("WARNING", "statedb.agent:", "bad key 'a\\nb'?[31m")


def test_a_traceback_follows_its_line():
    try:
        raise ValueError("a\x07b")
    except ValueError as error:
        text = TextFormatter().format(record("failed", error=error))
        fields = json.loads(JsonFormatter().format(record("failed", error=error)))
    assert text.splitlines()[0].endswith("failed")
    assert text.splitlines()[-1] == "ValueError: a?b"
    assert fields["traceback"].endswith("ValueError: a\x07b")


@given(st.text() | st.just("\ud800"))
def test_json_is_one_object_a_line_whatever_the_message_is(message: str):
    line = JsonFormatter().format(record("%s", message))
    assert "\n" not in line
    fields = json.loads(line)
    assert set(fields) == {"time", "level", "logger", "message"}
    assert (fields["level"], fields["message"]) == ("warning", message.replace("\ud800", "?"))


def test_the_format_is_an_option_and_a_wrong_one_is_named():
    assert parse_config("ingest: {manifests: {directory: x}}\nlog-format: json\n").log_format == "json"
    with pytest.raises(ConfigError, match="log-format: must be one of text, json"):
        parse_config("ingest: {manifests: {directory: x}}\nlog-format: xml\n")


class Lines(logging.Handler):
    """Collects messages about sources, and waits for one."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[str] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        if " -> " in record.getMessage():
            with self._changed:
                self.found.append(record.getMessage())
                self._changed.notify_all()

    def wait(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(text in line for line in self.found), WAIT_S), self.found


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("ingest")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_an_outage_of_etcd_is_one_line_at_its_beginning_and_one_at_its_end(lines: Lines):
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            client.put(keys.HEARTBEAT.encode(), b"here")
        ingest = f"ingest: {{kvstore: {{endpoints: ['{etcd.endpoint}'], retry-max-s: 0.2}}}}"
        with Agent(parse_config(f"cluster: {{name: c1, id: 1}}\n{ingest}\nhttp: {{listen: '127.0.0.1:0'}}")) as agent:
            lines.wait("-> synced")
            lines.found.clear()
            etcd.kill()
            lines.wait("-> stale")
            etcd.start()
            lines.wait("-> synced")
            tables = [table.name for table in agent.sources[0].tables]
    began, ended = lines.found[:2]
    names = ", ".join(sorted(tables))
    assert began.startswith(f"kvstore/c1 {names}: synced -> stale after ")
    assert ended.startswith(f"kvstore/c1 {names}: stale -> synced after ")
    assert all("-> absent " in line for line in lines.found[2:])


def test_what_is_shown_for_a_while_is_not_shown_afterwards(capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger("ingest")
    level = logger.level
    with shown_on_stderr("info"):
        logger.info("kvstore/c1 nodes: stale -> synced after 1.0 s")
    logger.info("later")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Z INFO ingest: kvstore/c1 nodes: stale -> synced after 1.0 s")
    assert logger.level == level


class Sometimes:
    """A consumer whose health the test sets."""

    name = "publisher"
    ready = True
    crash = None
    health = "OK"


def test_a_consumer_that_fails_for_long_makes_the_agent_not_ready_until_it_works_again():
    consumer, now = Sometimes(), [0.0]
    readiness = Readiness(Database(), (), [consumer], clock=lambda: now[0])  # type: ignore[list-item]
    assert readiness.observe_consumers() == []
    consumer.health = "failing, 3 tries: no route"
    readiness.observe_consumers()
    now[0] = CONSUMER_GRACE_S - 1
    readiness.observe_consumers()
    assert readiness.missing() == []
    now[0] = CONSUMER_GRACE_S
    assert readiness.missing() == [{"consumer": "publisher", "state": "failing, 3 tries: no route"}]
    consumer.health = "OK"
    assert readiness.observe_consumers() == [("publisher", CONSUMER_GRACE_S)]
    assert readiness.missing() == []
