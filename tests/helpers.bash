# What the tests share. A test file begins with `load helpers`; tests/run runs
# it. Each test gets two namespaces, ns1 and ns2, that hold nothing but lo and
# have no link between them, and ends with oracle(). A file that needs something
# else defines its own setup() or teardown() after this file was loaded.
#
# Namespaces:
#   ns NAME...           makes network namespaces with lo up, addressed as
#                        /run/netns/NAME; the oracle deletes them
#   in_ns NAME CMD...    runs CMD in a namespace; "self" is the namespace that
#                        the tests and nsfwd are started in
#   small_buffers NS     limits TCP buffers there to 64 KiB, so that a reader
#                        that stops soon stops its sender
#
# nsfwd:
#   start_nsfwd ARG...   starts $NSFWD with --ready-fd and waits at most 5 s for
#                        the ready line and the end of that descriptor; sets
#                        NSFWD_PID and LOG, calls record_fds. Not under `run`.
#                        Runs "${WRAP[@]}" before $NSFWD when that array is set
#                        (`WRAP=(prlimit --nofile=20)`; it must exec). With
#                        WORKERS=N in the environment each map has N workers;
#                        tests with the tag "workers" pass in that way, too
#   start_fails STATUS ERE ARG...  true if $NSFWD ARG... exits with STATUS within
#                        10 s, all its lines begin with "nsfwd: ", and one of
#                        them matches; uses WRAP, too
#   record_fds           records the descriptor counts of server and mappers, as
#                        soon as they sleep
#   forget_mappers       drops these counts but the server's: for a test that
#                        replaces mappers
#   hup [ERE]            sends HUP; waits until one more line matches (reloaded)
#   stop_nsfwd [SECONDS] sends TERM; fails if exit status 0 does not come in
#                        time (5 s); clears NSFWD_PID
#   wait_nsfwd SECONDS   waits until the server exits; sets NSFWD_STATUS, clears
#                        NSFWD_PID; fails if the server still runs
#   mappers, workers, connections  print the pids of each kind, zombies included;
#                        connections prints a worker once for each connection
#   mappers_are N, connections_are N, no_connections  compare their count
#   no_flows             true if server and mappers hold as many descriptors as
#                        record_fds counted
#   no_zombies           true if no process of nsfwd waits to be reaped
#   workers_stand        true if all workers run and sleep
#   freeze PID...        stops the server, its mappers and these processes; the
#                        server would send SIGCONT to the others. thaw undoes it
#   tree                 prints all pids of the last started nsfwd but zombies,
#                        also those whose parent has exited
#   logged ERE [N]       true if N lines or more (1) of the log match
#   show_log             prints the end of the log
#
# Other processes (the oracle kills all of them):
#   spawn NS NAME CMD... starts CMD in the background in a namespace; output in
#                        $BATS_TEST_TMPDIR/NAME.out
#   spawn_ready NS NAME CMD...  the same, and waits at most 5 s until CMD has
#                        written a line to the descriptor named in $READY_FD
#   peer NS ARG...       runs $PEER, which is tests/peer.py or, in files that say
#                        so, tests/faults.py (each file lists its arguments)
#   peer_start NS NAME ARG...   spawns it
#   peer_server NS NAME ARG...  the same, and waits until it listens
#   named_server NS NAME WHERE...  spawns a server that answers each line with
#                        NAME; a WHERE is as tests/faults.py has it
#   asks NS WHERE=NAME...  connects to each WHERE and expects that answer
#   udp_echo NS NAME ADDR PORT  spawns a UDP server that sends all back
#   web_server NS ADDR PORT  spawns a web server whose page is "this is NS"
#   fetch NS ARG...      runs curl in that namespace
#   crowd_is NAME ERE    true if the last line of a crowd (tests/faults.py) does
#   printed NAME LINE [N]  true if a spawned process printed LINE N times (1)
#   output_of NAME       prints what a spawned process has written
#   pid_of NAME          prints its pid
#   reap NAME... [-t S]  waits (30 s at most) until each exits; fails, showing
#                        the output, if a status is not 0
#   kill_spawned NAME [SIGNAL]  kills it (KILL), and waits for its end
#   traced PID           true if a tracer is attached
#   own_dev CMD...       runs CMD with a /dev of its own, for /dev/log
#
# Measures and small tools:
#   wait_until SECONDS CMD...   polls CMD until it is true, at most
#                        that long on a quiet machine: times $TEST_SLOW
#   now_ms               a clock in milliseconds
#   cpu_ticks PID...     user and system time, in ticks of 10 ms, summed
#   rests SECONDS TICKS PID...  true if they use at most TICKS in that time, in one
#                        of five such spans; what spins does so in each of them
#   sleep_on SECONDS PID...     true if they are not woken in that time, in one of
#                        three such spans
#   since MS             milliseconds since a result of now_ms, divided by $TEST_SLOW
#   switches PID...      voluntary context switches, summed
#   memory PID           memory of its own in KiB
#   fds PID              number of open descriptors
#   children PID         every descendant, zombies included
#   listens NS PORT      true if a TCP socket listens there
#   program_sources      prints the .c files of the program but nsfwd.c
#   rows                 reads a table from stdin; strips the space around "|"
#                        and empty lines
#   for_nobody           opens $BATS_TEST_TMPDIR and new sockets to all users,
#                        because mappers, which connect to them, are nobody
#   sanitized            true if $NSFWD is a build with sanitizers, which has no
#                        seccomp filters
#   call NUMBER ARG...   prints the result of a system call, or the name of the errno,
#                        to learn what this kernel has
#   needs PROGRAM...     skips the test where one of them is missing
#   fail TEXT            prints TEXT and fails
#
#   oracle               the checks after each test (see there)

