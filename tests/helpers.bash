# What the tests share. A test file begins with `load helpers`; tests/run runs
# it. Every test gets two namespaces, ns1 and ns2, that hold nothing but lo and
# have no link between them, and ends with the oracle; a file that wants
# something else defines its own setup() or teardown() after loading this.
#
# Where:
#   ns NAME...           makes network namespaces with lo up, addressed as
#                        /run/netns/NAME; the oracle deletes them
#   in_ns NAME CMD...    runs CMD in a namespace; "self" is the tests' own, the
#                        one that nsfwd is started in
#
# nsfwd:
#   start_nsfwd ARG...   starts $NSFWD with --ready-fd and waits at most 5 s for
#                        the ready line and the end of that descriptor; sets
#                        NSFWD_PID and LOG, calls record_fds. Not under `run`.
#                        Runs "${WRAP[@]}" before $NSFWD when that array is set
#                        (`WRAP=(prlimit --nofile=20)`; it must exec)
#   record_fds           remembers the descriptor counts of server and mappers
#   stop_nsfwd [SECONDS] sends TERM; fails if exit status 0 does not come in
#                        time (5 s); clears NSFWD_PID
#   wait_nsfwd SECONDS   waits for the server's end without a signal; sets
#                        NSFWD_STATUS, clears NSFWD_PID; fails if it lives on
#                        With WORKERS=N in the environment it has N for each
#                        map, and tests that are tagged so run like that, too
#   mappers, connections print the pids of each kind, zombies included; a worker's
#                        as often as it has connections
#   freeze PID...        stops the server, its mappers and these, so that nobody
#                        sends the SIGCONT that a stopped child gets; thaw ends it
#   tree                 prints every live pid of the last started nsfwd, also
#                        those whose parent is gone
#   logged PATTERN [N]   true if N lines or more (1) of the log match the ERE
#   show_log             prints the end of the log
#
# Other processes (all ended by the oracle):
#   spawn NS NAME CMD... starts CMD in the background in a namespace; output in
#                        $BATS_TEST_TMPDIR/NAME.out
#   spawn_ready NS NAME CMD...  the same, and waits at most 5 s until CMD has
#                        written a line to the descriptor named in $READY_FD
#   peer_server NS NAME ARG...  spawn_ready of tests/peer.py (see there)
#   peer_start NS NAME ARG...   spawn of tests/peer.py
#   peer NS ARG...       tests/peer.py in the foreground
#   reap NAME... [-t S]  waits (30 s at most) for the end of each; fails, showing
#                        the output, if a status is not 0
#   output_of NAME       prints what it has written
#   pid_of NAME          prints its pid
#
# Measures:
#   wait_until SECONDS CMD...   polls CMD every 20 ms until it is true
#   now_ms               a clock in milliseconds
#   cpu_ticks PID...     user and system time, in ticks of 10 ms, summed
#   switches PID...      voluntary context switches, summed
#   fds PID              number of open descriptors
#   children PID         every descendant, zombies included
#   no_connections       true when no connection process is left
#   for_nobody           from here on, sockets in $BATS_TEST_TMPDIR are for all:
#                        mappers, who dial them, are nobody
#   sanitized            true if $NSFWD is a build without filters
#   listens NS PORT      somebody does, over TCP, in that namespace
#   needs PROGRAM...     skips the test where one of them is missing
#   fail TEXT            says TEXT and fails
#
#   own_dev CMD...       runs CMD with a /dev of its own, for /dev/log
#
#   oracle               what every teardown asks (see there)

: "${NSFWD:=$BATS_TEST_DIRNAME/../nsfwd}"
PEER=$BATS_TEST_DIRNAME/peer.py
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

listens() {
	in_ns "$1" ss -Hltn | grep -q ":$2 "
}

freeze() {
	local pid
	FROZEN=("$NSFWD_PID")
	kill -STOP "$NSFWD_PID"
	for pid in $(mappers) "$@"; do
		kill -STOP "$pid"
		FROZEN+=("$pid")
	done
}

thaw() {
	kill -CONT "${FROZEN[@]}"
}

fail() {
	echo "$*" >&2
	return 1
}

# Where.

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

# Becomes CMD with no descriptor but 0, 1, 2 and 9: for a job in the background.
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

