#!/usr/bin/env bats
# The files of contrib/: scripts and units of init systems, bash completion.

bats_require_minimum_version 1.5.0
load helpers

CONTRIB=$BATS_TEST_DIRNAME/../contrib

setup() {
	ns ns2
	export CONTRIB NSFWD
	export NSFWD_CONF=/run/nsfwd.conf NSFWD_PIDFILE=/run/nsfwd.pid
	echo "127.0.0.1:8000=ns2@8080" >"$NSFWD_CONF"
}

# strace leaves its child running when it is killed.
teardown() {
	[ ! -e "$NSFWD_PIDFILE" ] || kill "$(cat "$NSFWD_PIDFILE")" || true
	oracle
}

# life SCRIPT...: checks start, status, reload, a broken file, stop.
life() {
	set -e
	trap '[ ! -e /run/nsfwd.pid ] || kill -9 "$(cat /run/nsfwd.pid)"' EXIT
	status=0
	"$@" status || status=$?
	[ "$status" = 3 ]
	"$@" start
	listens self 8000
	"$@" status
	"$@" start
	pid=$(cat /run/nsfwd.pid)
	echo "127.0.0.1:8001=ns2@8081" >>/run/nsfwd.conf
	"$@" reload
	wait_until 5 listens self 8001
	echo "8002=" >>/run/nsfwd.conf
	! "$@" reload || false
	kill -0 "$pid"
	sed -i '$d' /run/nsfwd.conf
	"$@" restart
	listens self 8001
	[ "$(cat /run/nsfwd.pid)" != "$pid" ]
	"$@" stop
	! listens self 8000 || false
	[ ! -e /run/nsfwd.pid ]
	"$@" stop
	# After a kill, status reports it, and start works.
	"$@" start
	kill -9 "$(cat /run/nsfwd.pid)"
	wait_until 5 eval '! listens self 8000'
	status=0
	"$@" status || status=$?
	[ "$status" = 1 ]
	"$@" start
	"$@" stop
	trap - EXIT
}

# beside SCRIPT...: checks a restart with an open connection, then stop.
beside() {
	set -e
	trap '[ ! -e /run/nsfwd.pid ] || kill -9 "$(cat /run/nsfwd.pid)"
		kill $(cat /run/held.pid) 2>/dev/null || true' EXIT
	echo "127.0.0.1:8001=ns2@8080,max=9" >>/run/nsfwd.conf
	"$@" start
	old=$(cat /run/nsfwd.pid)
	rm -f /run/held
	python3 "$SERVICE" hold 127.0.0.1/8000 >/run/held 2>&1 3>&- &
	echo $! >/run/held.pid
	wait_until 2 grep -qx here /run/held
	# There is no listener for a moment, but for less than about a second.
	began=$(now_ms)
	"$@" restart
	echo "restarted after $(($(now_ms) - began)) ms"
	[ "$(since "$began")" -lt 5000 ]
	[ "$(cat /run/nsfwd.pid)" != "$old" ]
	python3 "$SERVICE" follow 1 here 127.0.0.1/8001 3>&-
	# The open connection is served until it ends.
	kill -USR1 "$(cat /run/held.pid)"
	wait_until 2 eval '[ "$(grep -cx here /run/held)" = 2 ]'
	[ -e "/proc/$old" ]
	kill -9 "$(cat /run/held.pid)"
	wait_until 3 ended "$old"
	# With a wrong file, restart leaves the running server alone.
	echo 8002= >>/run/nsfwd.conf
	now=$(cat /run/nsfwd.pid)
	! "$@" restart || false
	[ "$(cat /run/nsfwd.pid)" = "$now" ]
	python3 "$SERVICE" follow 1 here 127.0.0.1/8001 3>&-
	sed -i '$d' /run/nsfwd.conf
	"$@" stop
	trap - EXIT
}

# A target in ns2, and what beside() needs in another shell.
target() {
	named_server ns2 here 127.0.0.1/8080
	export SERVICE=$BATS_TEST_DIRNAME/server.py
	export -f beside listens in_ns wait_until now_ms since fail ended
}

@test "sysv: after a restart the new server serves while the old one drains" {
	target
	own_dev bash -c 'beside "$CONTRIB/nsfwd.sysv"'
}

@test "OpenRC: after a restart the new server serves while the old one drains" {
	target
	export -f openrc_run
	own_dev bash -c 'beside openrc_run'
}

