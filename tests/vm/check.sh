#!/bin/bash
# All tests, on this kernel.
# timeout: 14400
cd nsfwd && NSFWD=$PWD/nsfwd tests/run
