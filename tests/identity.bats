#!/usr/bin/env bats
# pid:N means the process that had the number first, for good. Processes of nsfwd
# that another program stops are continued or replaced.

bats_require_minimum_version 1.5.0
load helpers
load server

# Process numbers, in a process namespace in which a number can be given out again.

export FAULTS=$BATS_TEST_DIRNAME/faults.py

# apart FUNCTION: runs it in a process namespace, with the functions below; nsfwd
# logs to $LOG.
apart() {
	export LOG NSFWD FAULTS SERVICE
	export -f "${1?}" with_pid in_own_net secret start_server again_at waits_at now_ms wait_until fail logged
	unshare -pf --kill-child --mount-proc --propagation private true ||
		skip "no process namespace to be had"
	# shellcheck disable=SC2016 # for the inner shell
	unshare -pf --kill-child --mount-proc --propagation private bash -c '
		trap "rm -f /run/netns/linked /run/up
			ip netns | grep -o ^late. | xargs -rn 1 ip netns del" EXIT
		set -e; "$@" 3>&-' - "$1"
}

# with_pid N CMD...: starts CMD in the background as process N.
with_pid() {
	echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid
	"${@:2}" &
	[ "$!" = "$1" ]
}

# in_own_net NAME: executes a server of that name in a new network namespace.
in_own_net() {
	exec unshare -n sh -c 'ip link set lo up &&
		READY_FD=9 exec python3 "$FAULTS" who "$0" 127.0.0.1/8080' "$1" 9>>/run/up
}

# Starts the server that no map may reach, in the namespace that nsfwd starts in.
secret() {
	READY_FD=9 python3 "$FAULTS" who secret 127.0.0.1/8080 9>>/run/up &
	wait_until 5 grep -qc ready /run/up
	: >/run/up
}

start_server() {
	"$NSFWD" "$@" >>"$LOG" 2>&1 &
	server=$!
	wait_until 5 logged 'ready: '
}

# waits_at PORT...: no client of the port is served, and the log has the reason.
waits_at() {
	local port said
	for port; do
		said=$(timeout 1 python3 "$FAULTS" ask "127.0.0.1/$port=nobody" 2>&1) || true
		[[ $said != *secret* ]] || fail "$port: $said"
		wait_until 3 logged "$port=.*waits for namespace.*its process has ended"
	done
}

# again_at N: makes namespace lateN and waits until its map serves. nsfwd has then
# checked all maps before that one, too.
again_at() {
	ip netns add "late$1"
	wait_until 3 logged "=late$1@.*serves again"
}

followed() {
	local n=300
	secret
	echo "127.0.0.1:8000=pid:$n@8080" >/run/conf
	printf '%s\n' 127.0.0.1:700{1=late1,2=late2,3=late3}@9 >>/run/conf
	with_pid $n in_own_net first
	wait_until 5 grep -q ready /run/up
	start_server --wait -c /run/conf
	python3 "$FAULTS" ask 127.0.0.1/8000=first
	kill -9 $n
	wait $n || true
	wait_until 3 logged "8000=pid:$n@.*waits for namespace 'pid:$n'"
	with_pid $n sleep 60
	again_at 1
	waits_at 8000
	# A reload with the same map, then one with another map of the same number.
	kill -HUP $server
	wait_until 3 logged 'reloaded' 1
	again_at 2
	sed -i '1s/$/,max=9/' /run/conf
	kill -HUP $server
	wait_until 3 logged 'reloaded' 2
	again_at 3
	waits_at 8000
	# A reload without pid:N removes the binding to the process.
	sed -i 1d /run/conf
	kill -HUP $server
	wait_until 3 logged 'reloaded' 3
	echo "127.0.0.1:8000=pid:$n@8080" >>/run/conf
	kill -HUP $server
	wait_until 3 logged 'reloaded' 4
	python3 "$FAULTS" ask 127.0.0.1/8000=secret
}

@test "pid:N is the process that had the number first, also after HUP" {
	apart followed
	logged "\(its process has ended: name the one in its place\)$"
}

