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
	wait_until 2 logged ' ms=[1-9][0-9]{3} end=dial error=ETIMEDOUT'
}

@test "the mapper of workers killed: connections finish, a new one serves" {
	local old
	faults peer_server ns2 bulk bulk 127.0.0.1/8080 4000000 1.5
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	faults peer_start ns1 swap swap 4000000 1.5 127.0.0.1/8000
	old=$(mappers)
	wait_until 5 eval '[ -n "$(connections)" ]'
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
	logged 'table: +30 +30 +0 +0 +180 +120 +ns1@'
}

@test "max-source holds when several workers accept clients of one address at once" {
	named_server ns2 ns2 127.0.0.1/8080
	WORKERS=4
	start_nsfwd -q ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max-source=1
	# shellcheck disable=SC2046 # one word each
	faults peer ns1 bursts 10 200 2 1 127.0.0.1/8000 \
		"$NSFWD_PID" $(mappers) $(workers)
}

# name_server NAME ARG...: the name server of ns2, see tests/dns_server.py.
name_server() {
	spawn_ready ns2 "$1" python3 "$BATS_TEST_DIRNAME/dns_server.py" \
		"$BATS_TEST_TMPDIR/asked" "${@:2}" 127.0.0.1/53
}

# "ok" has 127.0.0.2 and ::1, "two" has 127.0.0.2 and 127.0.0.3. Processes, which ask
# for each connection, log the same.
@test "names: both families, several addresses, several names, errors as of processes" {
	local driver out=$BATS_TEST_TMPDIR maps=(
		'8001=ns2@ok.ok.test:81' '8002=ns2@two.nodata.test:82'
		'8003=ns2@no.no.test:83,ok.nodata.test:83' '8004-8005=ns2@ok.ok.test:84-85'
		'8006=ns2@nodata.nodata.test:86' '8007=ns2@silent.silent.test:87'
		'8008=ns2@refused.servfail.test:88' '8009=ns2@two.nodata.test:89')
	name_server names four=127.0.0.2 six=::1
	named_server ns2 one 127.0.0.2/81 127.0.0.3/82 127.0.0.2/83 127.0.0.2/84 ::1/84
	faults peer_server ns2 hole hole ::1/81
	maps=("${maps[@]/#/ns1@}")
	for driver in '' 2; do
		LOG=$out/log.$driver
		WORKERS=$driver
		start_nsfwd -v --connect-timeout 900ms "${maps[@]/%/,dns=127.0.0.1}"
		faults peer ns1 try 1 one 250-600 127.0.0.1/8001
		asks ns1 127.0.0.1/800{2,3,4}=one 127.0.0.1/800{5,6,8,9}=reset
		faults peer ns1 try 1 reset 800-1400 127.0.0.1/8007
		wait_until 2 logged ' end=' 9
		sed -En 's/ why=.*//; s/.* map="?ns1@([^=]*).* (target=[^ ]*) .* (end=.*)/\1 \2 \3/p' \
			"$LOG" | sort >"$out/ends.$driver"
		stop_nsfwd
		diff - "$out/ends.$driver" <<-'END'
			8001 target=127.0.0.2:81 end=closed
			8002 target=127.0.0.3:82 end=closed
			8003 target=127.0.0.2:83 end=closed
			8004-8005 target=::1/84 end=closed
			8004-8005 target=::1/85 end=dial error=ECONNREFUSED
			8006 target=nodata.nodata.test:86 end=dial error=no-address server=127.0.0.1:53
			8007 target=silent.silent.test:87 end=dial error=no-answer server=127.0.0.1:53
			8008 target=refused.servfail.test:88 end=dial error=name-server-refused server=127.0.0.1:53
			8009 target=127.0.0.2:89 end=dial error=ECONNREFUSED
		END
	done
}

# By balance=hash, 127.0.0.1 goes to the first target, 127.0.0.2 to the second.
@test "names: one that is not answered delays no other; one moves, no connection fails" {
	name_server old four=127.0.0.2
	named_server ns2 good 127.0.0.2/81
	named_server ns2 one 127.0.0.2/82
	named_server ns2 two 127.0.0.3/82
	WORKERS=1
	start_nsfwd ns1@8001=ns2@silent.silent.test:81,ok.nodata.test:81,balance=hash,connect-timeout=2400ms,dns=127.0.0.1 \
		ns1@8002=ns2@ok.nodata.test:82,dns=127.0.0.1
	asks ns1 127.0.0.1/8002=one
	faults peer_start ns1 slow try 1 good 0-1900 127.0.0.1/8001 127.0.0.1
	wait_until 2 grep -q silent "$BATS_TEST_TMPDIR/asked"
	faults peer ns1 try 20 good 0-400 127.0.0.1/8001 127.0.0.2
	kill_spawned old
	kill_spawned one
	name_server new four=127.0.0.3
	reap slow
	faults peer_start ns1 crowd crowd 20 127.0.0.1/8002
	wait_until 5 crowd_is crowd 'served=20 '
	[ "$(grep -c ' ok.nodata.test A ' "$BATS_TEST_TMPDIR/asked")" = 3 ]
}
