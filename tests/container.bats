#!/usr/bin/env bats
# Containers, units and machines by name, without a runtime: container.py has Docker's
# API, podman's files, and containers. tests/vm/container_names.sh has real ones.

bats_require_minimum_version 1.5.0
load helpers

ID1=3f2a9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd
ID2=3f2b9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd
ID3=77aa9c1b2d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd

setup() {
	SOCK=$BATS_TEST_TMPDIR/sock
	export DOCKER_HOST=unix://$SOCK
	unset CONTAINER_HOST XDG_RUNTIME_DIR
}

# runtime COMMAND...: starts container.py and has it carry out commands.
runtime() {
	COMMANDS=0
	mkfifo "$BATS_TEST_TMPDIR/commands"
	exec {FEED}<>"$BATS_TEST_TMPDIR/commands"
	# shellcheck disable=SC2016 # for the inner shell
	spawn_ready self runtime bash -c 'exec "$@" <"$0"' "$BATS_TEST_TMPDIR/commands" \
		python3 "$BATS_TEST_DIRNAME/container.py" "$SOCK" $ID1 $ID2 $ID3
	tell "$@"
}

tell() {
	local command
	[ $# -gt 0 ] || return 0
	for command; do
		echo "$command" >&"$FEED"
		COMMANDS=$((COMMANDS + 1))
	done
	wait_until 5 carried_out
}

carried_out() {
	[ "$(cat "$SOCK.done" 2>/dev/null)" = "$COMMANDS" ]
}

trackers() {
	local pid
	for pid in $(mappers); do
		tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null |
			grep -qE '^nsfwd: (docker|podman|unit|machine)' && echo "$pid"
	done
	return 0
}

# The descriptors of trackers are no matter of the oracle, because they differ.
start() {
	local pid
	start_nsfwd "$@" || return
	for pid in $(trackers); do
		unset "FDS[$pid]"
	done
}

# says PORT TEXT: true if a connection to that port gets TEXT.
says() {
	local text=
	{ exec {CLIENT}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return
	read -rt $((5 * TEST_SLOW)) text <&"$CLIENT" || text=
	exec {CLIENT}>&-
	[ "$text" = "$2" ]
}

# restarts NAME N PORT: restarts a container N times, each time until a client that
# retries gets its text, which takes 2 s at most.
restarts() {
	COMMANDS=$((COMMANDS + $2))
	python3 - "$@" >&"$FEED" <<-'END'
		import os, socket, sys, time
		name, n, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		for i in range(2, n + 2):
		    print("restart", name, flush=True)
		    deadline = time.monotonic() + 2 * int(os.environ["TEST_SLOW"])
		    text = None
		    while text != f"{name}-{i}\n":
		        if time.monotonic() > deadline:
		            sys.exit(f"restart {i}: {text}")
		        try:
		            with socket.create_connection(("127.0.0.1", port), 2) as s:
		                text = s.recv(99).decode()
		        except OSError:
		            time.sleep(0.005)
	END
}

@test "a container is found, and followed over 20 restarts and other changes" {
	local pid
	runtime 'run web' 'run web2'
	pid=$(cat "$SOCK.web")
	start 8080=docker:web@80 8082=docker:web2@80 "8083=docker:${ID1:0:12}@80"
	logged "docker:web is ${ID1:0:12}, process $pid$"
	says 8080 web-1
	says 8082 web2-1
	says 8083 web-1
	restarts web 20 8080
	wait_until 2 says 8083 web-21
	says 8082 web2-1
	tell 'rename web2 old' 'run web2'
	wait_until 2 says 8082 web2-1
	tell 'restart web2'
	wait_until 2 says 8082 web2-2
	tell 'rm web2'
	wait_until 2 logged "'8082=.*waits for namespace 'docker:web2' "
	tell 'run web2'
	wait_until 2 says 8082 web2-1
	kill -USR1 "$NSFWD_PID"
	wait_until 2 logged "table:   docker:web is ${ID1:0:12}, process"
}

@test "connections of a container that ended end; it is waited for" {
	runtime
	start --wait --drain 0 8080=docker:web@80 docker:web@81=127.0.0.1:9
	unset "FDS[$NSFWD_PID]" # it has more when nothing waits
	logged "waits for namespace 'docker:web' \(no such container; these run: none\)"
	tell 'run web'
	wait_until 2 says 8080 web-1
	in_ns self python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", 8080))
s.recv(99)
print("open", flush=True)
s.settimeout(20)
try:
    s.recv(1)
except ConnectionResetError:
    pass
print("end")' >"$BATS_TEST_TMPDIR/client" &
	wait_until 5 grep -q open "$BATS_TEST_TMPDIR/client"
	tell 'stop web'
	wait $!
	grep -q end "$BATS_TEST_TMPDIR/client"
	wait_until 2 logged "waits for namespace 'docker:web' .* has ended" 2
	tell 'restart web'
	wait_until 2 says 8080 web-2
}

@test "answers that are wrong, cut, too long or of another process" {
	local mode why pid
	runtime 'run web' 'run web2'
	while IFS='|' read -r mode why; do
		tell "mode $mode"
		start_fails 2 "no namespace 'docker:web' \(.*$why.*--wait" 8080=docker:web@80
	done < <(rows <<-'END'
		cut       | the answer is wrong, or cut
		cut-chunk | the answer is wrong, or cut
		big       | the answer is too long
		html      | the answer is wrong, or cut
		length    | the answer is wrong, or cut
		deep      | the answer has no number
		empty     | the answer has no number
		close     | the answer is wrong, or cut
		id        | the answer has no number
		types     | the answer has no number
		negative  | the answer has no number
		wide      | the answer has no number
		zero      | it does not run
		one       | process 1 is not of that container
		status    | the runtime says: status 500
	END
	)
	tell 'mode well' "pid web $$"
	start_fails 2 "process $$ is not of that container" 8080=docker:web@80
	run -2 unshare -p --fork --mount-proc "$NSFWD" --check 8080=docker:web2@80
	[[ $output == *'its process has number '*'docker run --pid=host'* ]]
	tell 'pid web 4194304'
	start_fails 2 "its process 4194304 has ended" 8080=docker:web@80
	start_fails 2 'multiple IDs found' 8080=docker:3f2@80
	start_fails 2 'no such container; these run: web, web2; --wait' 8080=docker:no@80
	kill_spawned runtime
	wait_until 5 eval "! socat -u /dev/null 'UNIX-CONNECT:$SOCK' 2>/dev/null"
	start_fails 2 'nothing listens on' 8080=docker:web@80
	run -1 "$NSFWD" --test 8080=docker:web@80
	[[ $output == *"cannot enter namespace 'docker:web' (nothing listens on "* ]]
	DOCKER_HOST=tcp://h:1 start_fails 2 'DOCKER_HOST is not unix:///PATH' 8080=docker:web@80
	start_fails 2 "'docker:a/b': a name has letters" 8080=docker:a/b@80
}

# Each look at the runtime takes 2 s.
@test "a runtime that hangs delays no other map, and is asked again" {
	ns ns1
	named_server ns1 other 127.0.0.1/80
	runtime 'run web' 'mode hang'
	start --wait 8080=docker:web@80 8081=ns1@80
	unset "FDS[$NSFWD_PID]"
	logged 'no answer in time'
	asks self 127.0.0.1/8081=other
	tell 'mode slow'
	asks self 127.0.0.1/8081=other
	tell 'mode well'
	wait_until 6 says 8080 web-1
	tell 'mode hang' 'restart web'
	asks self 127.0.0.1/8081=other
	tell 'mode well'
	wait_until 6 says 8080 web-2
}

@test "a container that its runtime does not answer for delays no other" {
	runtime 'run web' 'run web2' 'stuck web2'
	start --wait 8080=docker:web@80 8082=docker:web2@80
	unset "FDS[$NSFWD_PID]"
	logged 'no answer in time'
	wait_until 6 says 8080 web-1
}

# idle PID...: true if none of them has run for 1.2 s.
idle() {
	local before
	before=$(switches "$@")
	sleep 1.2
	[ "$(switches "$@")" = "$before" ]
}

@test "no wake-up while a container runs; a tracker that ends is started anew" {
	local tracker
	runtime 'run web'
	start 8080=docker:web@80
	tracker=$(trackers)
	wait_until 8 idle "$NSFWD_PID" "$tracker"
	kill -KILL "$tracker"
	wait_until 3 logged 'the tracker of docker: has ended'
	tell 'restart web'
	wait_until 3 says 8080 web-2
	[ "$(trackers | wc -l)" = 1 ]
	# Without events, one look a second.
	tell 'events off' 'restart web'
	wait_until 3 says 8080 web-3
	tell 'events on'
	tracker=$(trackers)
	wait_until 8 idle "$NSFWD_PID" "$tracker"
	# Without a runtime, as while Docker is upgraded, the process is served.
	local before
	before=$(switches "$tracker")
	mv "$SOCK" "$SOCK.away"
	tell 'events off'
	looked() { [ "$(switches "$tracker")" -gt $((before + 2)) ]; }
	wait_until 5 looked
	says 8080 web-3
	[ "$(grep -c "nothing listens on $SOCK" "$LOG")" = 0 ]
	mv "$SOCK.away" "$SOCK"
	tell 'events on' 'restart web'
	wait_until 3 says 8080 web-4
}

@test "a container that starts while the server has no descriptors" {
	local pid free=0
	runtime 'run web'
	start 8080=docker:web@80
	while [ -e "/proc/$NSFWD_PID/fd/$free" ]; do free=$((free + 1)); done
	prlimit --pid "$NSFWD_PID" --nofile=$free:
	tell 'restart web'
	pid=$(cat "$SOCK.web")
	wait_until 3 logged "docker:web is .* process $pid$"
	# It sleeps when it has tried.
	wait_until 3 grep -q '^State:.S' "/proc/$NSFWD_PID/status"
	prlimit --pid "$NSFWD_PID" --nofile=1024:
	wait_until 3 says 8080 web-2
}

# More than fit into the buffer of the tracker's socket, or a page of memory.
@test "hundreds of names: each gets an answer" {
	local i
	for i in {1..300}; do
		echo "$((10000 + i))=docker:name$i@80"
	done >"$BATS_TEST_TMPDIR/conf"
	start --wait --config "$BATS_TEST_TMPDIR/conf"
	[ "$(grep -c 'waits for .*nothing listens on' "$LOG")" = 300 ]
	[ "$(grep -Evc 'waits for|--user|ready|built for tests' "$LOG")" = 0 ]
	[ "$(trackers | wc -l)" = 1 ]
}

@test "reload: a container more, and none" {
	runtime 'run web'
	ns ns1
	named_server ns1 other 127.0.0.1/80
	echo 8081=ns1@80 >"$BATS_TEST_TMPDIR/conf"
	start --config "$BATS_TEST_TMPDIR/conf"
	[ -z "$(trackers)" ]
	echo 8080=docker:web@80 >>"$BATS_TEST_TMPDIR/conf"
	hup
	says 8080 web-1
	tell 'restart web'
	wait_until 2 says 8080 web-2
	echo 8081=ns1@80 >"$BATS_TEST_TMPDIR/conf"
	hup
	no_trackers() { [ -z "$(trackers)" ]; }
	wait_until 5 no_trackers
	asks self 127.0.0.1/8081=other
}

@test "podman: by its files" {
	local graph=/var/lib/containers/storage
	mount -t tmpfs tmpfs /var/lib
	runtime 'run web' 'run web2' "files $graph /run/containers/storage"
	start --wait 8080=podman:web@80 8081=podman:late@80 "8082=podman:${ID2:0:5}@80"
	unset "FDS[$NSFWD_PID]" # late waits
	says 8080 web-1
	says 8082 web2-1
	logged 'no such container; these run: web, web2\)'
	tell 'restart web' 'run late'
	wait_until 2 says 8080 web-2
	wait_until 2 says 8081 late-1
	tell 'rename web gone' 'rename web2 web'
	wait_until 2 says 8080 web2-1
	start_fails 2 'several containers' 8089=podman:3f2@80
	echo '[{]' >$graph/overlay-containers/containers.json
	start_fails 2 'no JSON' 8089=podman:web@80
	# shellcheck disable=SC2016 # for the inner shell
	run -2 unshare -m sh -c 'mount -t tmpfs tmpfs /usr/share && mkdir /usr/share/containers &&
		printf "[storage]\n graphroot = \"/none\"\n" >/usr/share/containers/storage.conf &&
		exec "$NSFWD" --check 8089=podman:web@80'
	[[ $output == *"no containers in /none, and no service"* ]]
	umount /var/lib
}

# The control groups are files here, and that of a process one that is mounted there.
# in_group PID GROUP: makes the process the one of a group.
in_group() {
	mkdir -p "/sys/fs/cgroup$2"
	echo "0::$2" >"$BATS_TEST_TMPDIR/cgroup.$1"
	mount --bind "$BATS_TEST_TMPDIR/cgroup.$1" "/proc/$1/cgroup"
	echo "$1" >"/sys/fs/cgroup$2/cgroup.procs"
}

@test "units and machines" {
	local unit=/system.slice/a.slice/site.service scope=/machine.slice/machine-deb.scope
	mount -t tmpfs tmpfs /sys/fs/cgroup
	mkdir -p /run/systemd/machines /sys/fs/cgroup/system.slice/a.slice
	runtime 'run u' 'run m'
	in_group "$(cat "$SOCK.u")" "$unit"
	in_group "$(cat "$SOCK.m")" "$scope"
	printf 'NAME=deb\nUNIT=machine-deb.scope\nLEADER=%s\n' "$(cat "$SOCK.m")" \
		>/run/systemd/machines/deb
	start 8080=unit:site@80 8081=unit:site.service@80 8082=machine:deb@80
	says 8080 u-1
	says 8081 u-1
	says 8082 m-1
	mapfile -t pids < <(trackers)
	wait_until 8 idle "${pids[@]}"
	tell 'restart u' 'restart m'
	in_group "$(cat "$SOCK.u")" "$unit"
	in_group "$(cat "$SOCK.m")" "$scope"
	printf 'NAME=deb\nUNIT=machine-deb.scope\nLEADER=%s\n' "$(cat "$SOCK.m")" \
		>/run/systemd/machines/deb
	wait_until 3 says 8080 u-2
	wait_until 3 says 8082 m-2
	start_fails 2 'no unit other.service runs' 8089=unit:other@80
	# Of systemd 255 and later, before the process executes the unit's program.
	local early
	for early in systemd systemd-executo '(x)'; do
		tell "run $early"
		in_group "$(cat "$SOCK.$early")" /system.slice/x@me@host.service
		start_fails 2 'it has no process yet' 8089=unit:x@me@host@80
	done
	tell 'run x'
	in_group "$(cat "$SOCK.x")" /system.slice/x@me@host.service
	"$NSFWD" --check 8089=unit:x@me@host@80
	start_fails 2 'no such machine; these run: deb;' 8089=machine:other@80
	printf 'LEADER=%s\nUNIT=machine-deb.scope\n' $$ >/run/systemd/machines/deb
	start_fails 2 "process $$ is not of that unit" 8089=machine:deb@80
	umount -R /sys/fs/cgroup
}
