"""The Secret with a user that the operator makes up. It is made once, and never read or changed after that."""

from urllib.parse import quote

from gmq_operator.observed import SECRET
from gmq_operator.resources import names
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import GmqServer

USERNAME = "default-user"


def default_user(server: GmqServer, password: str) -> Child:
    """The keys are those of the Service Binding specification, so that tools which bind workloads to services can use it."""
    host = f"{names.service(server)}.{server.namespace}.svc"
    scheme = "gmq" if server.spec.tls is None else "gmqs"
    return {
        **child(server, SECRET, names.default_user(server)),
        "type": "servicebinding.io/gmq",
        "stringData": {
            "type": "gmq",
            "provider": "gmq",
            "host": host,
            "port": str(names.CLIENT_PORT),
            "username": USERNAME,
            "password": password,
            "uri": f"{scheme}://{USERNAME}:{quote(password, safe='')}@{host}:{names.CLIENT_PORT}",
        },
    }
