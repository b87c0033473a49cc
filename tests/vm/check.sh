#!/bin/bash
# All tests, on this kernel, or FILES= of them.
# timeout: 14400
# memory: 4096
# shellcheck disable=SC1091
. ./settings
cd nsfwd || exit
# An emulated machine has one slow processor for all worlds.
[ "${SLOW-1}" = 1 ] || : "${WORLDS:=2}" "${TEST_SLOW:=20}" "${TEST_RETRIES:=2}"
export WORLDS TEST_SLOW TEST_RETRIES
# shellcheck disable=SC2086 # names of files
NSFWD=$PWD/nsfwd tests/run ${FILES:+$FILES --tap}
