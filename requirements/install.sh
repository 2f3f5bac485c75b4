#!/bin/sh
# Makes an image's virtual environment /opt/slipway of a requirements file, compiling nothing. Wheels come with debug
# symbols, and some with C sources: without them they take half the space.
set -eu
venv=/opt/slipway
python -m venv --without-pip "$venv"
python -m pip --python "$venv/bin/python" install --quiet --no-compile --only-binary=:all: \
    --require-hashes --requirement "$1"
find "$venv" -depth -type d -name tests -exec rm -r '{}' +
find "$venv" -name '*.so' -exec strip --strip-debug '{}' +
find "$venv" '(' -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' ')' -delete
python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash "$venv/lib"
