"""YAML without surprises, and bounded."""

import json

import pytest
from hypothesis import assume, given, settings, strategies as st

from ingest.manifests.yaml_text import DEPTH_MAX, Document, YamlError, load, split


def one(text: str, **options) -> object:
    (value,) = load(Document(text, 1), **options)
    return value


def test_plain_scalars_stay_the_text_that_was_written():
    text = (
        "a: no\nb: 1.10\nc: 0123\nd: 1e3\ne: yes\nf: 12:30:00\ng: 2026-01-01\nh: 0x1f\ni: .5\nj: 1_000\nk: true\nl: 7"
    )
    assert one(text) == {
        "a": "no", "b": "1.10", "c": "0123", "d": "1e3", "e": "yes", "f": "12:30:00", "g": "2026-01-01",
        "h": "0x1f", "i": ".5", "j": "1_000", "k": "true", "l": "7",
    }  # fmt: skip


def test_only_null_is_null_and_quotes_make_text():
    assert one("[~, null, , NULL, 'null', \"~\", nil, !!str null]".replace(", ,", ", '',")) == [
        None, None, "", None, "null", "~", "nil", "null",
    ]  # fmt: skip
    assert one("a:\nb: ''") == {"a": None, "b": ""}


def test_typed_values_follow_the_core_schema():
    text = "[true, False, yes, no, 80, '80', -3, 0o17, 0x1F, 1.5, 1e3, 1_000, 2026-01-01, ~, 12:30, 0123]"
    assert one(text, typed=True) == [
        True, False, "yes", "no", 80, "80", -3, 15, 31, 1.5, 1000.0, "1_000", "2026-01-01", None, "12:30", 123,
    ]  # fmt: skip


def test_keys_are_text():
    assert one("on: 1\n5: 2\n~: 3\ntrue: 4", typed=True) == {"on": 1, "5": 2, "~": 3, "true": 4}


def test_aliases_and_merges_are_followed():
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\nmany: {<<: [*b, {z: 4}]}\nlist: [*b, *b]"
    value = one(text)
    assert value["one"] == {"x": "1", "y": "3"}
    assert value["many"] == {"x": "1", "y": "2", "z": "4"}
    assert value["list"] == [{"x": "1", "y": "2"}] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", "line 2: a key stands twice"),
        ("? [1]\n: 2", "line 1: a key must be a scalar"),
        ("a: !python/name:os.system x", "line 1: tags are not read"),
        ("a: !!binary aGk=", "line 1: tags are not read"),
        ("a: !!set {x}", "line 1: tags are not read"),
        ("a: *nowhere", "line 1"),
        ("a: &a [*a]", "line 1: an alias without its anchor"),
        ("<<: 5", "line 1: << merges mappings only"),
        ("a: [1,\nb: 2", "line "),
        ("a: 'x", "line 1"),
        ("a: \x01", "line 1"),
    ],
)
def test_what_is_not_read_is_refused_with_its_line(text: str, problem: str):
    with pytest.raises(YamlError) as refused:
        one(text)
    assert problem in str(refused.value)


def test_errors_do_not_quote_the_text():
    with pytest.raises(YamlError) as refused:
        one("password: [hunter2\nkey: {")
    assert "hunter2" not in str(refused.value)


def test_deep_nesting_is_refused_and_does_not_crash():
    with pytest.raises(YamlError, match="nested deeper"):
        one("[" * 200_000)
    deep = "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1)
    assert one(deep) is not None


def test_a_billion_laughs_are_refused():
    lines = ["a0: &a0 [lol]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(YamlError, match="too many aliases"):
        one("\n".join(lines), aliases_max=20)
    with pytest.raises(YamlError, match="more than"):
        one("\n".join(lines), aliases_max=1000)


def test_a_file_is_split_into_documents_with_their_lines():
    text = "%YAML 1.2\n--- # first\na: 1\n---\n# nothing\n---\nb: |\n  --- text\n---\n{c: [}\n--- {d: 4}\n...\n"
    documents = split(text)
    assert [document.line for document in documents] == [2, 6, 9, 11]
    assert [one(documents[i].text) for i in (0, 1, 3)] == [{"a": "1"}, {"b": "--- text\n"}, {"d": "4"}]
    with pytest.raises(YamlError, match="line 10"):
        load(documents[2])


def test_an_empty_file_has_no_documents():
    assert split("") == split("# only\n\n---\n---\n") == []


def test_two_values_in_one_document_text():
    assert load(Document("a: 1\n...\n---\nb: 2\n", 1)) == [{"a": "1"}, {"b": "2"}]


words = st.text(st.characters(max_codepoint=0x17F, exclude_categories=["Cc"]), max_size=8)
plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words
trees = st.recursive(plain, lambda t: st.lists(t, max_size=4) | st.dictionaries(words, t, max_size=4))


@given(trees)
@settings(max_examples=100)
def test_json_is_read_as_json(tree: object):
    text = json.dumps(tree, ensure_ascii=False)
    assume("<<" not in text)
    assert one(text, typed=True) == tree
