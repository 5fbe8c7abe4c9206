"""Bytes of a file into objects: JSON as well as YAML, every encoding, templates, and files that are large."""

import codecs
import json
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from ingest.events import Bad, Upsert
from ingest.manifests.files import Parsed, parse
from ingest.manifests.kinds import kinds
from statedb.catalog import Node, Policy

KINDS = kinds("c1", 1)
NODE = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNode",
    "metadata": {"name": "a", "labels": {"port": "0123", "no": "no"}},
    "spec": {"addresses": [{"ip": "172.18.0.1", "type": "InternalIP"}], "ipam": {"podCIDRs": ["10.244.1.0/24"]}},
}
POLICY = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "p", "namespace": "ns"},
    "spec": {"endpointSelector": {}, "ingress": [{"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}]},
}


def of(file: str, data: bytes | str) -> Parsed:
    return parse(file, data if isinstance(data, bytes) else data.encode(), KINDS, 100)


def rows(parsed: Parsed) -> list[Any]:
    return [row for event in parsed.events.values() if isinstance(event, Upsert) for row in event.rows]


def errors(parsed: Parsed) -> dict[str, str]:
    return {event.object: event.error for event in parsed.events.values() if isinstance(event, Bad)}


def node(number: int) -> dict[str, Any]:
    return {**NODE, "metadata": {"name": f"n{number}"}}


# --- JSON -------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8)
NODES = st.builds(
    lambda name, labels: {**NODE, "metadata": {"name": name, "labels": labels}},
    st.text("abc-0123456789", min_size=1, max_size=8),
    st.dictionaries(TEXT, TEXT, max_size=3),
)


@given(st.lists(NODES | st.just(POLICY), max_size=4), st.sampled_from([None, 1]))
@example([NODE, NODE, POLICY], None)
def test_a_file_has_the_same_rows_as_json_and_as_yaml(objects: list[Any], indent: int | None):
    """YAML 1.2 contains JSON. Escaped pairs of surrogates are not tried: libyaml refuses them, as YAML 1.1 says."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, ensure_ascii=False, indent=indent)
    in_json, in_yaml = of("f.json", text), of("f", text)
    assert rows(in_json) == rows(in_yaml)
    assert [name.replace("f.json:", "f:") for name in in_json.events] == [*in_yaml.events]


def test_values_that_yaml_would_change_are_kept_in_json():
    """Tabs between tokens, a slash that is escaped, a pair of surrogates and half of one, a very long key."""
    labels = '{"a": "\\/x", "b": "\\ud83d\\ude00", "c": "\\ud83d!", "' + "k" * 2000 + '": "\\u0085"}'
    text = json.dumps(NODE).replace('{"port": "0123", "no": "no"}', labels).replace(", ", ",\t")
    (row,) = rows(of("a.json", text))
    assert isinstance(row, Node)
    assert dict(row.labels) == {"a": "/x", "b": "😀", "c": "\ufffd!", "k" * 2000: "\x85"}


def test_several_json_values_stand_one_after_the_other():
    text = f"\n{json.dumps(NODE)}\n{json.dumps(node(2), indent=2)}{json.dumps(POLICY)}\n\n"
    assert [type(row) for row in rows(of("a.json", text))] == [Node, Node, Policy]
    assert of("a.json", " \n").events == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"a": 1,\n "a": 2}', "line 1: a key stands twice in one object"),
        ('{"a": 1,\n b: 2}', "line 2: not JSON: Expecting property name"),
        ("kind: CiliumNode\n", "line 1: not JSON"),
        ('{"a": NaN}', "line 1: not JSON: NaN is not a number"),
        ("[" * 100_000, "line 1: nested too deep"),
        ("9" * 10_000, "line 1: "),
        ("[1, 2]", "a Kubernetes object is a mapping"),
    ],
)
def test_what_is_not_json_is_one_error_that_names_the_line(text: str, error: str):
    """The objects before it count."""
    parsed = of("a.json", json.dumps(NODE) + text)
    assert len(rows(parsed)) == 1
    assert not parsed.whole
    assert error in errors(parsed)["a.json:1"]


def test_lists_in_lists_are_read_and_those_that_are_too_deep_are_refused():
    def nested(depth: int) -> str:
        return '{"kind": "List", "items": [' * depth + json.dumps(NODE) + "]}" * depth

    assert len(rows(of("a.json", nested(5)))) == 1
    assert errors(of("a.json", nested(300))) == {"a.json:1": "apiVersion or kind is missing"}
    assert not rows(of("a.json", nested(300)))


def test_a_policy_that_is_nested_too_deep_costs_only_itself():
    spec = '{"a":' * 300 + "{}" + "}" * 300
    deep = json.dumps(POLICY).replace('"endpointSelector": {}', f'"endpointSelector": {spec}')
    parsed = of("a.json", deep + json.dumps(NODE))
    assert Node in [type(row) for row in rows(parsed)]


# --- encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["a.json", "a.yaml"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_every_encoding_of_unicode_is_read(file: str, encoding: str, mark: bytes):
    """Windows PowerShell writes UTF-16 with a byte order mark when output is redirected to a file."""
    named = {**NODE, "metadata": {"name": "a", "labels": {"città": "Zürich 😀"}}}
    text = json.dumps(named, ensure_ascii=False)
    (row,) = rows(of(file, mark + text.encode(encoding)))
    assert row.labels == (("città", "Zürich 😀"),)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"a: \xff", "not UTF-8 at byte 3"),
        (codecs.BOM_UTF8 + b"\xff", "not UTF-8 at byte 3"),
        (codecs.BOM_UTF16_LE + b"a\0b", "not UTF-16-LE at byte 4"),
    ],
)
def test_bytes_that_are_no_text_are_one_error_that_names_the_place(data: bytes, error: str):
    parsed = of("a.yaml", data)
    assert errors(parsed) == {"a.yaml": error}
    assert not parsed.whole


# --- templates --------------------------------------------------------------------------------------------------------

TEMPLATE = """\
{{- if .Values.enabled }}
apiVersion: cilium.io/v2
kind: CiliumNode
metadata:
  name: {{ .Release.Name }}
{{- end }}
"""


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATE,
        f"{TEMPLATE}---\n{TEMPLATE}",
        json.dumps(NODE).replace('"a"', '"{{ .Release.Name }}"'),
        json.dumps(POLICY).replace('"ns"', '"{{ .Release.Namespace }}"'),
        json.dumps(NODE).replace('"CiliumNode"', '"{{ .Values.kind }}"'),
        json.dumps(NODE).replace('"cilium.io/v2"', '"{{ .Values.version }}"'),
        json.dumps(NODE).replace('"a"', "{{ .Release.Name | quote }}"),
    ],
)
@pytest.mark.parametrize("file", ["t.yaml", "t.json"])
def test_a_template_is_one_rejected_object_that_says_so(file: str, text: str):
    parsed = of(file, text)
    assert [*errors(parsed)] == [file]
    assert errors(parsed)[file].startswith("a template ({{ }}) that was not rendered; render it first")
    assert not rows(parsed)
    assert not parsed.whole


def test_the_rest_of_a_file_with_a_template_is_read():
    parsed = of("t.yaml", f"{TEMPLATE}---\n{json.dumps(NODE)}\n---\na: [\n")
    assert len(rows(parsed)) == 1
    assert {*errors(parsed)} == {"t.yaml", "t.yaml:9"}


def test_braces_in_a_text_are_no_template():
    text = json.dumps(NODE).replace('"0123"', '"{{ .Alert }}"')
    (row,) = rows(of("a.yaml", f"# {{{{ a comment }}}}\n{text}"))
    assert dict(row.labels)["port"] == "{{ .Alert }}"


# --- large files ------------------------------------------------------------------------------------------------------


def test_reading_reports_how_far_it_is():
    reached: list[str] = []
    text = json.dumps({"kind": "List", "items": [node(n) for n in range(2500)]}, indent=1)
    parse("a.json", text.encode(), KINDS, 100, reached.append)
    assert "1000 objects of a list" in reached
    assert f"line {text.count(chr(10)) + 1}" in reached
    reached.clear()
    parse("a.yaml", text.encode(), KINDS, 100, reached.append)
    assert len([each for each in reached if each.startswith("line ")]) > 3


def test_what_progress_raises_ends_the_reading():
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    text = "\n---\n".join(json.dumps({"kind": "List", "items": [node(n) for n in range(2000)]}) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        parse("a.yaml", text.encode(), KINDS, 100, stop)


@pytest.mark.parametrize("file", ["a.json", "a.yaml"])
def test_many_bad_objects_cost_no_more_than_good_ones(file: str, monkeypatch: pytest.MonkeyPatch):
    """A document of 25 MB is searched once for what must not be shown, and not once for each of its objects."""
    searched: list[str] = []
    monkeypatch.setattr("ingest.manifests.files._shown", lambda text: searched.append(text) or "")
    text = json.dumps({"kind": "List", "items": [{**node(n), "spec": 7} for n in range(500)]})
    assert len(errors(of(file, text))) == 500
    assert len(searched) == 1