@test "sysv: stop waits for the end of the connections, restart takes over the metrics" {
	target
	export NSFWD_ARGS="--drain 1 --stats /run/stats"
	# shellcheck disable=SC2016 # for the inner shell
	run own_dev bash -c '
		set -e
		"$CONTRIB/nsfwd.sysv" start
		rm -f /run/held
		python3 "$SERVICE" hold 127.0.0.1/8000 >/run/held 2>&1 3>&- &
		wait_until 2 grep -qx here /run/held
		"$CONTRIB/nsfwd.sysv" restart
		curl --silent --fail --max-time $((5 * TEST_SLOW)) --unix-socket /run/stats http://nsfwd/ >/dev/null
		rm /run/held
		python3 "$SERVICE" hold 127.0.0.1/8000 >/run/held 2>&1 3>&- &
		wait_until 2 grep -qx here /run/held
		began=$(now_ms)
		"$CONTRIB/nsfwd.sysv" stop
		echo "stopped after $(($(now_ms) - began)) ms"
		[ $(($(now_ms) - began)) -ge 1000 ]
		[ ! -e /run/nsfwd.pid ]
		kill %1 %2 2>/dev/null || true'
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == *"process "*" finishes its connections"* ]]
}

@test "sysv: a stale pid file does not name another process" {
	# A process with that pid and the name of the program, but not the server.
	spawn self other "$NSFWD" 127.0.0.1:8100=ns2@1
	wait_until 5 listens self 8100
	pid_of other >"$NSFWD_PIDFILE"
	run -1 "$CONTRIB/nsfwd.sysv" status
	"$CONTRIB/nsfwd.sysv" stop
	! ended "$(pid_of other)" || fail "another server was stopped"
	export -f listens in_ns
	own_dev bash -c '"$CONTRIB/nsfwd.sysv" start && listens self 8000 && "$CONTRIB/nsfwd.sysv" stop'
	! ended "$(pid_of other)" || fail "another server was stopped"
	rm -f "$NSFWD_PIDFILE"
}

