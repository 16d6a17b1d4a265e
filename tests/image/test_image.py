"""What the image is made of."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from container import Container
from image_archive import Image

import gmq

MOST_OVER_BASE = 120_000_000
TOOLS = {"pip", "pip3", "gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "strip"}
REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "image.txt"
DISTRIBUTIONS = "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
UNCOMPILED = (
    "import os, sys; m = [m for m in sys.modules.values() if getattr(m, '__cached__', None) and m.__file__.endswith('.py')]; "
    "print(*(m.__name__ for m in m if not os.path.exists(m.__cached__)))"
)
IMPORTS = (
    "aiohttp, argon2, asyncmy, cryptography.x509, gmq.client, gmq.server.http.site, gmq.storage.filesystem, gmq.storage.mysql",
    "kopf, kubernetes, kubernetes.dynamic, msgspec, prometheus_client, structlog, tqdm, uvloop, yaml",
)


def files(root: Path, folder: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Every file and folder with its path inside the image."""
    for parent, folders, names in os.walk(root / folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            yield f"/{path.relative_to(root)}", path.lstat()


def test_it_adds_little_to_its_base(image: Image) -> None:
    size = image.size_over_base()
    assert size < MOST_OVER_BASE, f"{size / 1e6:.0f} MB are over the base"


def test_it_runs_the_broker_as_a_numbered_user_in_the_data_folder(image: Image) -> None:
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", image.config["User"]), f"the user is {image.config['User']}: a cluster needs the number"
    assert image.config["Cmd"] == ["gmqserver"]
    assert not image.config.get("Entrypoint"), "the other commands could not be named alone"
    assert image.config["WorkingDir"] == "/var/lib/gmq"
    assert set(image.config["Volumes"]) == {"/var/lib/gmq"}
    assert set(image.config["ExposedPorts"]) == {"4567/tcp", "8080/tcp"}


def test_its_labels_say_what_it_is(image: Image) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.config["Labels"].items()}
    assert labels["title"] == "GMQ"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == gmq.__version__
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"]), f"the revision is {labels['revision']}"
    assert "broker" in labels["description"]


def test_nothing_in_it_installs_compiles_or_becomes_somebody_else(root: Path) -> None:
    everything = list(files(root))
    tools = [
        path for path, status in everything if path.rpartition("/")[2] in TOOLS and stat.S_ISREG(status.st_mode) and status.st_mode & 0o111
    ]
    assert not tools, f"tools of the build: {tools}"
    pips = [path for path, _ in everything if re.search(r"/(site|dist)-packages/pip$|/ensurepip$|/pip-[^/]*\.whl$", path)]
    assert not pips, f"pip is still here: {pips}"
    others = [path for path, status in everything if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not others, f"they run as somebody else: {others}"


def test_nothing_of_gmq_can_be_changed_by_its_user(image: Image, root: Path) -> None:
    for folder in ("opt/gmq", "etc/gmq"):
        for path, status in files(root, folder):
            assert status.st_uid == 0, f"{path} belongs to user {status.st_uid}"
            assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o022, f"others than root may write {path}"


def test_the_data_folder_is_its_users_and_of_group_0(image: Image, root: Path) -> None:
    status = (root / "var/lib/gmq").stat()
    assert f"{status.st_uid}" == image.config["User"].partition(":")[0]
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0o770), "clusters that number pods' users put them into group 0"


def test_all_of_its_python_is_compiled_for_good(root: Path) -> None:
    stale = [path for path, _ in files(root, "opt/gmq/lib") if path.endswith(".py") and not _compiled(root / path[1:])]
    assert not stale, f"compiled at each start, as nothing may be written: {stale[:5]} and {len(stale[5:])} more"


def _compiled(source: Path) -> bool:
    """Whether there is bytecode for it that is used whatever the times of the files are, which builders set as they like."""
    unchecked_hash = b"\x01\0\0\0"
    return any(file.read_bytes()[4:8] == unchecked_hash for file in source.parent.glob(f"__pycache__/{source.stem}.cpython-*.pyc"))


def test_it_has_what_is_locked_and_all_of_it_loads(container: Container) -> None:
    container.launch("python", "-c", DISTRIBUTIONS)
    assert container.wait() == 0, container.text()
    found = {name.lower().replace("_", "-") for name in container.text().split()}
    locked = set(re.findall(r"(?m)^([a-z0-9._-]+==[^ ;]+) (?!; sys_platform == 'win32')", REQUIREMENTS.read_text()))
    assert found == locked | {f"gmq=={gmq.__version__}"}


def test_nothing_is_compiled_at_the_start_of_the_broker(container: Container) -> None:
    """Not of Python itself either."""
    container.launch("python", "-c", f"import {IMPORTS[0]}; {UNCOMPILED}")
    assert container.wait() == 0, container.text()
    assert container.text().strip() == "", f"loaded without bytecode: {container.text().split()}"


def test_what_was_taken_out_is_not_missed(container: Container) -> None:
    container.launch("python", "-c", f"import {', '.join(IMPORTS)}")
    assert container.wait() == 0, container.text()
