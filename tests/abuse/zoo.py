"""Names that somebody may give a queue to do harm, or by accident."""

from __future__ import annotations

NAMES: tuple[str, ...] = (
    # Paths
    "...", ".hidden", "../../etc/passwd", "..\\..\\windows\\system.ini", "/etc/passwd", "/", "//", "a/../b", "a/./b", "C:\\con",
    "~root",
    "journal", "lock", "LOCK", "messages", "take", "policy", "move",
    # Other languages
    "'; DROP TABLE gmq_queue; --", "\" OR \"\"=\"", "`id`", "$(id)", "${jndi:ldap://x}", "<script>alert(1)</script>", "{{7*7}}",
    "%s%n", "*", "?", "[a-z]",
    '"', "'", "\\", "\\n", "\\u0000", "{queue}", 'x"} 1\\ngmq_up', "a?b#c&d=e;f+g", "null", "true", "0", "-1",
    "NaN",
    "__proto__", "constructor", "toString", "hasOwnProperty", "__class__",
    # Percent-encodings
    "%", "%%", "%zz", "%00", "%25", "%2e%2e%2fetc", "%C0%AF", "%u0041", "..%2f", "a%0d%0ab",
    # White space, also what databases leave out when they compare
    " ", "  ", "a", "a ", " a", "a  ", "\u00a0", "\u2003", "\u2028", "\u2029", "\u3000", "a\u00a0",
    # What looks or sounds alike, or is the same in another form or case
    "orders", "Orders", "ORDERS", "\uff4frders", "\u043erders", "caf\u00e9", "cafe\u0301", "cafe", "\u212b", "\u00c5", "A\u030a", "K",
    "\u212a", "k",
    "\u00df", "ss", "\u1e9e", "\u0130", "i\u0307", "\u0131", "i", "\ufb01", "fi", "\u00b5", "\u03bc", "\u1100\u1161", "\uac00",
    "\u00ad", "a\u00ad",
    # Directions, joiners, marks and ends of Unicode
    "\u200f", "\u202egnp.exe", "\u2066x\u2069", "\u200b", "a\u200db", "\ufeff", "\ufeffa", "\ufffd", "\uffff", "\ufdd0", "\U0010ffff",
    "\U000e0041", "\ue000",
    "o\u0308\u0332\u0335", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    # As long as may be
    "n" * 255, "n" * 254 + "N", "\u00e9" * 127 + "e", "\U0001f600" * 63 + "abc", "../" * 85, "%2e" * 85, " " * 255,
)  # fmt: skip
"""Those that are names like any other: the broker has to keep each as it is, and apart from all others."""

REFUSED: tuple[str, ...] = (
    "", ".", "..", "\0", "a\0", "a\0b", "\n", "\r\n", "a\r\nSet-Cookie: x=1", "\t", "\x1b[2J", "\x7f", "\x85", "\x9f", "n" * 256,
    "\u00e9" * 128,
    "\U0001f600" * 64, "n" * 100_000,
)  # fmt: skip
"""Those that are no names."""

BYTES: tuple[bytes, ...] = (
    b"\xff", b"a\x80", b"\xc0\xaf", b"\xc0\xae\xc0\xae", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\x81", b"\xed\xa0\x80",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\xfe\xff\x00a",
)  # fmt: skip
"""What is not UTF-8: cut, overlong, beyond its end, and surrogates."""

SURROGATES: tuple[str, ...] = ("\\ud800", "a\\udfff", "\\ude00\\ud83d", "\\uD800x")
"""Lone surrogates, as JSON can write them."""
