#!/bin/sh
# Installs what lies in the working folder below /package, as it will lie in an image: the service or the operator, with
# its bytecode. The wheel is of both; the argument is the program of the half that isn't here.
set -eu
/opt/build/bin/python -m hatchling build --target wheel --directory wheels >/dev/null
python -m pip --python /opt/slipway/bin/python install --quiet --no-compile --no-index --no-deps --no-warn-script-location \
    --root /package wheels/*.whl
rm "/package/opt/slipway/bin/$1"
python -m compileall -q -f --invalidation-mode unchecked-hash -s /package -p / /package
