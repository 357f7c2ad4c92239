#!/usr/bin/env bash
# The Python package on the library just built. Skipped where there is no python3 with numpy.
# usage: test_python.sh LIBRARY
set -eu
cd "$(dirname "$0")/../../scripts/stembench"
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import numpy' 2>/dev/null; then
        STEMBENCH_LIBRARY=$1 PYTHONDONTWRITEBYTECODE=1 exec "$python" -m unittest
    fi
done
echo "no python3 with numpy"
exit 77
