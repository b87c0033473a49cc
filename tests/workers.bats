#!/usr/bin/env bats
# Tests of maps with workers. `tests/run --workers` runs the tests of the other
# files that also hold with workers.

bats_require_minimum_version 1.5.0
WORKERS=2
load helpers

# faults COMMAND...: runs peer, peer_server or peer_start with tests/faults.py.
faults() {
	PEER=$BATS_TEST_DIRNAME/faults.py "$@"
}

@test "a worker killed: its connections are reset, the other's go on" {
	local victim of
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	faults peer_start ns1 crowd crowd 100 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=100'
	read -r of victim < <(connections | sort | uniq -c)
	kill -KILL "$victim"
	wait_until 2 crowd_is crowd "served=$((100 - of)) .*reset=$of eof=0"
	wait_until 1 logged ' end=killed signal=9$' "$of"
	logged "'ns1@127.0.0.1:8000=.*a worker was killed by signal 9"
	unset "FDS[$victim]"
	faults peer ns1 try 20 ns2 0-1500 127.0.0.1/8000
	wait_until 2 workers_stand
}

@test "max= holds after a worker was killed" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max=20
	faults peer_start ns1 first crowd 20 127.0.0.1/8000
	wait_until 5 crowd_is first 'served=20'
	# shellcheck disable=SC2046 # one word each
	kill -KILL $(workers)
	wait_until 2 crowd_is first 'reset=20'
	faults peer_start ns1 second crowd 30 127.0.0.1/8000
	wait_until 5 crowd_is second 'served=20 waiting=10'
	wait_until 2 workers_stand
	crowd_is second 'served=20 waiting=10'
}

@test "a connection that was idle for too long makes room for the next" {
	named_server ns2 ns2 127.0.0.1/8080
	WORKERS=1
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max=1,idle-timeout=1
	faults peer_start ns1 crowd crowd 2 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=1 waiting=1'
	wait_until 3 crowd_is crowd 'served=1 waiting=0 .*reset=1'
}

# The first target has a full backlog and is tried again every 10 ms; the second does
# not answer, so that no event comes before its deadline.
@test "the connect timeout holds after a target that was tried again" {
	spawn ns2 full python3 -c 'import socket, time
full, fill = (socket.socket(socket.AF_UNIX) for _ in range(2))
full.bind("\0full")
full.listen(0)
fill.connect("\0full")
time.sleep(60)'
	wait_until 2 in_ns ns2 grep -q @full /proc/net/unix
	faults peer_server ns2 hole hole 127.0.0.1/8080
	WORKERS=1
	start_nsfwd ns1@127.0.0.1:8000=ns2@@full,127.0.0.1:8080,connect-timeout=1
	faults peer ns1 gone fin 1 127.0.0.1/8000
	wait_until 2 logged ' ms=1[01][0-9][0-9] end=dial error=ETIMEDOUT'
}

@test "the mapper of workers killed: connections finish, a new one serves" {
	local old
	faults peer_server ns2 bulk bulk 127.0.0.1/8080 4000000 1.5
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	faults peer_start ns1 swap swap 4000000 1.5 127.0.0.1/8000
	old=$(mappers)
	sleep 0.3
	kill -KILL "$old"
	faults peer ns1 swap 4000000 0 127.0.0.1/8000
	reap swap
	[ "$(mappers)" != "$old" ]
	# Process 1 reaps the old workers.
	wait_until 5 no_zombies
	FDS=()
}

@test "a reader that stopped delays no other connection and misses nothing" {
	local go=$BATS_TEST_TMPDIR/go
	small_buffers ns2
	WORKERS=1
	start_nsfwd ns1@8000-8001=ns2@8080-8081
	peer_server ns2 slow listen 8080 "await=$go" recv=200000 eof fin
	peer_start ns1 fast connect 8000 ones=200000 fin eof
	# Twice, because another process may have had the processor.
	for _ in 1 2; do
		peer_server ns2 server listen 8081 pong=500
		peer_start ns1 client connect 8001 ping=500
		reap client server && break
	done
	touch "$go"
	reap fast slow
}

@test "USR1 shows the connections of all workers" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	faults peer_start ns1 crowd crowd 30 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=30'
	kill -USR1 "$NSFWD_PID"
	wait_until 2 logged 'table:   127.0.0.1:[0-9]+ > 127.0.0.1:8080 up=6 down=4' 30
	logged 'table: +30 +30 +0 +0 +0 +0 +ns1@'
}

@test "max-source holds when several workers accept clients of one address at once" {
	named_server ns2 ns2 127.0.0.1/8080
	WORKERS=4
	start_nsfwd -q ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max-source=1
	# shellcheck disable=SC2046 # one word each
	faults peer ns1 bursts 10 200 2 1 127.0.0.1/8000 \
		"$NSFWD_PID" $(mappers) $(workers)
}
