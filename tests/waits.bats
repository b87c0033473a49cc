#!/usr/bin/env bats
# Tests of the server that take long, because they wait.

bats_require_minimum_version 1.5.0
load helpers
load server

@test "T37 5,000 connections during 50 reloads, none fails" {
	echo 127.0.0.1:8000=ns2@127.0.0.1:8080 >"$BATS_TEST_TMPDIR/conf"
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd -c "$BATS_TEST_TMPDIR/conf" 127.0.0.1:8001=ns2@127.0.0.1:8080
	service self load 200 5000 127.0.0.1/8000 "$NSFWD_PID" 50
	wait_until 5 logged 'reloaded: 2 maps' 50
}

@test "T35 TERM: 20 transfers complete, the listener is gone at once, the end in time" {
	named_server ns2 here 127.0.0.1/8080
	# Twice, because another process may have had the processor.
	drains first || drains again
}

# All transfers complete; one connection stays and is reset in the end.
drains() {
	start_nsfwd --drain 5 127.0.0.1:8000=127.0.0.1:8080 \
		127.0.0.1:8001=ns2@127.0.0.1:8080 || return
	spawn self "$1" python3 "$SERVICE" hold 127.0.0.1/8001
	wait_until 2 printed "$1" here || return
	service self drain "$NSFWD_PID" 20 1000000 4 127.0.0.1/8000 127.0.0.1/8080 ||
		return
	wait_nsfwd 1 && [ "$NSFWD_STATUS" = 0 ]
}

# Adds and deletes the namespace "gone" 100 times, ten times a second.
churn() {
	local n
	for ((n = 0; n < 100; n++)); do
		ip netns add gone
		sleep 0.05
		ip netns del gone
		sleep 0.05
	done
}

@test "T31 a namespace that is added and deleted 100 times, ten times a second" {
	local n=0 good=0 job line trace=$BATS_TEST_TMPDIR/setns said=$BATS_TEST_TMPDIR/said
	! sanitized || skip "a sanitizer starts too slowly under strace"
	mkfifo "$said"
	churn 3>&- 4>&- &
	job=$!
	while kill -0 $job 2>/dev/null; do
		setsid timeout $((5 * TEST_SLOW)) strace -f --seccomp-bpf -qq -e trace=setns -o "$trace" \
			-E ASAN_OPTIONS=detect_leaks=0 "$NSFWD" 8000=gone@8080 \
			udp:8001=gone@8080 </dev/null >"$said" 2>&1 3>&- 4>&- &
		NSFWD_SESSION=$!
		n=$((n + 1))
		{
			IFS= read -rt $((5 * TEST_SLOW)) line
			# Otherwise the namespace was absent, or deleted too early.
			if [[ $line == *ready* ]]; then
				good=$((good + 1))
				kill "$NSFWD_SESSION"
			else
				[[ $line =~ ^"nsfwd: '"[^\']*"gone@8080': ".*"'gone'" ]] ||
					fail "$line"
			fi
			cat # until all processes have exited
		} <"$said"
		run ! grep 'setns(.*= -1' "$trace"
		sleep 0.03 # for the other tests
	done
	wait $job
	echo "# $n starts, $good ready" >&3
	[ "$n" -gt 0 ]
	ns gone
	start_nsfwd 8000=gone@8080
}

# By pid: the process stays and enters a new namespace.
@test "10 restarts of a container, by name and by pid" {
	local i pid before
	ns box
	spawn_ready self process unshare -n python3 "$SERVICE" process
	pid=$(pid_of process)
	named_server box 1-box 127.0.0.1/8080
	start_nsfwd --drain 0 127.0.0.1:8000=box@127.0.0.1:8080 \
		"127.0.0.1:8001=pid:$pid@127.0.0.1:8080"
	service self follow 2 1-box 127.0.0.1/8000
	service self follow 2 1 127.0.0.1/8001
	before=$(tree | wc -l)
	for ((i = 2; i <= 10; i++)); do
		ip netns del box
		kill_spawned "$((i - 1))-box"
		kill -USR1 "$pid"
		ip netns add box
		in_ns box ip link set lo up
		named_server box "$i-box" 127.0.0.1/8080
		service self follow 2 "$i-box" 127.0.0.1/8000
		service self follow 2 "$i" 127.0.0.1/8001
	done
	wait_until 2 no_connections
	[ "$(tree | wc -l)" = "$before" ]
	forget_mappers
}
