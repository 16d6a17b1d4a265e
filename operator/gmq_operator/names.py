"""The shapes of Kubernetes' names, labels and annotations."""

import re
from collections.abc import Callable, Mapping

from gmq.validate import quote

SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"
"""What names most objects: labels of lower-case letters, digits and hyphens with dots between them."""
LONGEST_SUBDOMAIN = 253
SUBDOMAIN_WORDS = "a name of lower-case letters, digits, hyphens and dots, up to 253 characters"

SERVICE_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?\Z"
"""What names a Service, which a GmqServer's name does."""

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_MOST_ANNOTATION_BYTES = 256 << 10
_KEY_WORDS = (
    "a key is up to 63 letters, digits, hyphens, dots and underscores, after a domain and a slash or without, such as example.com/team"
)
_VALUE_WORDS = "a label's value is up to 63 letters, digits, hyphens, dots and underscores, and begins and ends with a letter or digit"

Problem = Callable[[str, str], None]
"""Notes a problem: a path, and what goes on after it."""


def matches(pattern: str, text: str) -> bool:
    return re.match(pattern, text) is not None


def check_key(key: str) -> str:
    """What the key of a label or annotation must be, where it is not; else an empty text."""
    domain, slash, name = key.rpartition("/")
    sound = _NAME.match(name) and (not slash or (len(domain) <= LONGEST_SUBDOMAIN and matches(SUBDOMAIN, domain)))
    return "" if sound else _KEY_WORDS


def check_labels(labels: Mapping[str, str], path: str, problem: Problem) -> None:
    for key, value in labels.items():
        if wrong := check_key(key):
            problem(path, f"has the key {quote(key)}; {wrong}")
        if value and not _NAME.match(value):
            problem(f"{path}[{quote(key)}]", f"is {quote(value)}; {_VALUE_WORDS}")


def check_annotations(annotations: Mapping[str, str], path: str, problem: Problem) -> None:
    for key in annotations:
        if wrong := check_key(key.lower()):
            problem(path, f"has the key {quote(key)}; {wrong}")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _MOST_ANNOTATION_BYTES:
        problem(path, f"has {size} bytes of keys and values; annotations may have {_MOST_ANNOTATION_BYTES}")
