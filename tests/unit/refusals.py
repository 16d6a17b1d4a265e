"""Configurations from the values that a test gives, and the words in which bad ones are refused."""

import json

from gmq.config import Config, ConfigError, parse


def config(document=None, environ=None) -> Config:
    text = document if isinstance(document, str) else json.dumps({} if document is None else document)
    return parse(text, environ or {}, "gmq.json")


def refusal(text: str, environ=None) -> str:
    """The error text, empty where the configuration is accepted."""
    try:
        config(text, environ)
    except ConfigError as error:
        return str(error)
    return ""


def problems(document, environ=None) -> list[str]:
    """What the configuration is refused for, a line for each problem."""
    said = refusal(document if isinstance(document, str) else json.dumps(document), environ)
    assert said, f"was accepted, and must be refused: {document}"
    lines = said.split("\n")
    assert all(line.startswith("gmq.json: ") for line in lines), f"every line names the file: {lines}"
    return [line.removeprefix("gmq.json: ") for line in lines]


def problem(document, environ=None) -> str:
    found = problems(document, environ)
    assert len(found) == 1, f"one problem was expected: {found}"
    return found[0]
