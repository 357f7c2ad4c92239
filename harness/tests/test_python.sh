#!/usr/bin/env bash
# The Python package on the library just built, and the model in the loop; what a Python lacks packages for, and all of
# it where no Python has numpy, is skipped.
# usage: test_python.sh LIBRARY
set -eu
cd "$(dirname "$0")/../../scripts"
export STEMBENCH_LIBRARY=$1 PYTHONDONTWRITEBYTECODE=1
for python in "$PWD/../build/venv/bin/python" python3 /usr/bin/python3; do # scripts/experiment.sh makes the first
    if "$python" -c 'import numpy' 2>/dev/null; then
        (cd stembench && "$python" -m unittest)
        exec "$python" -m unittest
    fi
done
echo "no python3 with numpy"
exit 77