# All ways to name a process by its number; the process starts later.
all_ways() {
	local n=300 ways
	secret
	mkdir -p /run/other
	ln -sfn /proc/$n/ns/net /run/netns/linked
	ln -sfn ../netns/linked /run/other/link
	ln -sfn /proc/$n/ns /run/other/ns
	ways=("pid:$n" "/proc/$n/ns/net" "/proc/$n/task/$n/ns/net" linked
		/run/other/link /run/other/ns/net "/proc/self/root//proc/$n/ns/net")
	local i maps=()
	for i in "${!ways[@]}"; do
		maps+=("127.0.0.1:800$i=${ways[i]}@8080")
	done
	start_server --wait "${maps[@]}" "pid:$n@8010=127.0.0.1:8080" \
		127.0.0.1:700{1=late1,2=late2}@9
	with_pid $n in_own_net first
	wait_until 5 grep -q ready /run/up
	wait_until 5 logged 'serves again' 8
	for i in "${!ways[@]}"; do
		python3 "$FAULTS" ask "127.0.0.1/800$i=first"
	done
	nsenter --net=/proc/$n/ns/net python3 "$FAULTS" ask 127.0.0.1/8010=secret
	kill -9 $n
	wait $n || true
	wait_until 5 logged 'waits for namespace' 18
	with_pid $n sleep 60
	again_at 1
	waits_at 8000 8001 8002 8003 8004 8005 8006
	python3 "$FAULTS" ask 127.0.0.1/8010=refused
	# A link that is changed to another number is followed.
	: >/run/up
	with_pid 400 in_own_net second
	wait_until 5 grep -q ready /run/up
	ln -sfn /proc/400/ns/net /run/netns/linked
	again_at 2
	wait_until 5 logged '=linked@.*serves again' 2
	wait_until 5 logged '=/run/other/link@.*serves again' 2
	python3 "$FAULTS" ask 127.0.0.1/8003=second 127.0.0.1/8004=second
	waits_at 8000 8001
}

@test "no other spelling of a number, and no link, leads to a later process" {
	apart all_ways
}

# A process that has exited but is not reaped has no namespace any more.
unreaped() {
	local n
	secret
	# shellcheck disable=SC2016 # for sh
	python3 -c 'import os, time
if not os.fork():
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", "echo $$ >>/run/up; exec sleep 60"])
time.sleep(60)' &
	wait_until 5 grep -q . /run/up
	n=$(cat /run/up)
	start_server "127.0.0.1:8000=pid:$n@8080"
	kill -9 "$n"
	waits_at 8000
	grep -q '^State:.*Z' "/proc/$n/status"
}

@test "a zombie counts as exited" {
	apart unreaped
}

# Stopped processes.

MAP=127.0.0.1:8000=ns2@127.0.0.1:8080

# Prints all processes of nsfwd but the server.
others() {
	tree | grep -vx "$NSFWD_PID"
}

runs() {
	[[ "$(cat "/proc/$1/stat")" != *") T "* ]]
}

all_run() {
	local pid
	for pid in $(others); do
		runs "$pid" || return
	done
}

# Prints a second map, but not with workers, for which start_nsfwd waits.
udp_too() {
	[ -n "$WORKERS" ] || echo udp:127.0.0.1:8000=ns2@8080
}

# Connects a client that stays connected.
held() {
	named_server ns2 here 127.0.0.1/8080
	spawn self one python3 "$SERVICE" hold 127.0.0.1/8000
	wait_until 2 printed one here
}

# bats test_tags=workers,both
@test "a stopped mapper, worker or connection goes on" {
	local pid
	# shellcheck disable=SC2046 # a word or none
	start_nsfwd "$MAP" $(udp_too)
	held
	for pid in $(others); do
		kill -STOP "$pid"
		wait_until 1 runs "$pid"
		kill -USR1 "$(pid_of one)"
		wait_until 2 eval "[ \"\$(cat '$BATS_TEST_TMPDIR/one.out' | wc -l)\" -gt $((++n)) ]"
	done
	# shellcheck disable=SC2046 # one word each
	kill -STOP $(others)
	wait_until 2 all_run
	service self follow 1 here 127.0.0.1/8000
	logged "its mapper was stopped by signal 19: continued"
	kill_spawned one
}

# Each of these waits in another system call, under another filter.
@test "a stopped process goes on wherever it waits: -, handshakes, a relay" {
	local dir=$BATS_TEST_TMPDIR pid part
	named_server ns2 here 127.0.0.1/8080
	mkfifo "$dir/in"
	exec {keep}<>"$dir/in"
	alone "$NSFWD" -=ns2@127.0.0.1:8080 <"$dir/in" >"$dir/out" 2>"$LOG" 9>&- &
	SPAWNED[stdio]=$!
	echo hello >&"$keep"
	wait_until 2 grep -qx here "$dir/out"
	for pid in $(children "$(pid_of stdio)") "$(pid_of stdio)"; do
		kill -STOP "$pid"
		wait_until 2 eval "! runs $pid"
		kill -CONT "$pid"
	done
	echo hello >&"$keep"
	wait_until 2 eval '[ "$(grep -cx here "$dir/out")" = 2 ]'
	exec {keep}>&-
	reap stdio
	start_nsfwd 127.0.0.1:8001=ns2@proxy,reach=127.0.0.0/8 \
		127.0.0.1:8002=ns2@127.0.0.1:8080,accept-proxy=127.0.0.0/8
	# The connection is stopped in the middle of a request.
	for part in '8001 GET http://127.0.0.1:8080/ HTTP/1.1|Host: a||' \
		'8001 CONNECT 127.0.0.1:8080 HTTP/1.1||hello|' \
		'8002 PROXY TCP4 1.2.3.4 5.6.7.8 1 2|hello|'; do
		python3 "$BATS_TEST_DIRNAME/identity.py" halves "$NSFWD_PID" "${part%% *}" "${part#* }"
	done
	run ! logged 'signal=31|signal 31'
}

