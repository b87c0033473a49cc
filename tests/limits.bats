#!/usr/bin/env bats
# Limits of connections, listeners that are destroyed at a limit, and the end.

bats_require_minimum_version 1.5.0
load helpers
export PEER=$BATS_TEST_DIRNAME/faults.py

# served NAME...: prints how many clients of these crowds are served.
served() {
	local name sum=0
	for name; do
		sum=$((sum + $(tail -n 1 "$BATS_TEST_TMPDIR/$name.out" |
			sed -n 's/^served=\([0-9]*\) .*/\1/p')))
	done
	echo "$sum"
}

served_are() {
	local want=$1 sum
	shift
	sum=$(served "$@")
	[ "$sum" = "$want" ] || fail "$sum are served, not $want"
}

# True if nsfwd does not spin.
waits_idly() {
	local -a pids
	mapfile -t pids < <(tree)
	rests 0.5 2 "${pids[@]}"
}

# bats test_tags=workers
@test "--max-conns 20 and 60 clients (T23)" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --max-conns 20 ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	peer_start ns1 crowd crowd 60 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=20 waiting=40'
	waits_idly
	crowd_is crowd 'served=20 waiting=40'
	connections_are 20
	logged '20 connections'
	[ "$(grep -c '20 connections' "$LOG")" -le 2 ]
	kill -USR1 "$(pid_of crowd)"
	wait_until 10 crowd_is crowd 'done=60'
}

@test "max=20 on one map does not hold back another" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max=20 \
		ns1@127.0.0.1:8001=ns2@127.0.0.1:8080
	peer_start ns1 crowd crowd 60 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=20 waiting=40'
	peer ns1 try 5 ns2 0-50 127.0.0.1/8001
	waits_idly
	crowd_is crowd 'served=20 waiting=40'
	kill -USR1 "$(pid_of crowd)"
	wait_until 10 crowd_is crowd 'done=60'
}

# bats test_tags=workers
@test "--max-conns 20 over two maps" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --max-conns 20 ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 \
		ns1@127.0.0.1:8001=ns2@127.0.0.1:8080,max=15
	peer_start ns1 first crowd 30 127.0.0.1/8000
	peer_start ns1 second crowd 30 127.0.0.1/8001
	wait_until 5 served_are 20 first second
	waits_idly
	served_are 20 first second
	kill -USR1 "$(pid_of first)" "$(pid_of second)"
	wait_until 15 crowd_is first 'done=30'
	wait_until 15 crowd_is second 'done=30'
}

@test "one map's connections end: the other one's clients are served" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --max-conns 5 ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 \
		ns1@127.0.0.1:8001=ns2@127.0.0.1:8080
	peer_start ns1 first crowd 5 127.0.0.1/8000
	wait_until 5 crowd_is first 'served=5'
	peer_start ns1 second crowd 5 127.0.0.1/8001
	wait_until 5 crowd_is second 'waiting=5'
	sleep 1.2
	crowd_is second 'served=0'
	# The limit is logged once, and its end when nobody has met it for a while.
	[ "$(grep -c "8001.*': 5 connections, the limit of --max-conns: new clients wait" "$LOG")" = 1 ]
	kill -USR1 "$(pid_of first)"
	wait_until 1 crowd_is second 'served=5'
	kill -USR1 "$(pid_of second)"
	wait_until 5 logged "8001.*': below the limit again: accept paused [0-9]+ times"
}

# bats test_tags=workers,both
@test "max-source=10 (T24)" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd -v ns1@:8000=ns2@127.0.0.1:8080,max-source=10
	peer_start ns1 crowd crowd 30 127.0.0.1/8000 127.0.0.2
	wait_until 5 crowd_is crowd 'served=10 waiting=0 reset=20'
	peer ns1 try 3 ns2 0-50 127.0.0.1/8000 127.0.0.3
	peer ns1 try 3 ns2 0-50 ::1/8000
	peer ns1 try 5 reset 0-50 127.0.0.1/8000 127.0.0.2
	connections_are 10
	# A connection that ends makes room for another of the same address.
	kill -USR1 "$(pid_of crowd)"
	wait_until 2 no_connections
	peer ns1 try 5 ns2 0-50 127.0.0.1/8000 127.0.0.2
	stop_nsfwd
	logged 'refused 127.0.0.2:.* it has as many connections as max-source= allows'
	logged "': max-source= has refused [0-9]+ clients"
}

