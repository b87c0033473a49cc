#!/usr/bin/env bats
# Every system call of every kind of process fails once: see tests/torture,
# which makes worlds of its own.

load helpers

setup() {
	:
}

@test "T28 each system call of each kind of process fails once" {
	# What a sanitizer does at its start cannot fail, nor its leak check work.
	local kinds=
	! grep -q libasan "$NSFWD" || kinds='server tcp udp connection'
	# shellcheck disable=SC2086 # words
	ASAN_OPTIONS=detect_leaks=0 "$BATS_TEST_DIRNAME/torture" --quick $kinds \
		>&2 3>&-
}

@test "a closed descriptor and no /dev/null: it says so" {
	local status=0
	unshare -m bash -c 'mount -t tmpfs tmpfs /dev && exec "$0" --check 80=81' \
		"$NSFWD" <&- 2>"$BATS_TEST_TMPDIR/said" || status=$?
	[ "$status" = 1 ]
	grep -q '^nsfwd: /dev/null: No such file' "$BATS_TEST_TMPDIR/said"
}