# Stops all processes of nsfwd but the server, over and over.
stopper() {
	while :; do
		# shellcheck disable=SC2046 # one word each
		kill -STOP $(others) 2>/dev/null || true
	done
}

# bats test_tags=workers,both
@test "TERM leaves no process, whichever is stopped" {
	local pid
	# shellcheck disable=SC2046 # a word or none
	start_nsfwd --drain 1 "$MAP" $(udp_too)
	held
	# shellcheck disable=SC2046 # one word each
	kill -STOP $(others)
	kill -TERM "$NSFWD_PID"
	wait_nsfwd 3.5
	[ "$NSFWD_STATUS" = 0 ]
	[ -z "$(tree)" ]
	kill_spawned one
}

# bats test_tags=workers,both
@test "TERM leaves no process although all are stopped over and over" {
	start_nsfwd --drain 0.5 "$MAP"
	held
	stopper &
	SPAWNED[stopper]=$!
	kill -TERM "$NSFWD_PID"
	wait_nsfwd 3
	[ -z "$(tree)" ]
	kill_spawned stopper
	kill_spawned one
}

# bats test_tags=workers,both
@test "TERM ends the connections of a killed mapper, too" {
	start_nsfwd --drain 1 "$MAP"
	held
	kill -KILL "$(mappers)"
	wait_until 3 logged 'serves again'
	# Until then the connections go on.
	kill -USR1 "$(pid_of one)"
	wait_until 2 printed one here 2
	kill -TERM "$NSFWD_PID"
	wait_nsfwd 3.5
	[ "$NSFWD_STATUS" = 0 ]
	[ -z "$(tree)" ]
	kill_spawned one
}

@test "a killed mapper is removed when its last connection ends" {
	start_nsfwd "$MAP"
	held
	kill -KILL "$(mappers)"
	wait_until 3 logged 'serves again'
	[ "$(mappers | wc -l)" = 2 ]
	kill_spawned one
	wait_until 2 eval '[ "$(mappers | wc -l)" = 1 ]'
	record_fds
	service self follow 1 here 127.0.0.1/8000
}

# bats test_tags=workers,both
@test "a mapper that is stopped again and again is replaced" {
	local old
	start_nsfwd --drain 1 "$MAP"
	held
	old=$(mappers)
	(while kill -STOP "$old"; do :; done) 2>/dev/null &
	SPAWNED[stopper]=$!
	wait_until 5 logged "'$MAP': its mapper is stopped again and again: replaced"
	wait_until 2 logged 'serves again'
	service self follow 1 here 127.0.0.1/8000
	# The old connections end after the time of --drain.
	wait_until 5 ended "$old"
	wait_until 2 ended "$(pid_of stopper)"
	record_fds
}

# silent PID...: delays the commands to these mappers by 6 s.
silent() {
	needs strace
	spawn self tracer strace -qq -o /dev/null "${@/#/-p}" \
		-e inject=recvfrom:delay_enter=6000000:when=1
	local pid
	for pid; do
		wait_until 5 traced "$pid"
	done
}

@test "USR1 waits a moment for a silent mapper, and the server for none" {
	local began
	start_nsfwd --drain 100ms --stats /run/stats --no-sandbox \
		127.0.0.1:800{0,1,2,3,4}=ns2@8080
	# shellcheck disable=SC2046 # one word each
	silent $(mappers)
	kill -USR1 "$NSFWD_PID"
	wait_until 2 logged 'table: +OPEN'
	# The server answers others meanwhile, and prints a second table later.
	began=$(now_ms)
	kill -USR1 "$NSFWD_PID"
	curl --silent --fail --max-time $((9 * TEST_SLOW)) --unix-socket /run/stats http://nsfwd/ \
		>"$BATS_TEST_TMPDIR/stats"
	[ "$(since "$began")" -lt 2000 ]
	wait_until 5 logged 'table:   process [0-9]+ has not answered yet'
	wait_until 5 logged 'table: .*127.0.0.1:8004' 2
	kill -TERM "$NSFWD_PID"
	wait_until 0.7 eval '[ ! -e /run/stats ]'
	# Without strace the mappers read their command.
	kill_spawned tracer
	wait_nsfwd 3
	[ "$NSFWD_STATUS" = 0 ]
	[ -z "$(tree)" ]
}
