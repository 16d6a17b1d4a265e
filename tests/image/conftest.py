"""The image in the archive that GMQ_TEST_ARCHIVE names, and containers of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from container import RUNC, Container, NewContainer
from image_archive import Image

from helpers_server import Network, own_network

ARCHIVE = "GMQ_TEST_ARCHIVE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They share the files of the image, which are unpacked once, and some measure: they run after the others, one by one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session")
def image() -> Image:
    """The image."""
    if not os.environ.get(ARCHIVE):
        pytest.skip(f"{ARCHIVE} names no archive of the image: make test-image builds one")
    return Image(Path(os.environ[ARCHIVE]))


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