# bats test_tags=workers,both
@test "max=2 counts the connections of a map's old mappers" {
	local conf=$BATS_TEST_TMPDIR/conf i
	change() {
		echo "ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max=2,idle-timeout=$1" >"$conf"
	}
	named_server ns2 ns2 127.0.0.1/8080
	change 60
	start_nsfwd -c "$conf"
	peer_start ns1 old crowd 2 127.0.0.1/8000
	wait_until 5 crowd_is old 'served=2'
	peer_start ns1 new crowd 8 127.0.0.1/8000
	wait_until 5 crowd_is new 'waiting=8'
	for i in 1 2 3 4; do
		change "6$i"
		kill -HUP "$NSFWD_PID"
		wait_until 5 logged 'reloaded: 1 map' "$i"
		waits_idly
	done
	served_are 2 old new
	logged '2 connections, the limit of max=: new clients wait'
	kill -USR1 "$(pid_of old)"
	wait_until 1 crowd_is new 'served=2'
	kill -USR1 "$(pid_of new)"
	wait_until 5 crowd_is new 'done=8'
	wait_until 2 mappers_are 1
	record_fds
}

# bats test_tags=workers,both
@test "max=1 on 3,000 ports: a connection costs the mapper no more than on one" {
	local one many
	[ "$(ulimit -Hn)" -ge 4000 ] || skip "$(ulimit -Hn) descriptors"
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd -q ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max=1 \
		ns1@127.0.0.1:10001-13000=ns2@127.0.0.1:8080,max=1
	for _ in 1 2 3; do
		sixty_clients 8000 8000 8000 8000
		one=$TICKS
		sixty_clients 10001 11000 12000 13000
		many=$TICKS
		echo "60 connections: $one ticks on one port, $many on 3,000"
		[ "$many" -gt $((2 * one + 10)) ] || break
	done
	[ "$many" -le $((2 * one + 10)) ]
	logged '10001-13000=.*1 connection, the limit of max=: new clients wait'
}

# sixty_clients PORT...: 15 connections to each of four; sets TICKS to what they cost.
sixty_clients() {
	local before port names=()
	before=$(mapper_ticks)
	for port; do
		peer_start ns1 "client${#names[@]}" try 15 ns2 0-9000 "127.0.0.1/$port"
		names+=("client${#names[@]}")
	done
	reap "${names[@]}"
	TICKS=$(($(mapper_ticks) - before))
}

mapper_ticks() {
	# shellcheck disable=SC2046 # one word each
	cpu_ticks $(mappers) $([ -z "$WORKERS" ] || workers)
}

# Each port is served in turn, in the order in which its client connected.
# bats test_tags=workers,both
@test "at the limit the ports of a map take turns" {
	local i
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000-8009=ns2@127.0.0.1:8080,max=1
	peer_start ns1 first crowd 1 127.0.0.1/8000
	wait_until 5 crowd_is first 'served=1'
	for ((i = 1; i < 10; i++)); do
		peer_start ns1 "port$i" try 1 ns2 0-9000 "127.0.0.1/$((8000 + i))"
	done
	peer_start ns1 greedy try 500 ns2 0-9000 127.0.0.1/8000
	kill -USR1 "$(pid_of first)"
	for ((i = 1; i < 10; i++)); do
		reap "port$i" -t 5
	done
	waits_for greedy
}

waits_for() {
	kill -0 "$(pid_of "$1")" && [ ! -s "$BATS_TEST_TMPDIR/$1.out" ]
}

