"""The description of the HTTP API as a page for people, made of what `/openapi.json` says."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

from aiohttp import web

from gmq.server.http.openapi import TAGS, Schema, description
from gmq.server.hub import Hub

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The page runs nothing and loads nothing but its style."""
STYLE = "/docs/style.css"


def add_routes(app: web.Application, hub: Hub) -> None:
    """`/docs`, and its style."""
    page = page_of(description(hub.broker.limits, authenticated=hub.authenticator.required))
    style = files(__package__).joinpath("reference.css").read_text()

    async def docs(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": POLICY})

    async def styled(_: web.Request) -> web.Response:
        return web.Response(text=style, content_type="text/css", headers={"Cache-Control": "max-age=3600"})

    app.router.add_get("/docs", docs)
    app.router.add_get(STYLE, styled)


def page_of(document: Schema) -> str:
    """The whole page."""
    info = document["info"]
    operations = [
        (method, path, {**one, "parameters": [*found.get("parameters", ()), *one.get("parameters", ())]})
        for path, found in document["paths"].items()
        for method, one in found.items()
        if method != "parameters"
    ]
    sections = []
    contents = []
    for tag, text in TAGS.items():
        mine = [operation for operation in operations if tag in operation[2]["tags"]]
        sections += [f'<h2 id="{tag}">{tag.capitalize()}</h2><p>{escape(text)}</p>', *(operation_of(*one) for one in mine)]
        items = "".join(
            f'<li><a href="#{one["operationId"]}"><b>{method.upper()}</b> {broken(path)}</a></li>' for method, path, one in mine
        )
        contents.append(f'<p><a href="#{tag}">{tag.capitalize()}</a></p><ul>{items}</ul>')
    schemas = "".join(schema_section(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    introduction = "".join(f"<p>{code(part)}</p>" for part in info["description"].split("\n\n"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} {escape(info["version"])}: the HTTP API</title>
<link rel="stylesheet" href="{STYLE}">
</head>
<body>
<nav aria-label="Operations">{"".join(contents)}<p><a href="#objects">Objects</a></p></nav>
<main>
<h1>{escape(info["title"])} {escape(info["version"])}: the HTTP API</h1>
{introduction}
<p>The same for programs is <a href="/openapi.json">/openapi.json</a>.</p>
{"".join(sections)}
<h2 id="objects">Objects</h2>
{schemas}
</main>
</body>
</html>
"""


def operation_of(method: str, path: str, operation: Schema) -> str:
    """One operation."""
    parts = [
        f'<section id="{operation["operationId"]}">',
        f"<h3>{escape(operation['summary'])}</h3>",
        f'<p class="line"><b>{method.upper()}</b> <code>{broken(path)}</code></p>',
    ]
    if "description" in operation:
        parts.append(f"<p>{code(operation['description'])}</p>")
    if operation["parameters"]:
        parameters = (
            (f"<code>{escape(one['name'])}</code>", one["in"], words(one["schema"]), code(one["description"]))
            for one in operation["parameters"]
        )
        parts.append(table(("Parameter", "In", "Value", "Meaning"), parameters))
    if "requestBody" in operation:
        body = operation["requestBody"]
        bodies = ((f"<code>{escape(media)}</code>", words(content["schema"])) for media, content in body["content"].items())
        parts.append(table(("Body" if body["required"] else "Body, if any", "Value"), bodies))
    replies = (
        (status, " or ".join(words(content["schema"]) for content in reply.get("content", {}).values()), code(reply["description"]))
        for status, reply in operation["responses"].items()
    )
    parts.append(table(("Status", "Body", "Meaning"), replies))
    headers = {name: one for reply in operation["responses"].values() for name, one in reply.get("headers", {}).items()}
    if headers:
        parts.append(
            table(("Field of the reply", "Meaning"), ((f"<code>{name}</code>", code(one["description"])) for name, one in headers.items()))
        )
    return "".join([*parts, "</section>"])


def schema_section(name: str, schema: Schema) -> str:
    """One object and its members."""
    needed = schema.get("required", ())
    rows = (
        (f"<code>{escape(member)}</code>", words(one) + (", needed" if member in needed else ""), code(one.get("description", "")))
        for member, one in schema.get("properties", {}).items()
    )
    text = f"<p>{code(schema['description'])}</p>" if "description" in schema else ""
    return f'<section id="{name}"><h3>{name}</h3>{text}{table(("Member", "Value", "Meaning"), rows)}</section>'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; the cells are HTML."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def words(schema: Schema) -> str:
    """What values a schema allows, in words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and "type" not in schema:
        return " or ".join(dict.fromkeys(words(choice) for choice in choices))
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']).lower())}</code>"
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"array of {words(schema['items'])}{length_of(schema, 'Items', '')}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object, each member {words(schema['additionalProperties'])}"
    if schema.get("format") == "binary":
        return "bytes as they are"
    return f"{escape(kind)}{range_of(schema)}{length_of(schema, 'Length', ' characters')}{default_of(schema)}"


def range_of(schema: Schema) -> str:
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if above is not None:
        return f", above {above}, up to {high}"
    if high is not None:
        return f", {low} to {high}" if low is not None else f", up to {high}"
    return "" if low is None else f", {low} or more"


def length_of(schema: Schema, kind: str, unit: str) -> str:
    low, high = schema.get(f"min{kind}"), schema.get(f"max{kind}")
    if high is None:
        return ""
    return f", up to {high}{unit}" if low is None else f", {low} to {high}{unit}"


def default_of(schema: Schema) -> str:
    return f"; without it {schema['default']}" if "default" in schema else ""


def code(text: str) -> str:
    """A text in which backquotes stand around code, as HTML."""
    parts: list[Any] = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def broken(path: str) -> str:
    """A path that may be broken after each slash."""
    return escape(path).replace("/", "/<wbr>")
