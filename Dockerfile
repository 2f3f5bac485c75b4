# Slipway's images. Targets: service (what a build without --target makes), dev (the same, with its source in /src and
# started anew when that changes: for `skaffold dev`) and operator. PYTHON_IMAGE may carry a digest: …python:3.13-slim@sha256:….
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

# Slipway's own files, a layer of their own: a change of the code leaves the large layer as it was.
FROM builder AS package
COPY requirements/build.txt .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates,target=/run/certificates.pem \
    python -m venv --without-pip /opt/slipway \
    && python -m venv --without-pip /opt/build \
    && python -m pip --python /opt/build/bin/python install --quiet --only-binary=:all: \
       --require-hashes --requirement build.txt
COPY pyproject.toml README.md ./
COPY operator operator
COPY service service
RUN /opt/build/bin/python -m hatchling build --target wheel --directory wheels >/dev/null \
    && python -m pip --python /opt/slipway/bin/python install --quiet --no-compile --no-index --no-deps --no-warn-script-location \
       --root /package wheels/*.whl \
    && python -m compileall -q -f --invalidation-mode unchecked-hash -s /package -p / /package

# The wheel holds the service and the operator: each image keeps its half, the other would lack what it imports.
FROM package AS service-package
RUN rm -r /package/opt/slipway/bin/slipway-operator /package/opt/slipway/lib/python3*/site-packages/slipway_operator

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
COPY --from=service-package /package /
ENV SLIPWAY_HOST=0.0.0.0 SLIPWAY_OPS_HOST=0.0.0.0
EXPOSE 8000 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; ops = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SLIPWAY_OPS_PORT', '9090')), timeout=2); ops.request('GET', '/livez'); sys.exit(ops.getresponse().status != 200)"]
ENTRYPOINT []
CMD ["slipway", "serve"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Slipway" \
      org.opencontainers.image.description="A FastAPI service for Kubernetes: anything may change under load, and no request fails" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM service AS dev
COPY --chown=10001:10001 service/slipway /src/slipway
ENV PYTHONPATH=/src
CMD ["slipway", "serve", "--reload"]

# The operator, which shares nothing but the base: with its own requirements, and its half of the wheel.
FROM builder AS operator-dependencies
COPY requirements/operator.txt .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates,target=/run/certificates.pem \
    ./install.sh operator.txt

FROM package AS operator-package
RUN rm -r /package/opt/slipway/bin/slipway /package/opt/slipway/lib/python3*/site-packages/slipway

FROM runtime AS operator
COPY --from=operator-dependencies /opt/slipway /opt/slipway
COPY --from=operator-package /package /
ENV SLIPWAY_OPERATOR_OPS_HOST=0.0.0.0
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; ops = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SLIPWAY_OPERATOR_OPS_PORT', '9090')), timeout=2); ops.request('GET', '/livez'); sys.exit(ops.getresponse().status != 200)"]
ENTRYPOINT []
CMD ["slipway-operator", "run"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Slipway operator" \
      org.opencontainers.image.description="Runs schema migrations as cluster resources change, and no request fails" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM service
