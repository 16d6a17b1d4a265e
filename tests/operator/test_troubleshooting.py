"""docs/troubleshooting.md explains every reason that a condition may have, and no other."""

import ast
import re
from pathlib import Path

import gmq_operator.status

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
REASON_AT = {"Condition": 2, "Trouble": 0, "_is": 0, "_not": 0, "_on": 0}
"""Which argument of a call is the reason."""


def reasons_in_code() -> set[str]:
    """Every reason that is written in the modules of the status."""
    return {
        text.value
        for module in Path(str(gmq_operator.status.__file__)).parent.glob("*.py")
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in REASON_AT and len(call.args) > 1
        for text in ast.walk(call.args[REASON_AT[call.func.id]])
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value
    }


def reasons_on_the_page() -> list[str]:
    return [row for row in re.findall(r"^\| `(\w+)` \|[^|]+\|[^|]+\|$", PAGE.read_text(), re.MULTILINE) if row not in CONDITIONS]


CONDITIONS = {"Ready", "StorageReady", "Progressing", "SpecValid", "Paused"}
BOTH = {"Paused"}
"""Names of a condition that are a reason too."""


def test_every_reason_is_explained() -> None:
    missing = reasons_in_code() - set(reasons_on_the_page()) - BOTH
    assert not missing, f"docs/troubleshooting.md has no row for {sorted(missing)}"


def test_what_is_explained_is_a_reason() -> None:
    unknown = set(reasons_on_the_page()) - reasons_in_code()
    assert not unknown, f"docs/troubleshooting.md explains {sorted(unknown)}, which no condition says"


def test_no_reason_is_explained_twice() -> None:
    rows = reasons_on_the_page()
    twice = {row for row in rows if rows.count(row) > 1}
    assert not twice, f"docs/troubleshooting.md has {sorted(twice)} more than once"


def test_the_reasons_are_found_in_the_code() -> None:
    """Should the modules say them in another way, this test and not the page is wrong."""
    assert {"Serving", "SwitchRefused", "OutOfMemory", "Bound", "Stuck", "SpecInvalid", "NotPaused"} <= reasons_in_code()
