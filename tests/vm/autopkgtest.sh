#!/bin/bash
# The tests of the Debian package, as Debian runs them.
# timeout: 7200
# shellcheck disable=SC1091
. ./lib.bash

# Status 0: each test passed, and none was skipped.
t 'autopkgtest' autopkgtest --summary-file=summary ./nsfwd_*.deb nsfwd/ -- null
sed 's/^/# /' summary
finish
