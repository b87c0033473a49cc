#!/usr/bin/env bats
# Bytes that a peer sends before its reset arrive although the other peer still
# writes: the answer of a server that does not read an upload, and the last bytes
# of a client. resets.py chooses them so that a direct connection delivers all.

load helpers

FAR=10.0.2.2 # an address of ns2 that is not loopback

setup() {
	ns ns1 ns2
	ip -n ns2 addr add "$FAR/32" dev lo
}

# some COUNT ARG...: all of COUNT answers arrive.
some() {
	python3 "$BATS_TEST_DIRNAME/resets.py" --count "$1" --least "$1" \
		"${@:2}" 3>&- 4>&- >&2
}

# every CASE FROM=TO [COMMAND...]: small answers fit the first window, because a
# sender that resets discards all bytes beyond; larger ones were acknowledged.
every() {
	some 60 --size 5000 "$@"
	some 60 --size 100000 --acked "$@"
	some 20 --size 1000000 --acked "$@"
	some 10 --size 4000000 --acked "$@"
}

# bats test_tags=workers,both
@test "an answer in front of a reset arrives, whatever its size" {
	start_nsfwd ns1@8000=ns2@127.0.0.1:8080
	every direct ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
}

# bats test_tags=workers,both
@test "an answer in front of a reset arrives from a UNIX socket, and at one" {
	for_nobody
	start_nsfwd "ns1@8000=ns2@$BATS_TEST_TMPDIR/out" \
		"ns1@$BATS_TEST_TMPDIR/in=ns2@127.0.0.1:8080"
	every direct "$BATS_TEST_TMPDIR/in=ns2@127.0.0.1:8080"
	for size in 5000 100000 1000000 4000000; do
		rm -f "$BATS_TEST_TMPDIR/out"
		some 20 --size "$size" direct \
			"ns1@127.0.0.1:8000=$BATS_TEST_TMPDIR/out"
	done
}

# bats test_tags=workers,both
@test "the last bytes of a client arrive at a server that streams" {
	start_nsfwd ns1@8000=ns2@127.0.0.1:8080
	every words ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
}

@test "an answer in front of a reset arrives through the proxy, both ways" {
	start_nsfwd ns1@1080=ns2@proxy
	every proxy "ns1@127.0.0.1:1080=ns2@$FAR:8080"
	every connect "ns1@127.0.0.1:1080=ns2@$FAR:8080"
}

@test "an answer in front of a reset arrives on standard output" {
	every stdio "stdin=ns2@127.0.0.1:8080" "$NSFWD" -=ns2@127.0.0.1:8080
}

# Standard input and output are one socket, as with inetd(8).
@test "bytes in front of a reset pass standard input and output that are one socket" {
	needs socat
	spawn ns1 inetd socat TCP-LISTEN:8000,fork,reuseaddr,backlog=64 \
		"EXEC:'$NSFWD -=ns2@127.0.0.1:8080',nofork"
	wait_until 5 listens ns1 8000
	every direct ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	every words ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
}

# curl sometimes gives up itself when a write fails. The answer fits the first window.
# bats test_tags=workers,both
@test "curl sees the answer in front of a reset" {
	needs curl
	start_nsfwd ns1@8000=ns2@127.0.0.1:8080
	some 120 --least 108 --size 60000 --curl direct ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
}
