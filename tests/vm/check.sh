#!/bin/bash
# All tests, on this kernel.
cd nsfwd && NSFWD=$PWD/nsfwd tests/run