@test "the scripts ask for as many descriptors as the unit" {
	# shellcheck disable=SC2016 # for the inner shell
	local most say='
		ulimit() { echo "$*" >>/run/ulimits; }
		exec() { :; }
		[ "$1" = run ] || eval "$(sed "/^case /,\$d" "$CONTRIB/nsfwd.sysv")"
		[ "$1" != sysv ] || NSFWD=true start
		[ "$1" != run ] || . "$CONTRIB/run"'
	most=$(sed -n 's/^LimitNOFILE=//p' "$CONTRIB/nsfwd.service")
	[ "$most" = 1048576 ]
	rm -f /run/ulimits
	bash -c "$say" - sysv
	bash -c "$say" - run
	[ "$(cat /run/ulimits)" = "$(printf '%s\n' "-n $most" "-n $most")" ]
	# shellcheck disable=SC2016 # for the inner shell
	[ "$(nsfwd_conf=/dev/null bash -c 'ulimit() { :; }
		. "$CONTRIB/nsfwd.openrc"; echo "$rc_ulimit"')" = "-n $most" ]
}

# Stands in for openrc-run(8), which needs its init, as far as the script needs it.
# Its supervisor does not restart anything.
openrc_run() {
	export RC_SVCNAME=nsfwd
	export RC_CMD=$1
	ebegin() { echo " * $*"; }
	einfo() { echo " * $*"; }
	eend() { return "$1"; }
	supervise-daemon() { # NAME --signal HUP --pidfile FILE
		[ "$1 $2 $3 $4 $5" = "nsfwd --signal HUP --pidfile /run/nsfwd.pid" ]
		kill -HUP "$(cat "$5")"
	}
	nsfwd_conf=$NSFWD_CONF command=$NSFWD
	# shellcheck disable=SC1091
	. "$CONTRIB/nsfwd.openrc"
	[ "$supervisor" = supervise-daemon ]
	[ -e "$required_files" ]
	case $1 in
	status)
		[ -e "$pidfile" ] || return 3
		kill -0 "$(cat "$pidfile")" || return 1
		;;
	start)
		start_pre || return
		# shellcheck disable=SC2086 # words
		[ -z "$rc_ulimit" ] || ulimit $rc_ulimit
		[ -e "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null && return
		# shellcheck disable=SC2086 # words
		"$command" $command_args 2>/dev/null 3>&- &
		echo $! >"$pidfile"
		wait_until 5 listens self 8000
		;;
	reload)
		[[ $extra_started_commands == *reload* ]]
		reload
		;;
	stop)
		[ -e "$pidfile" ] || return 0
		stop_pre || return
		# The supervisor waits that long, then exits and leaves the server.
		[[ $retry == TERM/[0-9]* ]]
		kill -TERM "$(cat "$pidfile")" 2>/dev/null || true
		for ((i = 0; i < 50 * ${retry#TERM/}; i++)); do
			kill -0 "$(cat "$pidfile")" 2>/dev/null || break
			sleep 0.02
		done
		rm "$pidfile"
		stop_post
		;;
	restart)
		stop_pre || return
		openrc_run stop
		openrc_run start
		;;
	esac
}

@test "the OpenRC script, by a stand-in for openrc-run: start, reload, stop" {
	export -f life listens in_ns openrc_run wait_until now_ms fail
	own_dev bash -c 'life openrc_run'
}

@test "the run script, for runit and for s6" {
	local dir=$BATS_TEST_TMPDIR/service
	mkdir "$dir"
	cd "$dir"
	spawn self runit "$CONTRIB/run"
	wait_until 5 listens self 8000
	[[ $(output_of runit) == *'ready: 1 map' ]]
	kill -HUP "$(pid_of runit)"
	wait_until 2 eval '[[ $(output_of runit) == *"reloaded: 1 map" ]]'
	kill "$(pid_of runit)"
	reap runit
	echo 9 >notification-fd
	mkfifo up
	"$CONTRIB/run" >/dev/null 9>up 3>&- &
	SPAWNED[s6]=$!
	wait_ready up || fail "not ready"
	kill "$(pid_of s6)"
	reap s6
}

@test "the units: systemd-analyze finds nothing wrong" {
	needs systemd-analyze
	local unit
	for unit in nsfwd.service nsfwd@.service; do
		sed "s|/usr/local/bin/nsfwd|$NSFWD|" "$CONTRIB/$unit" \
			>"$BATS_TEST_TMPDIR/$unit"
		run -0 systemd-analyze verify --man=no "$BATS_TEST_TMPDIR/$unit"
		[ -z "$output" ]
	done
	diff <(grep -vE '^#|Description|RuntimeDirectory|Exec.*nsfwd' "$CONTRIB/nsfwd.service") \
		<(grep -vE '^#|Description|RuntimeDirectory|Exec.*nsfwd' "$CONTRIB/nsfwd@.service")
	run -0 systemd-analyze security --offline=true --no-pager \
		"$BATS_TEST_TMPDIR/nsfwd.service"
	sed -n '$s/^/# /p' <<<"$output" >&3
	[[ $output =~ 'exposure level for nsfwd.service: '([0-9]).([0-9]) ]]
	[ "${BASH_REMATCH[1]}" -lt 5 ]
}

# members WORD...: prints the system calls that a SystemCallFilter= allows.
members() {
	local word
	for word; do
		case $word in
		@*)
			# shellcheck disable=SC2046 # one word each
			members $(systemd-analyze syscall-filter "$word" |
				sed -n 's/^ \+\([@a-z0-9_-]\+\)$/\1/p')
			;;
		*) echo "$word" ;;
		esac
	done
}

