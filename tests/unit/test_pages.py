"""The pages hang together: links and anchors lead somewhere, every page is found from the first one, and GmqServers keep the rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gmq_operator.spec import parse

ROOT = Path(__file__).parents[2]
FOLDERS = (".github", "benchmarks", "charts", "docs", "operator", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
EXAMPLES = sorted(path for path in (ROOT / "docs" / "examples").glob("*") if path.is_dir())

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```+)(\w*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
_HEREDOC = re.compile(r"<<-?'?(\w+)'?\n(.*?)^\1$", re.DOTALL | re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its blocks of code, in which brackets mean something else."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Those that stay in the repository."""
    return [link for link in _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page))) if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        names.add(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
        found[anchor] += 1
    return names


def leads_to(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, anchor = leads_to(page, link)
        assert target.exists(), f"{name_of(page)} links to {link}, which does not exist"
        assert target.is_relative_to(ROOT), f"{name_of(page)} links to {link}, outside of the repository"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)} links to {link}, and {target.name} has no such heading"


def test_every_page_is_found_from_the_first_one() -> None:
    first = ROOT / "docs" / "README.md"
    found, ahead = {first}, [first]
    while ahead:
        page = ahead.pop()
        for target in {leads_to(page, link)[0] for link in links(page)} - found:
            if target in PAGES and target.is_relative_to(ROOT / "docs"):
                found.add(target)
                ahead.append(target)
    lost = {name_of(page) for page in PAGES if page.is_relative_to(ROOT / "docs")} - {name_of(page) for page in found}
    assert not lost, f"no way leads from docs/README.md to {sorted(lost)}"


def test_the_overview_names_every_page_beside_it() -> None:
    overview = ROOT / "docs" / "README.md"
    named = {leads_to(overview, link)[0] for link in links(overview)}
    missing = {page.name for page in (ROOT / "docs").glob("*.md")} - {path.name for path in named} - {"README.md"}
    assert not missing, f"docs/README.md does not tell of {sorted(missing)}"


def shown_servers(page: Path) -> Iterator[dict[str, Any]]:
    """GmqServers in a page: whole ones, and parts with nothing but some of the spec."""
    for _, language, text in _FENCE.findall(page.read_text()):
        documents = [text] if language == "yaml" else [body for _, body in _HEREDOC.findall(text)]
        for body in (body for document in documents for body in yaml.safe_load_all(document)):
            if isinstance(body, dict) and (body.get("kind") == "GmqServer" or set(body) == {"spec"}):
                yield body


def completed(body: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server gives it; a part of a spec with the least that it needs around it."""
    metadata = {"name": "shown", "namespace": "default", "uid": "0", "generation": 1, **body.get("metadata", {})}
    spec = {"storage": {"type": "filesystem"}, **body["spec"]} if set(body) == {"spec"} else body["spec"]
    return {**body, "metadata": metadata, "spec": spec}


SHOWN = [(page, body) for page in PAGES for body in shown_servers(page)]


@pytest.mark.parametrize(("page", "body"), SHOWN, ids=[f"{name_of(page)}-{at}" for at, (page, _) in enumerate(SHOWN)])
def test_every_gmqserver_of_a_page_keeps_the_rules(page: Path, body: dict[str, Any]) -> None:
    parse(completed(body))  # tells what is wrong


def documents(folder: Path) -> list[dict[str, Any]]:
    return [body for file in sorted(folder.glob("*.yaml")) for body in yaml.safe_load_all(file.read_text()) if body]


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_has_a_page_and_servers_that_keep_the_rules(folder: Path) -> None:
    assert (folder / "README.md").exists(), f"nothing says what {folder.name} is"
    servers = [body for body in documents(folder) if body["kind"] == "GmqServer"]
    assert servers, f"{folder.name} has no GmqServer"
    for body in servers:
        parse(completed(body))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_the_objects_of_an_example_refer_to_each_other(folder: Path) -> None:
    """A Secret that a GmqServer names is in the example, or is made by cert-manager from what is."""
    made = {
        body["spec"]["secretName"] if body["kind"] == "Certificate" else body["metadata"]["name"]
        for body in documents(folder)
        if body["kind"] in {"Certificate", "Secret"}
    }
    for body in documents(folder):
        if body["kind"] == "GmqServer":
            named = set(re.findall(r"SecretRef'?: \{'name': '([^']+)'\}|secretRef'?: \{'name': '([^']+)'\}", str(body["spec"])))
            assert {one or other for one, other in named} <= made, f"{folder.name} has not all of {named}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_command_of_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    blocks = [body for _, language, body in _FENCE.findall(text) if language in {"console", "sh"}]
    lines = [
        *(line for block in blocks for line in block.splitlines()),
        *re.findall(r"`(make [^`]+)`", text),
        *re.findall(r"^ {4}(make .*)$", text, re.MULTILINE),
    ]
    named = {match[1] for line in lines if (match := re.match(r"(?:\$ )?make ([a-z][a-z-]*)", line))}
    assert named <= targets, f"{name_of(page)} names `make` commands that the Makefile has not: {sorted(named - targets)}"


def test_the_operators_rights_are_told_as_the_chart_grants_them() -> None:
    granted = {
        (verb, resource)
        for rule in yaml.safe_load(re.sub(r"\{\{.*?\}\}", "", (ROOT / "charts/gmq/templates/_rules.tpl").read_text(), flags=re.DOTALL))
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    page = (ROOT / "docs" / "operator.md").read_text()
    table = page[page.index("<!-- rights -->") : page.index("<!-- /rights -->")]
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| ")][1:]
    told = {(verb.strip(), what.strip()) for verbs, resources in rows for verb in verbs.split(",") for what in resources.split(",")}
    assert told == granted, f"docs/operator.md and the chart differ in {sorted(told ^ granted)}"
