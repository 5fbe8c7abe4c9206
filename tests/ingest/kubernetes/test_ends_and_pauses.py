"""How a follower goes on after each way in which a watch ends, and what the state of the table is meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingest import KubernetesOptions
from ingest.belief import History
from ingest.events import Upsert
from ingest.kubernetes.client import BRIEF_S, Page
from ingest.kubernetes.errors import ApiError, Expired, Forbidden, Silent, Unavailable
from ingest.kubernetes.follow import Follower
from ingest.kubernetes.messages import Changes, FullList, Interrupted, ListStarted, Message, Synced, WatchEnded
from ingest.kubernetes.resource_spec import Resource
from ingest.kubernetes.stream import EventType, Item
from statedb.catalog import Endpoints, Sources

from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, node

CEPS = Resource("cilium.io", "v2", "ciliumendpoints", (Endpoints,), lambda _: ())
CEP_PATH = PATHS["CiliumEndpoint"]
MIN_S, MAX_S = 1.0, 30.0
NEVER = {"retry_min_s": 600.0, "retry_max_s": 600.0}
"""With these a test that waits for any pause fails."""


class Scripted:
    """A client whose watches end as a script says: with an error, or in good order after ``int`` bookmarks or items."""

    def __init__(self) -> None:
        self.version_now = 100
        self.now = 0.0
        self.ends: list[int | list[Item] | ApiError] = []
        self.lives_s = 0.0
        self.asked: list[str] = []
        self.from_versions: list[str] = []

    def identity(self) -> str:
        return "uid"

    def version(self, _: Resource) -> tuple[str, str | None]:
        self.version_now += 1  # something is always written somewhere
        return str(self.version_now), "uid"

    def pages(self, _: Resource) -> Iterator[Page]:
        self.asked.append("list")
        yield Page([], str(self.version_now))

    def watch(self, _: Resource, version: str, *, brief: bool = False) -> ScriptedWatch:
        self.asked.append("brief watch" if brief else "watch")
        self.from_versions.append(version)
        end = self.ends.pop(0)
        if isinstance(end, Expired):
            raise end
        return ScriptedWatch(self, end)


class ScriptedWatch:
    server = "uid"

    def __init__(self, client: Scripted, end: int | list[Item] | ApiError) -> None:
        self._client = client
        self._end = end
        self._bookmarks = end if isinstance(end, int) else 0
        self.has_ended = False

    def read(self) -> list[Item]:
        if self._bookmarks:
            self._bookmarks -= 1
            self._client.version_now += 1
            return [Item("BOOKMARK", "", "", str(self._client.version_now), b"{}")]
        self._client.now += self._client.lives_s
        if isinstance(self._end, ApiError):
            raise self._end
        self.has_ended = True
        return self._end if isinstance(self._end, list) else []


class Run:
    """A follower that is driven attempt by attempt."""

    def __init__(self, *ends: int | list[Item] | ApiError, lives_s: float = 0.0) -> None:
        self.client = Scripted()
        self.client.ends = [*ends]
        self.client.lives_s = lives_s
        self.messages: list[Message] = []
        options = KubernetesOptions(retry_min_s=MIN_S, retry_max_s=MAX_S, streaming_lists=False)
        self._follower = Follower(
            CEPS,
            "f",
            self.client,  # type: ignore[arg-type]
            options,
            self.messages.append,
            stopping=lambda: False,
            clock=lambda: self.client.now,
        )
        self.pauses = [self._attempt() for _ in ends]

    def _attempt(self) -> float:
        """Until the watch has ended; the pause after it."""
        watch = self._follower.connect()
        if isinstance(watch, float):
            return watch
        while (pause_s := self._follower.read(watch)) is None:
            pass
        return pause_s

    def sent(self) -> list[type[Message]]:
        return [type(message) for message in self.messages]


def item(kind: EventType, version: int, name: str = "web") -> Item:
    return Item(kind, "default", name, str(version), b"{}")


def test_a_bookmark_that_goes_back_shows_another_server():
    """An API server sends it when its etcd was restored under it. What comes after it is not believed."""
    run = Run([item("ADDED", 200), item("BOOKMARK", 150), item("DELETED", 151)], 1)
    (changes,) = [message for message in run.messages if isinstance(message, Changes)]
    assert [type(event) for event in changes.events] == [Upsert]
    (told,) = [message for message in run.messages if isinstance(message, Interrupted)]
    assert "its resourceVersion was 200, is 150" in told.error
    (_, doubted) = [message for message in run.messages if isinstance(message, FullList)]
    assert doubted.history is History.OTHER


def test_the_version_of_an_event_may_be_an_older_one():
    """Some servers that are not Kubernetes' own send an object as it was. Older events would be replayed from there."""
    run = Run([item("ADDED", 102), item("DELETED", 101)], 1)
    assert run.client.asked == ["list", "watch", "watch"]
    assert run.client.from_versions == ["100", "102"]


