"""A document's text, types, ranges and keys: what is refused, and in which words."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import config, problem, problems, refusal

from gmq import docs
from gmq.document import settings_of
from gmq.settings import Policy, Settings, UserSetting


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1: not JSON: Expecting value"),
        ('{\n "log": {},\n}', "line 3, column 1: not JSON: Expecting property name enclosed in double quotes"),
        ("{} {}", "line 1, column 4: not JSON: Extra data"),
        ("[" * 100_000, "objects and lists are nested too deeply"),
    ],
)
def test_text_that_is_not_json_is_refused_with_its_place(text, said):
    assert problem(text) == said


@pytest.mark.parametrize(("text", "shown"), [("[]", "[]"), ("null", "null"), ("5", "5"), ('"x"', '"x"')])
def test_a_document_that_is_no_object_is_refused(text, shown):
    assert problem(text).startswith(f"the document is {shown}; it must be an object with any of the keys auth, network, ")


def test_a_key_that_is_there_twice_is_refused():
    assert problem('{"limits": {"queues": 3, "queues": 4}}') == "limits.queues is there more than once; keep one of them"
    assert problem('{"log": {}, "log": {}}') == "log is there more than once; keep one of them"


@pytest.mark.parametrize(
    ("number", "shown"),
    [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("1e999", "Infinity"), ("1" + "0" * 5000, "Infinity")],
)
@pytest.mark.parametrize(("section", "setting"), [("limits", "queues"), ("network", "request_timeout"), ("limits", "memory")])
def test_a_number_that_is_not_finite_is_refused(section, setting, number, shown):
    assert problem(f'{{"{section}": {{"{setting}": {number}}}}}').startswith(f"{section}.{setting} is {shown}; it must be a")


def test_a_lone_surrogate_is_refused_in_any_string():
    assert problem(r'{"log": {"path": "\ud800"}}') == r'log.path is "\ud800"; it must be a string'
    assert problem(r'{"log": {"level": "\ud800"}}').startswith(r'log.level is "\ud800"; it must be "debug"')


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"limits": {"queues": 0}}, "limits.queues is 0; it must be an integer from 1 to 1000000"),
        ({"limits": {"queues": True}}, "limits.queues is true; it must be an integer from 1 to 1000000"),
        ({"limits": {"queues": 1.0}}, "limits.queues is 1.0; it must be an integer from 1 to 1000000"),
        ({"limits": {"queues": "1"}}, 'limits.queues is "1"; it must be an integer from 1 to 1000000'),
        ({"limits": {"queues": 10**30}}, "limits.queues is 100000000000000000000000000000...; it must be an integer from 1 to 1000000"),
        ({"limits": {"message_size": -1}}, "limits.message_size is -1; it must be an integer from 1 to 536870912 bytes"),
        ({"log": 5}, "log is 5; it must be an object with any of the keys path, level, format"),
        ({"network": {"request_timeout": 0}}, "network.request_timeout is 0; it must be a number from 0.1 to 3600 s"),
        ({"network": {"protocol": "udp"}}, 'network.protocol is "udp"; it must be "tcp", "tcp4", "tcp6" or ""'),
        ({"network": {"port": 65536}}, "network.port is 65536; it must be an integer from 0 to 65535 or a string"),
        ({"log": {"level": "LOUD"}}, 'log.level is "LOUD"; it must be "debug", "info", "warning" or "error"'),
        ({"auth": {"anonymous": 1}}, "auth.anonymous is 1; it must be true or false"),
        ({"database": {"vendor": 1}}, "database.vendor is 1; it must be a string"),
        ({"filesystem": {"path": [1, 2, 3, 4]}}, "filesystem.path is [1, 2, 3, ...]; it must be a string"),
        ({"policies": {}}, "policies is {}; it must be a list of objects"),
        ({"policies": [{"name": "x"}]}, "policies[0].pattern is missing; it must be a string of 1 to 1024 characters"),
        ({"policies": [{"name": "", "pattern": "*"}]}, 'policies[0].name is ""; it must be a string of 1 to 255 characters'),
        ({"policies": [{"name": "x", "pattern": "*", "ttl": 0}]}, "policies[0].ttl is 0; it must be a number above 0, up to 604800 s"),
    ],
)
def test_a_bad_value_is_refused_with_its_path_what_was_found_and_what_is_allowed(document, said):
    assert problem(document) == said


def test_an_item_that_is_no_object_is_refused_with_its_index():
    said = problem({"policies": [{"name": "p", "pattern": "*"}, "x"]})
    assert said.startswith('policies[1] is "x"; it must be an object with any of the keys name, pattern, max_messages'), said


def test_an_unknown_key_is_refused_with_the_keys_there_are_and_the_one_that_may_be_meant():
    assert (
        problem({"log": {"levle": "info"}}) == "log.levle is not a setting (did you mean level?); log may have the keys path, level, format"
    )
    assert problem({"Network": {}}).startswith("Network is not a setting (did you mean network?); the document may have the keys auth,")
    assert problem({"log": {"\x1b[0m": 1}}) == 'log["\\u001b[0m"] is not a setting; log may have the keys path, level, format'


def test_all_problems_are_told_at_once():
    document = {
        "limits": {"queues": 0, "keys": "many"},
        "newtork": {},
        "network": {"port": "x", "interface": "300.1.2.3"},
        "policies": [{"name": "a", "pattern": "*", "ttl": -1}, {"nmae": "b"}],
        "auth": {"user": "bob"},
        "queue": {"queue_type": 4},
    }
    paths = {line.split(" ")[0] for line in problems(document)}
    expected = {"limits.queues", "limits.keys", "newtork", "network.port", "network.interface", "policies[0].ttl", "policies[1].nmae"}
    expected |= {"auth.user", "queue.queue_type"}
    assert paths == expected, f"missing: {expected - paths}; too many: {paths - expected}"


def test_a_misspelled_password_is_not_also_told_as_a_missing_one():
    assert problem({"auth": {"user": "bob", "pasword": "x"}, "network": {"interface": ""}}).startswith("auth.pasword is not a setting")


def test_null_means_the_same_as_leaving_a_setting_out():
    nulls = {setting.name: None for setting in settings_of(Settings)}
    assert config(nulls).limits == config().limits
    assert config({"limits": {"memory": None, "queues": None}, "network": {"port": None}}).listen == config().listen


@pytest.mark.parametrize("setting", settings_of(Settings), ids=lambda setting: setting.name)
def test_every_setting_is_described_and_its_default_and_examples_are_within_its_own_range(setting):
    kind, _ = docs._struct_of(setting.type)
    check_members(kind, setting.name)


def check_members(kind, path):
    for member in settings_of(kind):
        where = f"{path}.{member.name}"
        assert member.description, f"{where} has no description"
        if isinstance(member.type, msgspec.inspect.VarTupleType) and isinstance(member.type.item_type, msgspec.inspect.StructType):
            check_members(member.type.item_type.cls, f"{where}[]")
            continue
        assert member.examples, f"{where} has no example"
        if isinstance(member.type, msgspec.inspect.StructType):
            check_members(member.type.cls, where)
            continue
        values = list(member.examples)
        if not member.required and kind not in {Policy, UserSetting}:
            values.append(msgspec.to_builtins(getattr(kind(), member.name)))
        for value in values:
            assert msgspec.convert(value, member.annotation) == value, f"{where} refuses its own {value!r}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def documents(draw):
    """Documents with known keys and any values."""
    document = {}
    for section in draw(st.lists(st.sampled_from(settings_of(Settings)), unique_by=lambda setting: setting.name)):
        kind, is_list = docs._struct_of(section.type)
        keys = st.sampled_from([member.name for member in settings_of(kind) if member.name != "password_file"])
        item = st.dictionaries(keys, json_values, max_size=4) | json_values
        document[section.name] = draw(st.lists(item, max_size=3) if is_list else item)
    return document


@given(documents())
def test_any_document_is_accepted_or_refused_in_words(document):
    said = refusal(json.dumps(document))
    assert said.replace("\n", "").isprintable(), f"the error text has characters that a terminal may act on: {said}"


@given(st.text())
def test_any_text_is_accepted_or_refused_in_words(text):
    said = refusal(text)
    assert all(line.startswith("gmq.json: ") for line in said.splitlines()), f"every line must name the file: {said}"