wait_until() {
	local span=$1 end
	shift
	end=$(($(now_ms) + $(awk -v s="$span" 'BEGIN { print int(s * 1000) }')))
	until "$@"; do
		if [ "$(now_ms)" -ge "$end" ]; then
			fail "not within $span s: $*"
			return
		fi
		sleep 0.02
	done
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

# pid, parent, session and state of every process
processes() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk '{
		pid = $1
		sub(/^.*\) /, "")
		split($0, f, " ")
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

# Beside what it had at the start, a worker has two sockets for each connection.
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

workers() {
	processes | awk -v server="$NSFWD_PID" '
	{ parent[$1] = $2 }
	END {
		for (p in parent)
			if (parent[p] in parent && parent[parent[p]] == server)
				print p
	}'
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
		IFS= read -rt 5 line || return
		[[ $line == ready || $line == 'ready: '* ]] || return
		read -rt 5 rest
		[ $? = 1 ] && [ -z "$rest" ]
	} <"$1"
}

start_nsfwd() {
	local fifo=$BATS_TEST_TMPDIR/ready.nsfwd
	rm -f "$fifo"
	mkfifo "$fifo"
	# A session of its own, by which tree() finds what is left of it.
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

# They are born after the ready line, and sleep once they serve.
workers_stand() {
	local pid line
	local -a pids
	mapfile -t pids < <(workers)
	[ "${#pids[@]}" = $((WORKERS * $(mappers | wc -l))) ] || return
	for pid in "${pids[@]}"; do
		{ read -r line <"/proc/$pid/stat"; } 2>/dev/null || return
		[[ $line == *") S "* ]] || return
	done
}

record_fds() {
	local pid
	FDS=()
	[ -z "$WORKERS" ] || wait_until 5 workers_stand || return
	for pid in "$NSFWD_PID" $(mappers) ${WORKERS:+$(workers)}; do
		FDS[$pid]=$(fds "$pid")
	done
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

spawn() {
	local where=$1 name=$2
	local -a enter=()
	shift 2
	[ "$where" = self ] || enter=(nsenter --net="/run/netns/$where" --)
	alone "${enter[@]}" "$@" </dev/null \
		>"$BATS_TEST_TMPDIR/$name.out" 2>&1 &
	SPAWNED[$name]=$!
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
	SPAWNED[$name]=$!
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

# The oracle. Once the peers are gone: no connection process is left within
# 2 s, no zombie, server and mappers hold as many descriptors as after the
# start, the whole tree uses at most 2 ticks in half a second; TERM ends the
# server with status 0, no process of it is left, no sanitizer complained, and
# nothing died of a system call that a filter did not know.
# A test that ended nsfwd itself has cleared NSFWD_PID: then only the last two.
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
		echo "oracle: a system call that was not foreseen (SIGSYS)"
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

oracle_live() {
	local bad=0 pid count before after
	local -a pids
	nsfwd_ended && {
		wait_nsfwd 0 || true
		fail "oracle: the server is gone, status $NSFWD_STATUS"
		return
	}
	wait_until 2 no_connections || {
		bad=1
		echo "oracle: connections left: $(connections | xargs)"
	}
	count=$(processes | awk -v s="$NSFWD_SESSION" '
		$3 == s && $4 == "Z" { n++ } END { print n + 0 }')
	[ "$count" = 0 ] || {
		bad=1
		echo "oracle: $count zombies"
	}
	for pid in "${!FDS[@]}"; do
		count=$(fds "$pid") || continue
		# With a namespace goes its mapper, and with that its channel.
		if [ "$count" -lt "${FDS[$pid]}" ] &&
			logged 'waits for namespace'; then
			continue
		fi
		[ "$count" = "${FDS[$pid]}" ] || {
			bad=1
			echo "oracle: pid $pid has $count descriptors, not ${FDS[$pid]}"
			find "/proc/$pid/fd/" -type l -printf "%f %l\n" | head -n 20
		}
	done
	mapfile -t pids < <(tree)
	before=$(cpu_ticks "${pids[@]}")
	sleep 0.5
	after=$(cpu_ticks "${pids[@]}")
	[ $((after - before)) -le 2 ] || {
		bad=1
		echo "oracle: $((after - before)) ticks in 0.5 s of idleness"
	}
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
