#!/bin/bash
# All tests, on this kernel, or FILES= of them.
# timeout: 14400
# shellcheck disable=SC1091
. ./settings
cd nsfwd || exit
# shellcheck disable=SC2086 # names of files
NSFWD=$PWD/nsfwd tests/run ${FILES:+--tap $FILES}
