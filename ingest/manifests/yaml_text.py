"""Parses YAML into plain values. Knows no kinds of objects.

A plain scalar stays text as written (``no``, ``1.10``, ``0123``, ``1e3``), and the type of its field decides what it
means. Only null becomes None. With ``typed`` scalars are resolved by the core schema of YAML 1.2, for values that we
store unchanged, like the spec of a policy.

Limits protect against untrusted input: depth, number of aliases, and size of the expanded aliases. The builder uses
parser events and a stack of its own, because libyaml's composer crashes on deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from .document import Document as Document, LineCallback, TextError, Value, ignore

DEPTH_MAX = 100
NODES_MAX = 1_000_000
_EVENTS_PER_CALL = 10_000

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float")}
_DOCUMENT = re.compile(r"^(?=---(?:\s|$))", re.MULTILINE)


class YamlError(TextError):
    """The text is not valid YAML, or uses a part of YAML that is not supported."""


def split(text: str) -> list[Document]:
    """Split the text at ``---`` lines, so that a bad document does not affect the others.

    Empty documents and directives are dropped. ``---`` at the start of a line always ends a document, even inside a
    block scalar.
    """
    documents = []
    line = 1
    for part in _DOCUMENT.split(text):
        if any(_is_content(number, each) for number, each in enumerate(part.splitlines())):
            documents.append(Document(part, line))
        line += part.count("\n")
    return documents


class _Options(msgspec.Struct, frozen=True):
    typed: bool
    aliases_max: int
    on_line: LineCallback


def load(
    document: Document,
    *,
    typed: bool = False,
    aliases_max: int = 100,
    on_line: LineCallback = ignore,
) -> list[Value]:
    """The values of a document: one, or several if they are separated by ``...``. Raises YamlError."""
    loader = _Parser(document.text)
    options = _Options(typed, aliases_max, on_line)
    try:
        return [_Builder(loader, document.line, options).build(start) for start in _starts(loader)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {document.line + mark.line}: " if mark is not None else ""
        raise YamlError(f"{where}{error.problem or error.context or 'not YAML'}") from None
    except yaml.YAMLError as error:  # the reader's: characters that YAML does not allow
        raise YamlError(f"line {document.line}: {getattr(error, 'reason', 'not YAML')}") from None
    finally:
        loader.dispose()


def _is_content(number: int, line: str) -> bool:
    if number == 0 and line.startswith("---"):
        line = line[3:]
    line = line.strip()
    return bool(line) and line[0] not in "#%" and line != "..."


def _starts(loader: Any) -> Iterator[Any]:
    """The first event of each document in the stream."""
    while True:
        event = loader.get_event()
        if event is None or isinstance(event, yaml.StreamEndEvent):
            return
        if isinstance(event, yaml.DocumentStartEvent):
            yield loader.get_event()


class _Frame:
    """A list or dict under construction. ``key`` is the key whose value comes next, ``size`` the number of values."""

    __slots__ = ("anchor", "is_list", "key", "keyed", "merges", "size", "value")

    def __init__(self, value: list[Value] | dict[str, Value], anchor: str | None) -> None:
        self.value: Any = value
        self.is_list = isinstance(value, list)
        self.anchor = anchor
        self.key = ""
        self.keyed = False
        self.merges: list[Value] = []
        self.size = 1


class _Builder:
    """Builds one document from its events."""

    def __init__(self, loader: Any, line: int, options: _Options) -> None:
        self._loader = loader
        self._line = line
        self._typed = options.typed
        self._on_line = options.on_line
        self._aliases = options.aliases_max
        self._expanded = 0
        self._anchors: dict[str, tuple[Value, int]] = {}
        self._stack: list[_Frame] = []

    def build(self, event: Any) -> Value:
        """The value that begins with an event. It is written inline for speed: it runs for every scalar of a file."""
        next_event, stack, typed = self._loader.get_event, self._stack, self._typed
        count = 0
        while True:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                if event.tag is not None:
                    value = self._tagged(event)
                elif not event.implicit[0]:
                    value = event.value
                else:
                    value = _plain(event.value) if typed else None if event.value in _NULLS else event.value
                if event.anchor is not None:
                    self._anchors[event.anchor] = (value, 1)
                if not stack:
                    return value
                frame = stack[-1]
                frame.size += 1
                if frame.is_list:
                    frame.value.append(value)
                elif frame.keyed and frame.key != "<<":
                    frame.value[frame.key] = value
                    frame.keyed = False
                else:
                    self._add(frame, value, event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event)
            else:
                value, size = self._alias(event) if kind is yaml.AliasEvent else self._close()
                if not stack:
                    return value
                stack[-1].size += size
                self._add(stack[-1], value, event)
            event = next_event()
            count += 1
            if not count % _EVENTS_PER_CALL:
                self._on_line(self._line + event.start_mark.line)

    def _open(self, event: Any) -> None:
        if len(self._stack) >= DEPTH_MAX:
            raise self._error(event, f"nested deeper than {DEPTH_MAX}")
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _TAG + ("map" if mapping else "seq")):
            raise self._error(event, "tags are not read, except those of the core schema")
        if self._stack and self._wants_key(self._stack[-1]):
            raise self._error(event, "a key must be a scalar")
        self._stack.append(_Frame({} if mapping else [], event.anchor))

    def _close(self) -> tuple[Value, int]:
        frame = self._stack.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)  # merges occur in mappings only
        done = (frame.value, frame.size)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = done
        return done

    def _alias(self, event: Any) -> tuple[Value, int]:
        if event.anchor not in self._anchors:
            raise self._error(event, "an alias without its anchor, or inside of it")
        self._aliases -= 1
        if self._aliases < 0:
            raise self._error(event, "too many aliases")
        value, size = self._anchors[event.anchor]
        self._expanded += size
        if self._expanded > NODES_MAX:
            raise self._error(event, f"aliases stand for more than {NODES_MAX} values")
        return value, size

    def _add(self, frame: _Frame, value: Value, event: Any) -> None:
        """Add a value to its list or dict, or set it as the next key."""
        if frame.is_list:
            frame.value.append(value)
        elif not frame.keyed:
            frame.key, frame.keyed = self._key(event, value, frame.value), True
        else:
            frame.keyed = False
            if frame.key == "<<":
                frame.merges += self._merged(event, value)
            else:
                frame.value[frame.key] = value

    def _wants_key(self, frame: _Frame) -> bool:
        return isinstance(frame.value, dict) and not frame.keyed

    def _key(self, event: Any, value: Value, mapping: dict[str, Value]) -> str:
        key = event.value if isinstance(event, yaml.ScalarEvent) else value
        if not isinstance(key, str):
            raise self._error(event, "a key must be a scalar")
        if key in mapping:
            raise self._error(event, "a key stands twice in one mapping")
        return key

    def _merged(self, event: Any, value: Value) -> list[Value]:
        merged = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in merged):
            raise self._error(event, "<< merges mappings only")
        return merged

    def _tagged(self, event: Any) -> Value:
        """A scalar with a tag."""
        tag, text = event.tag, event.value
        if tag == "!" or tag == _TAG + "str":
            return text
        if tag in _PLAIN_TAGS:
            return _plain(text) if self._typed else None if text in _NULLS else text
        raise self._error(event, "tags are not read, except those of the core schema")

    def _error(self, event: Any, problem: str) -> YamlError:
        return YamlError(f"line {self._line + event.start_mark.line}: {problem}")


def _plain(text: str) -> Value:
    """The value of a plain scalar by the core schema."""
    if text in _NULLS:
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text) and len(text) < 64:
        return int(text)
    if _RADIX.fullmatch(text) and len(text) < 64:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
