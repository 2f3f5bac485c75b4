# The service's image. Targets: service (what a build without --target makes) and dev (the same, with its source in /src and
# started anew when that changes: for `skaffold dev`). The operator's is operator/Dockerfile: who watches what an image is
# made from, such as skaffold, takes every COPY of a file for all of its targets. PYTHON_IMAGE may carry a digest:
# …python:3.13-slim@sha256:….
# A machine that reaches packages only in its own way gives the build secrets `pip` (a pip.conf) and `certificates`
# (a PEM bundle, which that file's `cert` names as /run/certificates.pem): `make image` does it by itself.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

# What builds: the base with the tools that take debug symbols away.
FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends binutils >/dev/null
WORKDIR /build
COPY requirements/install.sh .

# The virtual environment with everything that pyproject.toml asks for.
FROM builder AS dependencies
COPY requirements/service.txt .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates,target=/run/certificates.pem \
    ./install.sh service.txt

# What makes Slipway's own files, a layer of their own: a change of the code leaves the large layer as it was.
FROM builder AS packager
COPY requirements/build.txt requirements/package.sh ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates,target=/run/certificates.pem \
    python -m venv --without-pip /opt/slipway \
    && python -m venv --without-pip /opt/build \
    && python -m pip --python /opt/build/bin/python install --quiet --only-binary=:all: \
       --require-hashes --requirement build.txt
COPY pyproject.toml README.md ./

FROM packager AS package
COPY service service
RUN ./package.sh slipway-operator

# What every image of Slipway starts from: the base without its package installer, with the bytecode that the official
# images leave out (else every start of a pod compiles the standard library), and a user.
FROM ${PYTHON_IMAGE} AS runtime
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore --disable-pip-version-check pip \
    && library="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$library/ensurepip" \
    && python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
       -x '/(test|tests|idlelib|tkinter|turtledemo|pydoc_data|site-packages|dist-packages)/' "$library" \
    && echo 'slipway:x:10001:' >> /etc/group \
    && echo 'slipway:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
ENV PATH=/opt/slipway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /opt/slipway
USER 10001:10001

FROM runtime AS service
COPY --from=dependencies /opt/slipway /opt/slipway
COPY --from=package /package /
ENV SLIPWAY_HOST=:: SLIPWAY_OPS_HOST=::
EXPOSE 8000 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; ops = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SLIPWAY_OPS_PORT', '9090')), timeout=2); ops.request('GET', '/livez'); sys.exit(ops.getresponse().status != 200)"]
ENTRYPOINT []
CMD ["slipway", "serve"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Slipway" \
      org.opencontainers.image.description="A FastAPI service for Kubernetes: anything may change under load, and no request fails" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM service AS dev
COPY --chown=10001:10001 service/slipway /src/slipway
ENV PYTHONPATH=/src
CMD ["slipway", "serve", "--reload"]

FROM service
