"""How much memory this process may use: what the machine has, or what its control group leaves it."""

import os
from pathlib import Path, PurePosixPath


def memory(root: Path = Path("/")) -> int:
    """Bytes: the least of the machine's memory and the limits of the control group (version 2 or 1) and of all groups above it.

    `root` is where /proc and /sys are looked for. In a container the group's own folder may be mounted as the topmost one.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *_limits(root)])


def _limits(root: Path) -> list[int]:
    groups = _read(root / "proc/self/cgroup").splitlines()
    limits = []
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers == "":
            folder, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group_path = PurePosixPath(path.lstrip("/"))
        texts = [_read(folder / parent / file).strip() for parent in (group_path, *group_path.parents)]
        limits += [int(text) for text in texts if text.isdigit()]  # others: "max", or no such file
    return limits


def _read(path: Path) -> str:
    """The file's text, empty where there is no such file: a machine has version 1 or 2, and a container sees its own group alone."""
    try:
        return path.read_text()
    except OSError:
        return ""
