#!/usr/bin/env bats
# Containers, units and machines by name, without a runtime: container.py has Docker's
# API, podman's files, and containers. tests/vm/containers.sh has real runtimes.

bats_require_minimum_version 1.5.0
load helpers

ID1=3f2a9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd
ID2=3f2b9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd
ID3=77aa9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd

setup() {
	export DOCKER_HOST=unix://$BATS_TEST_TMPDIR/sock
	unset CONTAINER_HOST XDG_RUNTIME_DIR
}

# runtime COMMAND...: starts container.py and carries out commands.
runtime() {
	COMMANDS=0
	mkfifo "$BATS_TEST_TMPDIR/commands"
	exec {FEED}<>"$BATS_TEST_TMPDIR/commands"
	spawn_ready self runtime bash -c 'exec "$@" <"$0"' "$BATS_TEST_TMPDIR/commands" \
		python3 "$BATS_TEST_DIRNAME/container.py" "$BATS_TEST_TMPDIR/sock" $ID1 $ID2 $ID3
	tell "$@"
}

tell() {
	local command
	for command; do
		echo "$command" >&"$FEED"
		COMMANDS=$((COMMANDS + 1))
	done
	wait_until 5 carried_out
}

carried_out() {
	[ "$(cat "$BATS_TEST_TMPDIR/sock.done" 2>/dev/null)" = "$COMMANDS" ]
}

says() {
	[ "$(in_ns "${3:-self}" python3 - "$1" <<-'END'
		import socket, sys
		try:
		    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
		    print(s.recv(99).decode())
		except OSError as e:
		    print(e)
	END
	)" = "$2" ]
}

@test "a container is found and followed" {
	runtime 'run web'
	start_nsfwd 8080=docker:web@80
	says 8080 web-1
	tell 'restart web'
	wait_until 2 says 8080 web-2
}