# bats(1) calls a trap before each command, to know the line of one that fails, which
# takes 300 times as long as the command. The trap of errors knows the line, too.
set +T
bats_error_trap() {
	bats_check_status_from_trap
	bats_capture_stack_trace
	BATS_DEBUG_LAST_STACK_TRACE_IS_VALID=1
}

: "${NSFWD:=$BATS_TEST_DIRNAME/../nsfwd}" "${TEST_SLOW:=1}"
PEER=$BATS_TEST_DIRNAME/peer.py
FAULTS=$BATS_TEST_DIRNAME/faults.py
LOG=$BATS_TEST_TMPDIR/log
NSFWD_PID=
NSFWD_STATUS=
NSFWD_SESSION=
WRAP=()
: "${WORKERS:=}"
NAMESPACES=()
declare -gA SPAWNED=() FDS=()

setup() {
	ns ns1 ns2
}

teardown() {
	oracle
}

needs() {
	local program
	for program; do
		command -v "$program" >/dev/null || skip "no $program here"
	done
}

call() {
	python3 -c 'import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall(*map(int, sys.argv[1:]))
print(errno.errorcode[ctypes.get_errno()] if result < 0 else result)' "$@"
}

listens() {
	in_ns "$1" ss -Hltn | grep -q ":$2 "
}

freeze() {
	local pid
	FROZEN=()
	for pid in "$NSFWD_PID" $(mappers) "$@"; do
		kill -STOP "$pid" || return
		FROZEN+=("$pid")
		wait_until 5 stopped_is "$pid" || return
	done
}

stopped_is() {
	grep -q '^State:.[Tt]' "/proc/$1/status"
}