@test "the filter of the units allows all system calls of nsfwd" {
	needs systemd-analyze strace
	local trace=$BATS_TEST_TMPDIR/trace part=$BATS_TEST_TMPDIR
	ns ns1
	mkdir -p "$part/netns/ns2"
	echo 127.0.0.1 inside >"$part/netns/ns2/hosts"
	echo "127.0.0.1:8000=ns2@inside:8080" >"$NSFWD_CONF"
	# shellcheck disable=SC2016 # for the inner shell
	spawn self it unshare -m bash -c 'mkdir -p /run/etc && cp -L /etc/{passwd,group,hosts} /run/etc
		cp -r "$0" /run/etc && mount --bind /run/etc /etc && exec "$@"' "$part/netns" \
		strace -f -qq -o "$trace" -E ASAN_OPTIONS=detect_leaks=0 \
		"$NSFWD" -c "$NSFWD_CONF" --stats /run/stats -P "$NSFWD_PIDFILE" \
		udp:8000=ns2@8080 ns1@8001=ns2@proxy "pid:$$@8002=ns2@8080,workers=2"
	LOG=$part/it.out
	wait_until 10 logged 'ready: 4 maps'
	named_server ns2 ns2 127.0.0.1/8080
	python3 "$BATS_TEST_DIRNAME/faults.py" ask 127.0.0.1/8000=ns2 \
		127.0.0.1/8002=ns2 3>&-
	kill -HUP "$(cat "$NSFWD_PIDFILE")"
	wait_until 5 logged 'reloaded'
	python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.connect("/run/stats")
while s.recv(9999): pass'
	kill "$(cat "$NSFWD_PIDFILE")"
	reap it
	# shellcheck disable=SC2046 # one word each
	members $(sed -n 's/^SystemCallFilter=//p' "$CONTRIB/nsfwd.service") |
		sort -u >"$part/members"
	sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$trace" | sort -u >"$part/used"
	[ "$(wc -l <"$part/used")" -gt 40 ]
	# A systemd that does not know mseal(2), of Linux 6.10, refuses it, which does no harm.
	sed -Ei '/^(mseal|syscall_0x1ce)$/d' "$part/used"
	[ -z "$(comm -13 "$part/members" "$part/used" | tee /dev/stderr)" ]
}

@test "bash completes options and namespaces" {
	completes() {
		COMP_WORDS=("$NSFWD" "$@") COMP_CWORD=$# COMP_LINE="$NSFWD $*"
		COMP_POINT=${#COMP_LINE}
		_nsfwd
		printf '%s\n' "${COMPREPLY[@]}"
	}
	. "$CONTRIB/nsfwd.bash"
	[ "$(completes --rea)" = --ready-fd ]
	[ "$(completes -- | wc -l)" -ge 20 ]
	[ "$(completes --to ns)" = ns2 ]
	[ "$(completes n)" = ns2@ ]
	[ "$(completes -c /run/nsfwd.c)" = /run/nsfwd.conf ]
	[ "$(completes --from=ns)" = ns2 ]
	[ "$(completes --check=s)" = syntax ]
	[ "$(completes 80=ns)" = ns2@ ]
	[ "$(completes udp:ns)" = ns2@ ]
	[ "$(completes 80=81,max-s)" = '81,max-source=' ]
	[ "$(completes 80=81,max=1,balan)" = '1,balance=' ]
	# '@' is a break that bash replaces, too.
	[ "$(completes 80=ns2@81,max-s)" = '@81,max-source=' ]
	[ "$(completes 80=do)" = docker: ]
	[ "$(completes --to po)" = podman: ]
	docker() { [ "$*" = 'ps --format {{.Names}}' ] && printf '%s\n' web db; }
	[ "$(completes 80=docker:w)" = web@ ]
	[ "$(completes docker:d)" = db@ ]
	[ "$(completes --from=docker:w)" = web ]
	[ "$(completes --to docker:)" = $'web\ndb' ]
	[ "$(COMP_WORDBREAKS=' =' completes --to docker:w)" = docker:web ]
}

# Runs the function with the commands of the completion system replaced.
@test "zsh completes options, keys and namespaces" {
	needs zsh
	# shellcheck disable=SC2016 # for zsh
	run -0 zsh -fc '
		compset() { word=${word#$~2} }
		compadd() {
			[ "$1" != -S ] || shift 2
			[ "$1" != -a ] || { print -l -- ${(P)2}; return }
			print -l -- "$@"
		}
		docker() { print -l web db }
		for given in --rea --from=ns 80=ns 80=81,max --check= 80=docker:w; do
			words=($NSFWD $given) CURRENT=2
			print -- "$given: "$(. $CONTRIB/_nsfwd)
		done'
	echo "$output"
	[[ ${lines[0]} == *' --ready-fd '* && ${lines[1]} == *' ns2'* ]]
	[[ ${lines[2]} == *' ns2'* && ${lines[3]} == *' max-source '* ]]
	[ "${lines[4]}" = '--check=: syntax' ]
	[[ ${lines[5]} == '80=docker:w: web db'* ]]
}

@test "the example of a configuration" {
	sed 's/^#\([^ ].*=\)/\1/' "$CONTRIB/nsfwd.conf" >"$BATS_TEST_TMPDIR/conf"
	run -0 "$NSFWD" --check=syntax -c "$BATS_TEST_TMPDIR/conf"
	[ "${#lines[@]}" = 4 ]
}