def test_ends_in_good_order_after_a_word_never_pause():
    run = Run(*[1] * 50)
    assert run.pauses == [0.0] * 50
    assert Interrupted not in run.sent()
    assert run.client.asked.count("list") == 1


def test_ends_without_a_word_pause_longer_each_time():
    run = Run(*[0] * 8)
    assert run.sent().count(Interrupted) == 8
    assert all(pause >= MIN_S / 2 for pause in run.pauses)
    assert run.pauses[-1] > MAX_S / 2


def test_a_quiet_watch_that_stood_for_a_while_has_worked():
    assert Run(*[0] * 8, lives_s=60.0).pauses == [0.0] * 8


def test_a_word_forgets_the_failures_before_it():
    failure = Unavailable("cut")
    run = Run(failure, failure, failure, failure, 1, failure)
    assert run.pauses[3] > 2 * MIN_S
    assert run.pauses[4] == 0.0
    assert run.pauses[5] <= MIN_S


def test_the_first_expiry_lists_at_once_and_the_next_ones_pause():
    run = Run(1, Expired("410"), Expired("410"), Expired("410"), 1, Expired("410"))
    assert [pause > 0 for pause in run.pauses] == [False, False, True, True, False, False]
    assert run.client.asked.count("list") == 1 + 3
    assert run.sent().count(Interrupted) == 4


@pytest.mark.parametrize("wish_s", [0.0, 2.0, 500.0])
def test_a_server_is_left_alone_as_long_as_it_wishes_and_no_longer(wish_s: float):
    error = Unavailable("429")
    error.retry_after_s = wish_s
    run = Run(*[error] * 6)
    assert run.pauses == [max(wish_s, MIN_S)] * 6  # neither doubled nor cut to the longest pause of our own


def test_after_a_failure_it_is_synced_only_when_the_server_has_answered():
    run = Run(1, Unavailable("cut"), Unavailable("cut"), 2)
    assert run.sent() == [
        ListStarted,
        FullList,
        Synced,
        WatchEnded,
        Synced,
        Interrupted,
        Interrupted,
        Synced,
        WatchEnded,
    ]


def test_an_end_in_good_order_keeps_it_in_step():
    assert Run(1, 1).sent() == [ListStarted, FullList, Synced, WatchEnded, Synced, WatchEnded]


def test_a_second_watch_without_a_word_is_followed_by_a_list():
    silent = Silent("silent")
    run = Run(silent, silent, silent, 1)
    assert run.client.asked == ["list", "watch", "brief watch", "list", "watch", "list", "watch"]


def test_the_first_watch_after_a_failure_is_brief():
    run = Run(1, Unavailable("cut"), Unavailable("cut"), 1, 1)
    assert run.client.asked == ["list", "watch", "watch", "brief watch", "brief watch", "watch"]


def test_a_brief_watch_that_ends_in_time_without_a_bookmark_is_no_failure_and_a_list_shows_what_was_missed():
    run = Run(Unavailable("cut"), 0, 1, 1, lives_s=BRIEF_S)
    assert run.client.asked == ["list", "watch", "brief watch", "list", "watch", "watch"]
    assert [pause > 0 for pause in run.pauses] == [True, False, False, False]
    assert run.sent() == [
        *(ListStarted, FullList, Synced, Interrupted),
        *(WatchEnded, ListStarted, FullList, Synced, WatchEnded, Synced, WatchEnded),
    ]


