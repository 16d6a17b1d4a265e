"""The operator's command line."""

import argparse
import asyncio
import logging
import os
import re
import sys
import threading

import gmq
from gmq import log
from gmq.mortal import end_at_signals
from gmq.validate import quote
from gmq_operator.settings import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
IMAGE_VARIABLE = "GMQ_BROKER_IMAGE"
LEVEL_VARIABLE = "GMQ_LOG_LEVEL"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")

_EPILOG = """\
exit codes: 0 stopped by SIGTERM or SIGINT, 1 could not start or failed, 2 the command line is wrong

The cluster is the one whose pod the operator runs in, else the one that the kubeconfig names (KUBECONFIG, ~/.kube/config).
docs/operator.md describes the rights that it needs, and how to run it.
"""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(
        prog="gmq-operator",
        description="Runs brokers in a Kubernetes cluster as GmqServers ask for them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument(
        "--namespace", metavar="NAME", action="append", type=_namespace, default=[], dest="namespaces",
        help="serve the GmqServers of this namespace; may be given several times (default: those of the whole cluster)",
    )  # fmt: skip
    flags.add_argument(
        "--image",
        metavar="IMAGE",
        help=f"the broker's image where a GmqServer names none (default: the environment variable {IMAGE_VARIABLE})",
    )
    flags.add_argument(
        "--listen", metavar="[HOST]:PORT", type=_address, default=("", 8080),
        help="where /healthz, /readyz and /metrics are served (default: :8080)",
    )  # fmt: skip
    flags.add_argument(
        "--log-level",
        choices=tuple(log.LEVELS),
        default=os.environ.get(LEVEL_VARIABLE, "info"),
        help=f"what is logged at least (default: the environment variable {LEVEL_VARIABLE}, else info)",
    )
    flags.add_argument(
        "--log-format", choices=("auto", "json", "console"), default="auto",
        help="lines of JSON, or readable ones; auto is readable ones on a terminal (default: auto)",
    )  # fmt: skip
    flags.add_argument("--standalone", action="store_true", help="accepted for tools that know kopf: the operator never looks for others")
    flags.add_argument("--version", action="version", version=f"gmq-operator {gmq.__version__}")
    return flags


def _namespace(text: str) -> str:
    if not _LABEL.match(text):
        raise argparse.ArgumentTypeError(f"{quote(text)} is no namespace: its name has 1 to 63 lower-case letters, digits and hyphens")
    return text


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{quote(text)} is no address: it must be [HOST]:PORT, such as :8080 or 127.0.0.1:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)


def settings(arguments: list[str] | None = None) -> Settings:
    """What the command line says. Exits with a message where it is wrong."""
    flags = parser()
    given = flags.parse_args(arguments)
    if given.log_level not in log.LEVELS:  # argparse checks what is given, and not where it comes from otherwise
        flags.error(f"{LEVEL_VARIABLE} is {quote(given.log_level)}; it must be one of {', '.join(log.LEVELS)}")
    image = (os.environ.get(IMAGE_VARIABLE, "") if given.image is None else given.image).strip()
    if given.image is not None and not image:
        flags.error(f"--image is {quote(given.image)}, which is no image")
    if not image:
        flags.error(f"--image is missing, and the environment variable {IMAGE_VARIABLE} is not set: which image do brokers run?")
    host, port = given.listen
    return Settings(
        image=image,
        namespaces=tuple(dict.fromkeys(given.namespaces)),
        host=host,
        port=port,
        log_level=given.log_level,
        log_format=given.log_format,
    )


LIBRARIES = {
    "kopf": logging.WARNING,
    "kopf._core.reactor.running": logging.ERROR,  # that it gets no signals is meant so
    "kopf._cogs.clients.watching": logging.CRITICAL,  # each try of each kind, while the API server is away; the operator says so itself
    "urllib3": logging.ERROR,
    "kubernetes": logging.WARNING,
}
"""What libraries have to say of every event and every request is for who looks into them."""


def quiet_libraries(level: str) -> None:
    """Let them say no more than is worth reading, unless everything is asked for."""
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else least)


DEEPEST_ANSWER = 20_000
"""Levels of JSON. An API server takes objects of up to 10,000: one of them must not keep the operator from all the others."""
STACK = 64 << 20
"""Bytes of address space for the stack of a thread that reads such an answer."""


def read_deep_answers() -> None:
    """Let threads that begin from now on read JSON that is nested as deeply as the API server takes it."""
    sys.setrecursionlimit(DEEPEST_ANSWER)
    threading.stack_size(STACK)


def main() -> int:
    """Run the operator; the result is the exit code."""
    end_at_signals()
    read_deep_answers()
    given = settings()
    log.configure("", given.log_level, given.log_format)
    quiet_libraries(given.log_level)
    from gmq_operator.app import serve  # noqa: PLC0415  # --help need not wait for kopf and the client to be loaded
    from gmq_operator.cluster import ClusterError  # noqa: PLC0415

    try:
        asyncio.run(serve(given))
    except (ClusterError, OSError) as error:
        print(f"gmq-operator: {error}", file=sys.stderr)
        code = EXIT_FAILED
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that wait for an answer of the API server would hold the end up, for as long as a request may take. They have nothing to lose:
    # what was asked is done or not, and is looked at when the operator runs again.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
