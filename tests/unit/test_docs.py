"""docs/configuration.md, made from the settings' definitions."""

import json

import pytest

from gmq import docs
from gmq.config import ConfigError, parse
from gmq.document import settings_of
from gmq.message import QueuePolicy
from gmq.settings import Settings


def test_the_documented_example_is_accepted_and_the_documented_errors_are_real():
    example = json.loads(docs.EXAMPLE)
    del example["auth"]["user_file"], example["auth"]["password_file"]
    loaded = parse(json.dumps(example), {"GMQ_AUTH_USER": "gmq", "GMQ_AUTH_PASSWORD": "x"}, "gmq.json")
    assert loaded.policy_for("orders.dead") == QueuePolicy(lease=60)
    with pytest.raises(ConfigError) as refused:
        parse('{"limits": {"queues": 0}, "log": {"levle": "info"}}', {}, "gmq.json")
    for said in str(refused.value).splitlines():
        assert f"    {said}\n" in docs.render(), f"docs/configuration.md shows another text than: {said}"


def test_every_setting_is_documented():
    page = docs.render()
    for section in settings_of(Settings):
        kind, _ = docs._struct_of(section.type)
        for member in settings_of(kind):
            assert f"{section.name}.{member.name}`" in page or f"{section.name}[].{member.name}`" in page, (
                f"{member.name} is not documented"
            )


def test_a_stale_page_is_told_apart(tmp_path, capsys):
    page = tmp_path / "configuration.md"
    assert docs.main(["--check", str(page)]) == 1, "the page is missing"
    assert docs.main([str(page)]) == 0
    assert docs.main(["--check", str(page)]) == 0, "the page was just written"
    page.write_text(page.read_text() + "x")
    assert docs.main(["--check", str(page)]) == 1, "the page was changed"
    assert "run `make docs`" in capsys.readouterr().err
