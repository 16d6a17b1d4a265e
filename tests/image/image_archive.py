"""An image in an archive, as `docker save` and `buildah push` write it: what it says of itself, and its files."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

_REMOVED = ".wh."
"""A file of this prefix in a layer removes the one without it that an earlier layer brought."""
_ALL_REMOVED = ".wh..wh..opq"
FIRST_FILE = "etc/gmq/gmq.json"
"""What the first layer over the base has."""


class Image:
    """The only image of an archive. `config` is what runtimes use: user, command, environment and so on."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        with tarfile.open(archive) as file:
            (manifest,) = _json(file, "manifest.json")
            self._layers: list[str] = manifest["Layers"]
            self.config: dict[str, Any] = _json(file, manifest["Config"])["config"]

    def size_over_base(self) -> int:
        """Bytes of the files in the layers over the base."""
        with tarfile.open(self._archive) as file:
            sizes = []
            ours = False
            for layer in self._opened(file):
                members = layer.getmembers()
                ours = ours or any(_path(member) == FIRST_FILE for member in members)
                sizes.append(sum(member.size for member in members if member.isreg()) if ours else 0)
        assert ours, f"no layer has {FIRST_FILE}"
        return sum(sizes)

    def unpack(self, folder: Path) -> None:
        """Lay the layers over each other, with their owners and modes."""
        with tarfile.open(self._archive) as file:
            for layer in self._opened(file):
                kept = []
                for member in layer.getmembers():
                    path = PurePosixPath(_path(member))
                    if path.name == _ALL_REMOVED:
                        _remove(folder / path.parent, itself=False)
                    elif path.name.startswith(_REMOVED):
                        _remove(folder / path.parent / path.name.removeprefix(_REMOVED))
                    else:
                        kept.append(member)
                layer.extractall(folder, kept, numeric_owner=True, filter="fully_trusted")  # we built it

    def _opened(self, file: tarfile.TarFile) -> Iterator[tarfile.TarFile]:
        for name in self._layers:
            with tarfile.open(fileobj=file.extractfile(name)) as layer:
                yield layer


def _json(file: tarfile.TarFile, name: str) -> Any:
    stream = file.extractfile(name)
    assert stream is not None, f"{name} is not a file of the archive"
    return json.load(stream)


def _path(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").strip("/")


def _remove(path: Path, *, itself: bool = True) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        for child in path.iterdir():
            _remove(child)
        if itself:
            shutil.rmtree(path)
