# The image of the broker and of the operator: docs/container.md. Built by docker or buildah alike; `make image` knows their flags.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

# What both need, as locked: wheels alone, so nothing is compiled but Python, to bytecode that no file's time makes stale. Of the
# packages only what runs is kept: no tests, no sources of extensions and no symbols for debuggers, and not the second copy of the
# Kubernetes client, which the operator has no use for.
FROM ${PYTHON_IMAGE} AS dependencies
RUN apt-get update -q && apt-get install -qy --no-install-recommends binutils
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv --without-pip /opt/gmq
COPY requirements/image.txt /requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python /opt/gmq/bin/python install -q --no-compile --require-hashes --only-binary :all: \
        -r /requirements/image.txt
RUN find /opt/gmq/lib -type d \( -name tests -o -name test -o -path '*/kubernetes/aio' \) -prune -exec rm -rf {} + \
    && find /opt/gmq/lib -type f \( -name '*.py[ixd]' -o -name '*.pyx.in' -o -name '*.c' -o -name '*.h' \) -delete \
    && find /opt/gmq/lib -type f -name '*.so' -exec strip --strip-unneeded {} + \
    && /opt/gmq/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/gmq/lib

# GMQ itself, in a layer of its own: another version of it is a small download.
FROM dependencies AS application
COPY requirements/build.txt /requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv --without-pip /build \
    && python3 -m pip --python /build/bin/python install -q --require-hashes --only-binary :all: \
        -r /requirements/build.txt
COPY pyproject.toml README.md LICENSE /src/
COPY broker /src/broker
COPY operator /src/operator
RUN cd /src && SOURCE_DATE_EPOCH=315532800 /build/bin/python -m hatchling build -t wheel -d /wheel \
    && python3 -m pip --python /opt/gmq/bin/python install -q --no-compile --no-deps --no-index --no-warn-script-location \
        --root /out /wheel/*.whl \
    && /opt/gmq/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /out /out/opt/gmq/lib

FROM ${PYTHON_IMAGE}
# No pip, wherever the base keeps it, nothing that runs as somebody else, bytecode for Python's own modules, which python:slim comes
# without, and a user that is not root. Group 0 may write to the data as well: some clusters give each pod a user of its own in that
# group. Without a mounted file the broker listens on all addresses.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
        /usr/bin/pip* /usr/lib/python3/dist-packages/pip* /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo|.*-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && echo 'gmq:x:65532:65532:GMQ:/var/lib/gmq:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'gmq:x:65532:' >>/etc/group \
    && install -d -o 65532 -g 0 -m 0770 /var/lib/gmq \
    && install -d /etc/gmq \
    && echo '{"network": {"interface": ""}, "http": {}}' >/etc/gmq/gmq.json
COPY --from=dependencies /opt/gmq /opt/gmq
COPY --from=application /out/opt/gmq /opt/gmq
ENV PATH=/opt/gmq/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /var/lib/gmq
VOLUME /var/lib/gmq
EXPOSE 4567 8080
CMD ["gmqserver"]

ARG VERSION=0.0.0.dev0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="GMQ" \
      org.opencontainers.image.description="A message queue for Kubernetes: the broker gmqserver, the operator gmq-operator, the client gmqclient" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
