"""Labels of security identities as text (cilium/cilium pkg/labels).

A label is ``source:key=value``. A set is written as its *sorted list*: sorted by key, always with the ``=``, and each
label followed by ``;``. Nothing is escaped: a key with ``=`` is not decoded as it was. Kubernetes has no such keys.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter

import msgspec

from ._errors import WireError

UNSPEC = "unspec"
ANY = "any"
RESERVED = "reserved"
KUBERNETES = "k8s"


class Label(msgspec.Struct, frozen=True, order=True, gc=False):
    """The source, key and value of a label. The value may be empty."""

    source: str
    key: str
    value: str = ""

    @property
    def text(self) -> str:
        """``source:key=value``, as in rows and sorted lists."""
        return f"{self.source}:{self.key}={self.value}"

    @property
    def short(self) -> str:
        """The same without the ``=`` of an empty value, as in CiliumEndpoints: ``reserved:host``."""
        return self.text if self.value else f"{self.source}:{self.key}"


def parse(text: str) -> Label:
    """The label of a text, as Cilium's ParseLabel returns it. Never raises: every text is a label, though its key may
    be empty.

    >>> parse("k8s:app=web"), parse("$host"), parse("web")
    (Label(source='k8s', key='app', value='web'), Label(source='reserved', key='host', value=''), \
Label(source='unspec', key='web', value=''))
    """
    source, rest = _split_source(text)
    key, equals, value = rest.partition("=")
    if equals and not key and source == RESERVED:
        key, value = value, ""
    return Label(source or UNSPEC, key, value)


def parse_selector(text: str) -> Label:
    """As `parse`, for the label of a selector, in which no source means any source."""
    label = parse(text)
    return Label(ANY, label.key, label.value) if label.source == UNSPEC else label


def parse_list(text: str) -> tuple[Label, ...]:
    """The labels of a sorted list, by key. Labels without a key are dropped. Of two with one key the last is used."""
    return _by_key([parse(each) for each in text.split(";")])


def from_map(labels: Mapping[str, str]) -> tuple[Label, ...]:
    """The labels of a mapping from ``source:key`` to value, as in a CiliumIdentity.

    >>> from_map({"k8s:app": "web", "reserved:": "host"})
    (Label(source='k8s', key='app', value='web'), Label(source='reserved', key='host', value=''))
    """
    return _by_key([_of_pair(name, value) for name, value in labels.items()])


def sorted_list(labels: Iterable[Label]) -> str:
    """The sorted list, the form in etcd. Raises WireError for a ``;``, which would be decoded as the end of a label.

    >>> sorted_list([Label("k8s", "app", "web"), Label("k8s", "a")])
    'k8s:a=;k8s:app=web;'
    """
    texts = [label.text + ";" for label in sorted(labels, key=attrgetter("key"))]
    for text in texts:
        if ";" in text[:-1]:
            raise WireError(f"label {text[:-1]!r} has a ';', which ends a label")
    return "".join(texts)


def texts(labels: Iterable[Label]) -> tuple[str, ...]:
    """Labels as in rows."""
    return tuple([label.text for label in labels])


def _split_source(text: str) -> tuple[str, str]:
    if text.startswith("$"):
        return RESERVED, text[1:]
    source, colon, rest = text.partition(":")
    return (source, rest) if colon else ("", text)


def _of_pair(name: str, value: str) -> Label:
    source, key = _split_source(name)
    if source == RESERVED and not key:
        key, value = value, ""
    return Label(source or UNSPEC, key, value)


def _by_key(labels: Iterable[Label]) -> tuple[Label, ...]:
    by_key = {label.key: label for label in labels if label.key}
    return tuple([by_key[key] for key in sorted(by_key)])