def test_a_brief_watch_that_ends_at_once_is_a_failure():
    run = Run(Unavailable("cut"), *[0] * 7, lives_s=0.0)
    assert run.sent().count(Interrupted) == 8
    assert run.pauses[-1] > MAX_S / 2
    assert run.client.asked == ["list", "watch", "brief watch", *["brief watch", "list", "watch"] * 3]


def test_a_refusal_is_told_as_one():
    run = Run(Forbidden("may not"))
    assert [message.refused for message in run.messages if isinstance(message, Interrupted)] == [True]


# --- on a server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


def test_a_busy_server_that_ends_each_watch_after_an_event_is_followed_without_pauses(api: FakeApi):
    api.ends_after_events = True
    with KubeRig(api.url, tables=("endpoints",), **NEVER) as rig:
        rig.synced()
        with rig.db.changes(Sources) as stream:
            stream.next()
            for number in range(10):
                api.put(cep(f"10.0.0.{number}"))
                rig.until(lambda s, n=number: len(s[Endpoints]) == n + 1)
            states = {change.row.state for batch in iter(lambda: stream.next(timeout=0), None) for change in batch}
        assert states <= {"synced"}
        assert api.requests["list", CEP_PATH] == 1


def test_history_that_is_forgotten_is_listed_without_a_pause(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",), **NEVER) as rig:
        rig.synced()
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        api.put(node("elsewhere"))
        api.compact()
        api.end_watches()
        rig.until(lambda s: rig.row(s).relists == 2 and rig.state(s) == "synced")


def test_a_table_is_stale_until_the_server_has_spoken_on_the_new_connection(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.put(node("elsewhere"))  # history goes on, and this watch has nothing to hear of it
        asked = api.requests["probe", CEP_PATH]
        api.cut()
        rig.until(lambda s: rig.state(s) == "stale")
        api.wait_for_requests("probe", CEP_PATH, asked + 1)
        since = rig.row().since
        api.bookmark()
        row = rig.row(rig.until(lambda s: rig.state(s) == "synced"))
        assert row.since > since  # it was stale until then
        assert api.requests["list", CEP_PATH] == 1


@pytest.mark.parametrize("broken", ["watch", "probe"])
def test_a_server_without_bookmarks_is_listed_after_a_failure_when_nothing_comes(api: FakeApi, broken: str):
    """Found by the histories of test_kubernetes_histories.py: a quiet table was stale until something happened in it.

    A real server may send no bookmark, either, of a kind in which nothing has happened since it started.
    """
    api.put(cep("10.0.0.1"))
    with KubeRig(api.url, tables=("endpoints",)) as rig:
        rig.synced()
        api.put(node("elsewhere"))  # history goes on, and this watch has nothing to hear of it
        if broken == "probe":
            api.half_answer()  # the first list after the cut asks for the newest version
        since = rig.row().since
        api.cut()
        row = rig.row(rig.until(lambda s: rig.state(s) == "synced" and rig.row(s).since > since))
        assert (row.relists, rig.endpoints()) == (2, {"10.0.0.1": 70_000})
        api.put(cep("10.0.0.2"))
        rig.until(lambda s: len(s[Endpoints]) == 2)
        assert api.requests["list", CEP_PATH] == 2


def test_a_watch_that_does_not_stand_again_makes_the_table_stale(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",), request_timeout_s=60.0) as rig:
        rig.synced()
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: len(s[Endpoints]) == 1)
        api.hold_watches(True)
        api.end_watches()
        row = rig.row(rig.until(lambda s: rig.state(s) == "stale"))
        assert "has ended, and no other one is open yet" in row.last_error
        api.hold_watches(False)
        rig.until(lambda s: rig.state(s) == "synced")


def test_the_head_of_a_watch_is_not_waited_for_as_long_as_its_silence(api: FakeApi):
    with KubeRig(api.url, tables=("endpoints",), request_timeout_s=0.2, silence_s=600.0) as rig:
        api.hold_watches(True)
        rig.until(lambda s: "no answer in time" in rig.row(s).last_error)
        api.hold_watches(False)
        rig.synced()
