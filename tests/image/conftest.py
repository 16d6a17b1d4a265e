"""The image, built once for all tests of this folder, or taken from the archive that GMQ_TEST_ARCHIVE names; and containers of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from container import RUNC, Container, NewContainer
from image_archive import Image

from helpers_server import Network, own_network

ROOT = Path(__file__).parents[2]
ARCHIVE = "GMQ_TEST_ARCHIVE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them wait for one build, and some measure: they run after the others, one by one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.alone)
            item.add_marker(pytest.mark.timeout(900))  # the first one builds


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the image."""
    if os.environ.get(ARCHIVE):
        return Path(os.environ[ARCHIVE])
    if missing := _missing():
        pytest.skip(f"the image cannot be built: {missing}")
    path = tmp_path_factory.mktemp("image") / "image.tar"
    command = ["make", "image", "IMAGE=docker.io/library/gmq:test", f"ARCHIVE={path}"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, f"make image fails:\n{built.stdout[-2000:]}\n{built.stderr[-4000:]}"
    return path


def _missing() -> str:
    """Why the image cannot be built here; empty where it can."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return ""
    if not shutil.which("buildah"):
        return "there is neither a docker that works nor buildah"
    base = os.environ.get("PYTHON_IMAGE", "").removeprefix("docker-archive:")
    if base.startswith("/") and Path(base).exists():
        return ""
    default = (ROOT / "Dockerfile").read_text().partition("ARG PYTHON_IMAGE=")[2].split()[0]
    stored = subprocess.run(["buildah", "inspect", "--type", "image", base or default], capture_output=True, check=False)
    return "" if stored.returncode == 0 else f"its base {base or default} is not here, and PYTHON_IMAGE names no other"


@pytest.fixture(scope="session")
def image(archive: Path) -> Image:
    """The image."""
    return Image(archive)


@pytest.fixture(scope="session")
def root(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's files."""
    if os.geteuid() != 0:
        pytest.skip("only root may lay out the image's files with their owners")
    folder = tmp_path_factory.mktemp("root")
    folder.chmod(0o755)
    image.unpack(folder)
    return folder


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A network in which every port is free."""
    with own_network() as network:
        if not network.private:
            pytest.skip("this machine lets nobody make a network of its own")
        yield network


@pytest.fixture
def new_container(image: Image, root: Path, network: Network, tmp_path: Path) -> Iterator[NewContainer]:
    """Make containers, which are removed after the test."""
    if RUNC is None:
        pytest.skip("runc is not installed")
    containers: list[Container] = []

    def make() -> Container:
        folder = tmp_path / str(len(containers))
        folder.mkdir()
        containers.append(Container(image, root, folder, network))
        return containers[-1]

    yield make
    for container in containers:
        container.remove()


@pytest.fixture
def container(new_container: NewContainer) -> Container:
    """One of them."""
    return new_container()
