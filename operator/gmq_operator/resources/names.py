"""Names of a GmqServer's children, and the ports and folders that they agree on.

Every name is the server's with an ending. They fit where Kubernetes is strictest, in the 63 characters of a Service, as spec.py limits the
server's own name.
"""

from gmq_operator.spec import GmqServer

CONTAINER = "gmq"

CLIENT_PORT = 4567
HTTP_PORT = 8080
OPS_PORT = 9567

CONFIG_FOLDER = "/etc/gmq"
CONFIG_FILE = "gmq.json"
DATA_FOLDER = "/var/lib/gmq"
"""Where the volume is mounted. The broker has a folder of its own in it, as new volumes may have a lost+found."""
SECRETS_FOLDER = "/run/secrets/gmq"


def config_map(server: GmqServer) -> str:
    return f"{server.name}-config"


def service(server: GmqServer) -> str:
    """The name that clients connect to."""
    return server.name


def ops_service(server: GmqServer) -> str:
    return f"{server.name}-ops"


def deployment(server: GmqServer) -> str:
    return server.name


def claim(server: GmqServer) -> str:
    return f"{server.name}-data"


def default_user(server: GmqServer) -> str:
    """The generated Secret."""
    return f"{server.name}-default-user"


def disruption_budget(server: GmqServer) -> str:
    return server.name


def service_monitor(server: GmqServer) -> str:
    return server.name