# The server at last, because it continues what is stopped, and counts that.
thaw() {
	local n
	for ((n = ${#FROZEN[@]} - 1; n >= 0; n--)); do
		kill -CONT "${FROZEN[n]}" || return
	done
}

fail() {
	echo "$*" >&2
	return 1
}

program_sources() {
	local top=$BATS_TEST_DIRNAME/.. rooms
	read -ra rooms < <(sed -n 's/^ROOMS = //p' "$top/Makefile")
	find "$top"/{netns,relay}.c "${rooms[@]/#/$top/}" -name '*.c'
}

rows() {
	sed -E 's/ *\| */|/g; /^$/d'
}

# Namespaces.

ns() {
	local name
	for name; do
		ip netns add "$name" || return
		NAMESPACES+=("$name")
		in_ns "$name" ip link set lo up || return
	done
}

in_ns() {
	local name=$1
	shift
	if [ "$name" = self ]; then
		"$@"
	else
		nsenter --net="/run/netns/$name" -- "$@"
	fi
}

small_buffers() {
	# shellcheck disable=SC2016 # for the inner shell
	in_ns "$1" sh -c 'for way in rmem wmem; do
		echo 4096 16384 65536 >/proc/sys/net/ipv4/tcp_$way
	done'
}

# Executes CMD with the descriptors 0, 1, 2 and 9 only, so that a background job
# holds no pipe of bats.
alone() {
	local fd
	for fd in "/proc/$BASHPID/fd/"*; do
		fd=${fd##*/}
		case $fd in
		[0129]) ;;
		*) exec {fd}>&- ;;
		esac
	done
	exec "$@"
}

# Measures.

now_ms() {
	local t=${EPOCHREALTIME/[.,]/}
	echo $((t / 1000))
}

# It pauses by sleep(1): a read with a time limit of 20 ms, as bash 5.2 has it, leaves
# SIGCHLD blocked if the limit is over before it waits, as on a slow machine, and
# then no process ends.
wait_until() {
	local span=$1 part=${1#*.}000 end
	shift
	[[ $span == *.* ]] || part=000
	end=$((${EPOCHREALTIME/[.,]/} + TEST_SLOW * 10#${span%.*}${part:0:3}000))
	until "$@"; do
		[ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || fail "not within $span s: $*" || return
		sleep "0.0$((TEST_SLOW > 9 ? 9 : TEST_SLOW))"
	done
}

# dns_link NS: links this namespace (10.99.0.1) to NS (10.99.0.2), and gives NS the
# addresses of name servers, 10.53.0.0 to 10.53.0.15.
dns_link() {
	ip link add name dns0 type veth peer name dns1 netns "$1"
	ip addr add 10.99.0.1/24 dev dns0
	ip link set dns0 up
	ip -n "$1" addr add 10.99.0.2/24 dev dns1
	ip -n "$1" link set dns1 up
	ip -n "$1" addr add 10.53.0.0/28 dev lo
}

cpu_ticks() {
	local pid line sum=0
	local -a field
	for pid; do
		{ read -r line <"/proc/$pid/stat"; } 2>/dev/null || continue
		read -ra field <<<"${line##*) }"
		sum=$((sum + field[11] + field[12]))
	done
	echo "$sum"
}

rests() {
	local span=$1 most=$2 before n
	shift 2
	for _ in {1..5}; do
		before=$(cpu_ticks "$@")
		sleep "$span"
		n=$(($(cpu_ticks "$@") - before))
		[ "$n" -gt "$most" ] || return 0
	done
	fail "$n ticks in $span s, not $most, by $*"
}

sleep_on() {
	local span=$1 before n
	shift
	for _ in 1 2 3; do
		before=$(($(switches "$@") + $(cpu_ticks "$@")))
		sleep "$span"
		n=$(($(switches "$@") + $(cpu_ticks "$@") - before))
		[ "$n" != 0 ] || return 0
	done
	fail "$n switches and ticks in $span s: $*"
}

since() {
	echo $((($(now_ms) - $1) / TEST_SLOW))
}

# Counted by the kernel; the status file has an estimate. Not the pages of files,
# because the kernel takes and returns these as it likes.
memory() {
	awk '$1 == "Anonymous:" { print $2 }' "/proc/$1/smaps_rollup"
}

switches() {
	local -a files=("${@/#//proc/}")
	awk '$1 == "voluntary_ctxt_switches:" { sum += $2 }
		END { print sum + 0 }' "${files[@]/%//status}"
}

fds() {
	local list
	list=("/proc/$1/fd/"*)
	[ -d "/proc/$1/fd" ] && echo "${#list[@]}"
}

# Prints pid, parent, session and state of every process but the helpers of ns_call(),
# which no signal announces: they are gone in a moment.
processes() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk '{
		pid = $1
		sub(/^.*\) /, "")
		split($0, f, " ")
		if (f[36] != 0)
			print pid, f[2], f[4], f[1]
	}'
}

children() {
	processes | awk -v root="$1" '
	{ parent[$1] = $2 }
	END {
		below[root] = 1
		do {
			more = 0
			for (p in parent)
				if (!(p in below) && (parent[p] in below)) {
					below[p] = 1
					print p
					more = 1
				}
		} while (more)
	}'
}

mappers() {
	processes | awk -v server="$NSFWD_PID" '$2 == server { print $1 }'
}

# Counts by descriptors: a worker holds two sockets for each connection.
worker_connections() {
	local pid n
	for pid in $(workers); do
		n=$(fds "$pid") || continue
		n=$(((n - ${FDS[$pid]:-$n} + 1) / 2))
		while [ $((n--)) -gt 0 ]; do
			echo "$pid"
		done
	done
}

# The opener of a proxy is a child of a mapper, too.
workers() {
	processes | awk -v server="$NSFWD_PID" '
	{ parent[$1] = $2 }
	END {
		for (p in parent)
			if (parent[p] in parent && parent[parent[p]] == server)
				print p
	}' | titled -L '^nsfwd: opener '
}

# titled -l|-L ERE: passes on the pids whose title matches, or does not.
titled() {
	local pids
	mapfile -t pids
	[ "${#pids[@]}" = 0 ] || (
		cd /proc && grep "$1zE" -- "$2" "${pids[@]/%//cmdline}" 2>/dev/null |
			cut -d/ -f1
	) || :
}

# kept [PORT]: prints the pids of the processes that have no client: all, or of a map.
kept() {
	workers | titled -l "^nsfwd: worker of .*${1-}="
}

connections() {
	[ -z "$WORKERS" ] || {
		worker_connections
		return
	}
	workers
}

no_connections() {
	[ -z "$(connections)" ]
}

connections_are() {
	[ "$(connections | wc -l)" = "$1" ]
}

mappers_are() {
	[ "$(mappers | wc -l)" = "$1" ]
}

no_zombies() {
	! processes | grep -q " $NSFWD_SESSION Z$"
}

traced() {
	grep -q '^TracerPid:.*[1-9]' "/proc/$1/status"
}

for_nobody() {
	umask 0
	chmod 711 "$BATS_RUN_TMPDIR"
}

sanitized() {
	grep -q __asan_init "$NSFWD"
}

tree() {
	[ -z "$NSFWD_SESSION" ] || processes |
		awk -v s="$NSFWD_SESSION" '$3 == s && $4 != "Z" { print $1 }'
}

# nsfwd.

# Reads the ready line, and then the end, from a FIFO.
wait_ready() {
	local line rest
	{
		IFS= read -rt $((5 * TEST_SLOW)) line || return
		[[ $line == ready || $line == 'ready: '* ]] || return
		read -rt $((5 * TEST_SLOW)) rest
		[ $? = 1 ] && [ -z "$rest" ]
	} <"$1"
}

start_nsfwd() {
	local fifo=$BATS_TEST_TMPDIR/ready.nsfwd
	rm -f "$fifo"
	mkfifo "$fifo"
	# In a session of its own, by which tree() finds all its processes.
	alone setsid -- "${WRAP[@]}" "$NSFWD" --ready-fd 9 \
		${WORKERS:+--workers "$WORKERS"} "$@" \
		</dev/null >>"$LOG" 2>&1 9>"$fifo" &
	NSFWD_PID=$!
	NSFWD_SESSION=$!
	wait_ready "$fifo" || {
		show_log
		fail "nsfwd $*: not ready within 5 s"
		return
	}
	record_fds
}

# Workers start after the ready line, and sleep when they serve. A UDP map has none.
workers_stand() {
	local pid line pools=0
	local -a pids
	for pid in $(mappers); do
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q 'nsfwd: map udp:' ||
			pools=$((pools + 1))
	done
	mapfile -t pids < <(workers)
	[ "${#pids[@]}" = $((WORKERS * pools)) ] || return
	for pid in "${pids[@]}"; do
		{ read -r line <"/proc/$pid/stat"; } 2>/dev/null || return
		[[ $line == *") S "* ]] || return
	done
}

record_fds() {
	[ -z "$WORKERS" ] || wait_until 5 workers_stand || return
	wait_until 5 fds_recorded
}

# True if none of the processes has run while they were counted, because one that does
# holds more for a moment: a namespace that the server checks, for example.
fds_recorded() {
	local pid before
	local -a pids
	FDS=()
	mapfile -t pids < <(echo "$NSFWD_PID"; mappers; [ -z "$WORKERS" ] || workers)
	before=$(asleep "${pids[@]}") || return
	for pid in "${pids[@]}"; do
		FDS[$pid]=$(fds "$pid") || return
	done
	[ "$(asleep "${pids[@]}")" = "$before" ]
}

# Prints how often each process has gone to sleep; fails if one of them runs or is in the
# midst of a system call.
asleep() {
	local -a files=("${@/#//proc/}")
	awk '$1 == "State:" && $2 ~ /[RDt]/ { busy = 1 }
		$1 == "voluntary_ctxt_switches:" { print FILENAME, $2 }
		END { exit busy }' "${files[@]/%//status}" 2>/dev/null
}

forget_mappers() {
	local pid
	for pid in "${!FDS[@]}"; do
		[ "$pid" = "$NSFWD_PID" ] || unset "FDS[$pid]"
	done
}

no_flows() {
	local pid
	for pid in "${!FDS[@]}"; do
		[ "$(fds "$pid")" = "${FDS[$pid]}" ] || return
	done
}

start_fails() {
	local want=$1 line=$2 status=0 text=$BATS_TEST_TMPDIR/start.out
	shift 2
	timeout -k 1 $((10 * TEST_SLOW)) "${WRAP[@]}" "$NSFWD" "$@" \
		</dev/null >"$text" 2>&1 3>&- || status=$?
	cat "$text"
	[ "$status" = "$want" ] ||
		fail "nsfwd $*: status $status, not $want" || return
	! grep -v '^nsfwd: ' "$text" || fail "a line without 'nsfwd: '" || return
	grep -Eq -- "$line" "$text" || fail "no line matches $line"
}

hup() {
	local line=${1:-reloaded} n
	n=$(grep -cE -- "$line" "$LOG" || true)
	kill -HUP "$NSFWD_PID"
	wait_until 5 logged "$line" $((n + 1))
}

nsfwd_ended() {
	! kill -0 "$NSFWD_PID" 2>/dev/null
}

wait_nsfwd() {
	wait_until "$1" nsfwd_ended || return
	NSFWD_STATUS=0
	wait "$NSFWD_PID" || NSFWD_STATUS=$?
	NSFWD_PID=
}

stop_nsfwd() {
	kill -TERM "$NSFWD_PID" || return
	wait_nsfwd "${1:-5}" || return
	[ "$NSFWD_STATUS" = 0 ] || fail "nsfwd: exit status $NSFWD_STATUS"
}

logged() {
	[ "$(grep -Ec -- "$1" "$LOG")" -ge "${2:-1}" ]
}

show_log() {
	sed 's/^/log: /' "$LOG" | tail -n 40
}

# Other processes.

# Under another key the oracle finds an older process of this name, too.
spawned() {
	[ -z "${SPAWNED[$1]-}" ] || SPAWNED["$1 ${SPAWNED[$1]}"]=${SPAWNED[$1]}
	SPAWNED[$1]=$2
}

spawn() {
	local where=$1 name=$2
	local -a enter=()
	shift 2
	[ "$where" = self ] || enter=(nsenter --net="/run/netns/$where" --)
	# At once, because nobody may read what an older process of this name has said.
	: >"$BATS_TEST_TMPDIR/$name.out"
	alone "${enter[@]}" "$@" </dev/null \
		>"$BATS_TEST_TMPDIR/$name.out" 2>&1 &
	spawned "$name" $!
}

spawn_ready() {
	local where=$1 name=$2 fifo=$BATS_TEST_TMPDIR/ready.$2
	local -a enter=()
	shift 2
	[ "$where" = self ] || enter=(nsenter --net="/run/netns/$where" --)
	rm -f "$fifo"
	mkfifo "$fifo"
	alone env READY_FD=9 "${enter[@]}" "$@" </dev/null \
		>"$BATS_TEST_TMPDIR/$name.out" 2>&1 9>"$fifo" &
	spawned "$name" $!
	wait_ready "$fifo" || {
		output_of "$name"
		fail "$name: not ready within 5 s"
	}
}

peer_server() {
	local where=$1 name=$2
	shift 2
	spawn_ready "$where" "$name" python3 "$PEER" "$@"
}

peer_start() {
	local where=$1 name=$2
	shift 2
	spawn "$where" "$name" python3 "$PEER" "$@"
}

peer() {
	local where=$1
	shift
	in_ns "$where" python3 "$PEER" "$@" 3>&- 4>&-
}

named_server() {
	spawn_ready "$1" "$2" python3 "$FAULTS" who "${@:2}"
}

asks() {
	in_ns "$1" python3 "$FAULTS" ask "${@:2}" 3>&- 4>&-
}

udp_echo() {
	spawn_ready "$1" "$2" python3 -c '
import os, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET,
                  socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
os.write(9, b"ready\n")
os.close(9)
while True:
    s.sendto(*s.recvfrom(65536))' "$3" "$4"
}

web_server() {
	local dir=$BATS_TEST_TMPDIR/web-$1
	mkdir -p "$dir"
	echo "this is $1" >"$dir/index.html"
	spawn "$1" "web-$1-$3" python3 -m http.server --bind "$2" \
		--directory "$dir" "$3"
	wait_until 5 listens "$1" "$3"
}

fetch() {
	in_ns "$1" curl --silent --show-error --fail --max-time $((60 * TEST_SLOW)) "${@:2}" 3>&-
}

crowd_is() {
	tail -n 1 "$BATS_TEST_TMPDIR/$1.out" | grep -Eq -- "$2"
}

printed() {
	[ "$(grep -cx -- "$2" "$BATS_TEST_TMPDIR/$1.out")" = "${3:-1}" ]
}

kill_spawned() {
	kill "-${2:-KILL}" "${SPAWNED[$1]}"
	wait "${SPAWNED[$1]}" 2>/dev/null || true
	unset "SPAWNED[$1]"
}

pid_of() {
	echo "${SPAWNED[$1]}"
}

output_of() {
	sed "s/^/$1: /" "$BATS_TEST_TMPDIR/$1.out"
}

ended() {
	! kill -0 "$1" 2>/dev/null
}

reap() {
	local span=30 name status bad=0
	local -a names=()
	while [ $# -gt 0 ]; do
		case $1 in
		-t)
			span=$2
			shift
			;;
		*) names+=("$1") ;;
		esac
		shift
	done
	for name in "${names[@]}"; do
		status=0
		if wait_until "$span" ended "${SPAWNED[$name]}"; then
			wait "${SPAWNED[$name]}" || status=$?
			unset "SPAWNED[$name]"
		else
			status=124
		fi
		[ "$status" = 0 ] || {
			output_of "$name"
			echo "$name: exit status $status" >&2
			bad=1
		}
	done
	return "$bad"
}

# The oracle kills the spawned processes and then checks that within 2 s no
# connection process and no zombie is left, that server and mappers hold as many
# descriptors as after the start, and that all processes together rest: they use at
# most 1 tick in a quarter of a second. TERM ends the server with status 0, and no
# process is left; no sanitizer reported anything, and no process was killed
# because a filter did not know a system call. A test that stopped nsfwd itself
# has cleared NSFWD_PID: then only the checks after TERM are made.
oracle() {
	local bad=0 name pid
	for name in "${!SPAWNED[@]}"; do
		kill -KILL "${SPAWNED[$name]}" 2>/dev/null
		wait "${SPAWNED[$name]}" 2>/dev/null
	done
	SPAWNED=()

	if [ -n "$NSFWD_PID" ]; then
		oracle_live || bad=1
	fi
	if [ -n "$NSFWD_PID" ]; then
		stop_nsfwd 5 || bad=1
	fi
	wait_until 2 tree_ended || {
		bad=1
		echo "oracle: still there: $(tree | xargs)"
		for pid in $(tree); do
			kill -KILL "$pid" 2>/dev/null
		done
	}
	! grep -Eq 'Sanitizer|runtime error:' "$LOG" 2>/dev/null || {
		bad=1
		echo "oracle: a sanitizer report"
	}
	! grep -Eq 'signal[ =]31\>' "$LOG" 2>/dev/null || {
		bad=1
		echo "oracle: a system call that a filter did not know (SIGSYS)"
	}
	for name in "${NAMESPACES[@]}"; do
		ip netns del "$name" || bad=1
	done
	NAMESPACES=()
	if [ "$bad" != 0 ] || [ -z "${BATS_TEST_COMPLETED-}" ]; then
		[ ! -e "$LOG" ] || show_log
	fi
	return "$bad"
}

tree_ended() {
	[ -z "$(tree)" ]
}

# True if server and mappers hold as many descriptors as record_fds counted.
fds_are_back() {
	local pid count
	for pid in "${!FDS[@]}"; do
		count=$(fds "$pid") || continue
		# Without its namespace a map has no mapper, and the server no channel.
		if [ "$count" -lt "${FDS[$pid]}" ] &&
			logged 'waits for namespace'; then
			continue
		fi
		[ "$count" = "${FDS[$pid]}" ] || {
			OTHER="pid $pid has $count descriptors, not ${FDS[$pid]}:
				$(find "/proc/$pid/fd/" -type l -printf '%f %l\n' | head -n 20)"
			return 1
		}
	done
}

oracle_live() {
	local bad=0 OTHER
	local -a pids
	nsfwd_ended && {
		wait_nsfwd 0 || true
		fail "oracle: the server has exited, status $NSFWD_STATUS"
		return
	}
	wait_until 2 no_connections || {
		bad=1
		echo "oracle: connections left: $(connections | xargs)"
	}
	wait_until 2 no_zombies || bad=1
	wait_until 2 fds_are_back || {
		bad=1
		echo "oracle: $OTHER"
	}
	mapfile -t pids < <(tree)
	rests 0.25 1 "${pids[@]}" || bad=1
	return "$bad"
}

# Runs CMD in a /dev of its own, where /dev/log can be.
own_dev() {
	unshare -m --propagation private bash -c '
	mkdir -p /run/dev && mount --rbind /dev /run/dev && mount -t tmpfs -o mode=755 dev /dev
	for name in null zero full random urandom; do
		touch "/dev/$name" && mount --bind "/run/dev/$name" "/dev/$name"
	done
	ln -s /proc/self/fd /dev/fd
	"$@"' - "$@"
}