# Listeners that are destroyed.

# bats test_tags=workers,both
@test "ss -K on one listener of a map: the others serve, nothing spins or dies" {
	needs ss
	local old
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000-8002=ns2@127.0.0.1:8080
	peer_start ns1 open crowd 5 127.0.0.1/8000
	wait_until 5 crowd_is open 'served=5'
	in_ns ns1 ss -HKltn 'sport = :8000' >"$BATS_TEST_TMPDIR/closed"
	[ -s "$BATS_TEST_TMPDIR/closed" ] || skip "no CONFIG_INET_DIAG_DESTROY"
	peer ns1 try 5 ns2 0-200 127.0.0.1/8001
	waits_idly
	peer ns1 try 5 ns2 0-200 127.0.0.1/8002
	crowd_is open 'served=5'
	run ! grep -E 'killed by signal|ended with status' "$LOG"
}

# The process that handed the sockets over may shut them down.
# bats test_tags=workers,both
@test "systemd:NAME, and its sockets are shut down: nothing spins or dies" {
	local order=$BATS_TEST_TMPDIR/shutdown path=$BATS_TEST_TMPDIR/path
	WRAP=(python3 "$PEER" hand "$order" 3 127.0.0.1/8000 "$path" 127.0.0.1/8001)
	mkfifo "$order"
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd systemd:web=ns2@127.0.0.1:8080
	peer self ask 127.0.0.1/8000=ns2 "$path=ns2" 127.0.0.1/8001=ns2
	echo 2 >"$order"
	wait_until 2 eval '[ ! -e "$order" ]'
	waits_idly
	peer self try 5 ns2 0-200 127.0.0.1/8001
	run ! grep -E 'killed by signal|ended with status' "$LOG"
}

# The end.

@test "TERM without connections ends at once" {
	start_nsfwd ns1@8000=ns2@8080 ns1@8001=ns2@8080
	kill -TERM "$NSFWD_PID"
	wait_nsfwd 0.5
	[ "$NSFWD_STATUS" = 0 ]
	[ -z "$(in_ns ns1 ss -Hltn)" ]
}

# Twice, because another process may have had the processor.
@test "T36 a second TERM or INT resets what is open, at once" {
	named_server ns2 ns2 127.0.0.1/8080
	ends_twice TERM INT || ends_twice TERM INT
	ends_twice INT TERM || ends_twice INT TERM
}

ends_twice() {
	local start crowd=crowd-${#SPAWNED[@]}
	: >"$LOG"
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 || return
	peer_start ns1 "$crowd" crowd 20 127.0.0.1/8000
	wait_until 5 crowd_is "$crowd" 'served=20' || return
	kill "-$1" "$NSFWD_PID"
	wait_until 1 logged 'stopping: 20 connections have 30 s' || return
	sleep 0.2
	crowd_is "$crowd" 'served=20' && connections_are 20 || return
	start=$(now_ms)
	kill "-$2" "$NSFWD_PID"
	wait_nsfwd 1 && wait_until 0.2 tree_ended || return
	[ "$(since "$start")" -le 200 ] && [ "$NSFWD_STATUS" = 0 ] || return
	wait_until 1 crowd_is "$crowd" 'reset=20 eof=0'
}

# bats test_tags=workers
@test "--drain 1 ends them after one second" {
	local start
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --drain 1 ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	peer_start ns1 crowd crowd 5 127.0.0.1/8000
	wait_until 2 crowd_is crowd 'served=5'
	start=$(now_ms)
	kill -TERM "$NSFWD_PID"
	wait_nsfwd 3
	echo "ended after $(($(now_ms) - start)) ms"
	[ $(($(now_ms) - start)) -ge 900 ]
	[ "$(since "$start")" -le 1500 ]
	[ "$NSFWD_STATUS" = 0 ]
	wait_until 1 crowd_is crowd 'reset=5 eof=0'
	tree_ended
}
