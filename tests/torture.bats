#!/usr/bin/env bats
# Each system call of each kind of process fails once: see tests/torture, which
# makes worlds of its own.

load helpers

setup() {
	:
}

@test "T28 each system call of each kind of process fails once" {
	# A sanitizer's own calls must not fail, and its leak check not run, in strace.
	local kinds=
	! grep -q libasan "$NSFWD" || kinds='server tcp udp connection'
	# shellcheck disable=SC2086 # words
	ASAN_OPTIONS=detect_leaks=0 "$BATS_TEST_DIRNAME/torture" --quick $kinds \
		>&2 3>&-
}

@test "a closed descriptor and no /dev/null: a message" {
	local status=0
	unshare -m bash -c 'mount -t tmpfs tmpfs /dev && exec "$0" --check 80=81' \
		"$NSFWD" <&- 2>"$BATS_TEST_TMPDIR/said" || status=$?
	[ "$status" = 1 ]
	grep -q '^nsfwd: /dev/null: No such file' "$BATS_TEST_TMPDIR/said"
}
