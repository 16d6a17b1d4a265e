"""skaffold.yaml: it means what skaffold, the chart and the examples have. skaffold itself is not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from helm_engines import CHART, ROOT, Engine, manifests

CONFIGS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "skaffold.yaml").read_text()))
OPERATOR, BROKER = CONFIGS
PROFILES = {profile["name"]: profile["manifests"]["rawYaml"] for profile in BROKER["profiles"]}


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
STRINGS = {"type": "array", "items": STRING}
RENDER = closed(rawYaml=STRINGS)
HOOK = closed(host=closed(("command",), command=STRINGS))
RELEASE = closed(
    ("name",), name=STRING, chartPath=STRING, namespace=STRING, createNamespace=BOOLEAN, wait=BOOLEAN, skipTests=BOOLEAN,
    setValueTemplates={"type": "object"}, setValues={"type": "object"},
)  # fmt: skip
SCHEMA = closed(
    ("apiVersion", "kind"),
    apiVersion={"const": "skaffold/v4beta10"},
    kind={"const": "Config"},
    metadata=closed(name=STRING),
    requires={"type": "array", "items": closed(configs=STRINGS)},
    build=closed(
        artifacts={"type": "array", "items": closed(("image",), image=STRING, docker=closed(dockerfile=STRING))},
        local=closed(useBuildkit=BOOLEAN),
        tagPolicy=closed(inputDigest=closed()),
    ),
    manifests=RENDER,
    deploy=closed(
        helm=closed(releases={"type": "array", "items": RELEASE}),
        kubectl=closed(defaultNamespace=STRING, hooks=closed(after={"type": "array", "items": HOOK})),
    ),
    profiles={"type": "array", "items": closed(("name",), name=STRING, manifests=RENDER)},
)
"""The fields of skaffold's published schema that are used here, with their types."""


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["metadata"]["name"])
def test_each_configuration_has_fields_that_skaffold_knows(config: dict[str, Any]) -> None:
    jsonschema.validate(config, SCHEMA)


def test_the_broker_is_deployed_after_the_operator() -> None:
    assert [required["configs"] for required in BROKER["requires"]] == [[OPERATOR["metadata"]["name"]]]
    assert OPERATOR["deploy"]["helm"]["releases"][0]["wait"] is True


def test_the_image_that_is_built_is_the_one_of_the_chart_and_the_examples() -> None:
    (artifact,) = OPERATOR["build"]["artifacts"]
    assert artifact["image"] == yaml.safe_load((CHART / "values.yaml").read_text())["image"]["repository"]
    assert (ROOT / artifact["docker"]["dockerfile"]).exists()
    for file in Path(ROOT / "docs" / "examples").glob("*/*.yaml"):
        for line in file.read_text().splitlines():
            if "/gmq:" in line and not line.strip().startswith("#"):
                assert f"{artifact['image']}:" in line, f"{file}: {line.strip()}"


@pytest.mark.parametrize(
    ("tag", "digest"), [("5d2c5b0a1f", ""), ("5d2c5b0a1f", f"sha256:{'5' * 64}")], ids=["as the cluster has it", "as a registry has it"]
)
def test_the_chart_takes_what_skaffold_sets(engine: Engine, tag: str, digest: str) -> None:
    (release,) = OPERATOR["deploy"]["helm"]["releases"]
    assert (ROOT / release["chartPath"]).samefile(CHART)
    known = {"{{.IMAGE_REPO}}": "kind.local/gmq", "{{.IMAGE_TAG}}": tag, "{{.IMAGE_DIGEST}}": digest}
    values: dict[str, Any] = dict(release["setValues"])
    for name, template in release["setValueTemplates"].items():
        section, key = name.split(".")
        values.setdefault(section, {})[key] = known[template]
    deployment = next(item for item in manifests(engine.text(values)) if item["kind"] == "Deployment")
    wanted = f"kind.local/gmq@{digest}" if digest else f"kind.local/gmq:{tag}"
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == wanted


def test_there_is_a_profile_for_each_storage_with_an_example_of_it() -> None:
    assert set(PROFILES) == {"memory", "filesystem", "mysql"}
    for name, patterns in {**PROFILES, "filesystem by default": BROKER["manifests"]["rawYaml"]}.items():
        files = [file for pattern in patterns for file in ROOT.glob(pattern)]
        servers = [item for file in files for item in yaml.safe_load_all(file.read_text()) if item["kind"] == "GmqServer"]
        assert [server["spec"]["storage"]["type"] for server in servers] == [name.split()[0]], name
