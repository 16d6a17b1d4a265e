"""One target under atheris: `python -m abuse.fuzz TARGET [options of libFuzzer] CORPUS`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gmq"]):
    from abuse.targets import SEEDS, TARGETS


def main() -> None:
    """Attack until libFuzzer has enough or a promise is broken."""
    target = sys.argv[1]
    corpus = Path(sys.argv[-1])
    for number, seed in enumerate(SEEDS[target]):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
