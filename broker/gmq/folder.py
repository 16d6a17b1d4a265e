"""Folders that are nothing to the world."""

from pathlib import Path

MODE = 0o750
FILE_MODE = 0o640


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing: its owner may write, its group may read, nobody else may anything.

    `parents` of Path.mkdir would leave those above to the umask.

    Raises:
        OSError: as the system gives it.
    """
    for parent in reversed(path.parents):
        if not parent.is_dir():
            parent.mkdir(exist_ok=True, mode=MODE)
    path.mkdir(exist_ok=True, mode=MODE)
