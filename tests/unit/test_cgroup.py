"""How much memory the broker may use."""

import os

import pytest

from gmq import cgroup

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"}, MEBIBYTE),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1048576\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, MEBIBYTE),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/memory.max": "2097152\n", "sys/fs/cgroup/a/memory.max": "1048576"}, MEBIBYTE),
        ({"proc/self/cgroup": "4:cpu:/\n3:rdma,memory:/docker/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n"}, MEBIBYTE),
        ({"proc/self/cgroup": "3:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"proc/self/cgroup": "0::/../../x\n"}, None),
        ({}, None),
    ],
    ids=["v2", "v2 unlimited", "limit of a parent", "least of several", "v1", "v1 unlimited", "outside", "no groups"],
)
def test_the_memory_is_the_least_of_the_machines_and_the_control_groups(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert cgroup.memory(tmp_path) == (expected or machine)
