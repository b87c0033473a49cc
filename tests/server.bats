#!/usr/bin/env bats
# The server: namespaces that are deleted and made anew, reload, drain, allow= and
# deny=, --stats, the log, and the interfaces to init systems.

bats_require_minimum_version 1.5.0
load helpers
load server

MAP=127.0.0.1:8000=ns2@127.0.0.1:8080

setup() {
	ns ns1 ns2
	CONF=$BATS_TEST_TMPDIR/conf
}

# answers WANT PORT [SECONDS]: the map answers WANT within that time (2 s).
answers() {
	service self follow "${3:-2}" "$1" "127.0.0.1/$2"
}

# True if nothing listens on a port of 127.0.0.1.
port_refuses() {
	run python3 -c 'import socket, sys
socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)' "$1"
	[[ $output == *ConnectionRefusedError* ]]
}

# remake NAME...: deletes each namespace and makes another of that name.
remake() {
	local name
	for name; do
		ip netns del "$name"
		ip netns add "$name"
		in_ns "$name" ip link set lo up
	done
}

# veth_into NS: makes a pair of interfaces, one in NS. veth_gone NS: true if both are
# removed, because the kernel has freed the namespace.
veth_into() {
	ip link add "v-$1" type veth peer name v0 netns "$1"
}

veth_gone() {
	! ip link show "v-$1" >/dev/null 2>&1
}

# Namespaces.

@test "T32 a deleted namespace is waited for, and freed after --drain" {
	ns src dst
	named_server ns2 here 127.0.0.1/8080
	named_server dst there 127.0.0.1/8080
	start_nsfwd --drain 1 127.0.0.1:8000=dst@127.0.0.1:8080 \
		udp:127.0.0.1:8000=dst@9 src@127.0.0.1:8001=ns2@127.0.0.1:8080 \
		127.0.0.1:8002=ns2@127.0.0.1:8080
	veth_into src
	veth_into dst
	spawn self one python3 "$SERVICE" hold 127.0.0.1/8000
	spawn src two python3 "$SERVICE" hold 127.0.0.1/8001
	wait_until 2 printed one there
	wait_until 2 printed two here
	ip netns del src
	ip netns del dst
	NAMESPACES=(ns1 ns2)
	# Open connections go on until then.
	kill -USR1 "$(pid_of one)"
	wait_until 0.9 printed one there 2
	wait_until 1 logged "'127.0.0.1:8000=dst.*waits for namespace 'dst' \(it was deleted\)$"
	wait_until 1 logged "udp:.*waits for namespace 'dst' \(it was deleted\)$"
	wait_until 1 logged "src@.*waits for namespace 'src' \(it was deleted\)$"
	answers here 8002
	kill_spawned there
	kill_spawned two
	wait_until 2 veth_gone dst
	wait_until 2 veth_gone src
	[ "$(grep -c 'waits for' "$LOG")" = 3 ]
	# New namespaces of these names are served.
	ns src dst
	named_server dst again 127.0.0.1/8080
	answers again 8000 3
	service src follow 3 here 127.0.0.1/8001
	record_fds
}

@test "T33 a namespace made anew is followed: by name, by path, at either end (gost 7)" {
	local file=$BATS_TEST_TMPDIR/bound
	ns src dst
	touch "$file"
	mount --bind /run/netns/dst "$file"
	ln -s /run/netns/dst "$BATS_TEST_TMPDIR/link"
	named_server dst old 127.0.0.1/8080
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd --drain 1 127.0.0.1:8000=dst@127.0.0.1:8080 \
		"127.0.0.1:8001=$file@127.0.0.1:8080" \
		"127.0.0.1:8002=$BATS_TEST_TMPDIR/link@127.0.0.1:8080" \
		src@127.0.0.1:8003=ns2@127.0.0.1:8080
	service self follow 1 old 127.0.0.1/800{0,1,2}
	service src follow 1 here 127.0.0.1/8003
	remake src dst
	umount "$file"
	mount --bind /run/netns/dst "$file"
	named_server dst new 127.0.0.1/8080
	# The old target still runs, but is not reached.
	service self follow 2 new 127.0.0.1/800{0,1,2}
	service src follow 2 here 127.0.0.1/8003
	umount "$file"
	wait_until 3 no_connections
	wait_until 2 mappers_are 3
	record_fds
}

@test "a path that changes without a mount is followed" {
	local dir=$BATS_TEST_TMPDIR/dir other=$BATS_TEST_TMPDIR/other
	named_server ns1 old 127.0.0.1/8080
	named_server ns2 new 127.0.0.1/8080
	mkdir "$other"
	touch "$other/ns1"
	mount --bind /run/netns/ns2 "$other/ns1"
	ln -s /run/netns "$dir"
	start_nsfwd "127.0.0.1:8000=$dir/ns1@127.0.0.1:8080"
	answers old 8000
	ln -sfn "$other" "$dir"
	answers new 8000
	umount "$other/ns1"
	wait_until 2 mappers_are 0
	record_fds
}

@test "--wait: a namespace that does not exist yet" {
	run -2 timeout $((5 * TEST_SLOW)) "$NSFWD" 127.0.0.1:8000=late@127.0.0.1:8080
	start_nsfwd --wait 127.0.0.1:8000=late@127.0.0.1:8080 \
		late@127.0.0.1:8001=127.0.0.1:9 127.0.0.1:8002=ns2@127.0.0.1:8080
	logged "8000=late.*waits for namespace 'late'"
	named_server ns2 here 127.0.0.1/8080
	answers here 8002
	ns late
	named_server late at-last 127.0.0.1/8080
	answers at-last 8000
	wait_until 2 logged 'late@127.0.0.1:8001.*serves again'
	record_fds
}

@test "T34 a target that restarts 20 times under 50 connections a second" {
	start_nsfwd 127.0.0.1:8000=127.0.0.1:8080
	set -- service self restarts 20 127.0.0.1/8000 127.0.0.1/8080
	# Twice, because another process may have had the processor.
	"$@" || "$@"
}

# Reloads and the end.

@test "a map that changes at every reload keeps its clients" {
	named_server ns2 here 127.0.0.1/8080
	echo "$MAP" >"$CONF"
	start_nsfwd -c "$CONF"
	spawn self one python3 "$SERVICE" hold 127.0.0.1/8000
	wait_until 2 printed one here
	spawn self load python3 "$SERVICE" load 250 300 127.0.0.1/8000 0 0
	local inode i
	inode=$(ss -Hltne 'sport = 8000' | grep -o 'ino:[0-9]*')
	for i in 1 2 3 4 5; do
		echo "$MAP,max=10$i" >"$CONF"
		hup
	done
	reap load
	[ "$(ss -Hltne 'sport = 8000' | grep -o 'ino:[0-9]*')" = "$inode" ]
	# The first connection, of a mapper that drains.
	kill -USR1 "$(pid_of one)"
	wait_until 1 printed one here 2
	kill_spawned one
	wait_until 2 mappers_are 1
	record_fds
}

@test "T38 reload: maps added, removed, changed, moved, and wrong files (gost 8)" {
	local pids i=0
	named_server ns2 here 127.0.0.1/8080
	named_server ns1 other 127.0.0.1/8080
	printf '%s\n' "$MAP" "127.0.0.1:8001=ns2@127.0.0.1:8080" >"$CONF"
	start_nsfwd -c "$CONF"
	answers here 8000
	pids=$(mappers | sort)
	# A map is added.
	echo "127.0.0.1:8002=ns1@127.0.0.1:8080" >>"$CONF"
	hup
	answers other 8002 0.2
	# The others were not touched.
	[ "$(comm -12 <(echo "$pids") <(mappers | sort))" = "$pids" ]
	# A map removed; another target; another address with the same port.
	printf '%s\n' ":8000=ns2@127.0.0.1:8080" \
		"127.0.0.1:8002=ns2@127.0.0.1:8080" >"$CONF"
	hup
	answers here 8002 0.2
	answers here 8000 0.2
	service self follow 0.2 here ::1/8000
	port_refuses 8001
	# Four wrong files.
	pids=$(mappers | sort)
	local line
	for line in '8003=ns2@80800' $'8003=nowhere@1\ntcp+udp:8004=gone@1\nlost@8005=away@1' \
		'8003=ns2@1,max=x' '127.0.0.1:8080=ns2@1'; do
		[ "$line" != 127.0.0.1:8080=ns2@1 ] || named_server self taken 127.0.0.1/8080
		printf '%s\n' ":8000=ns1@1" "$line" >"$CONF"
		kill -HUP "$NSFWD_PID"
		wait_until 2 logged 'not reloaded: everything is as it was' $((++i))
	done
	logged "conf:2: '8003=ns2@80800': column 10: '80800': not a port"
	# Each namespace that is missing, and once.
	for line in nowhere gone lost away; do
		[ "$(grep -c "': no namespace '$line' (" "$LOG")" = 1 ] || fail "$line"
	done
	logged "conf:2: '8003=ns2@1,max=x'"
	logged "'127.0.0.1:8080=ns2@1': cannot listen on .*: the port is taken"
	answers here 8000 0.2
	[ "$(mappers | sort)" = "$pids" ]
	# So is a wrong value of an option, although it would count later.
	for line in 'max-conns x' 'workers 257'; do
		printf '%s\n' ":8000=ns1@1" "$line" >"$CONF"
		kill -HUP "$NSFWD_PID"
		wait_until 2 logged 'not reloaded: everything is as it was' $((++i))
		logged "conf:2: option '${line% *}': '${line#* }': not a whole number"
		answers here 8000 0.2
	done
	# An empty file is an error, too.
	: >"$CONF"
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged 'no map in '
	answers here 8000 0.2
	record_fds
}

# A row is LINE | status of a start | of --check | the message | a right value for the
# command line, or "-" if the line is only wrong on this machine.
@test "what a start refuses in a file, a reload refuses, for each option" {
	cd "$BATS_TEST_TMPDIR"
	local line start check want right name n=0 rows seen=' '
	printf '%s\n' 8080=80 'stats 127.0.0.1:9100' 'pidfile pid' >conf
	start_nsfwd --config conf
	cp conf good
	named_server self taken 127.0.0.1/9200
	spawn_ready self locked python3 -c 'import fcntl, os, time
f = open("locked", "w")
fcntl.lockf(f, fcntl.LOCK_EX)
os.write(9, b"ready\n")
os.close(9)
time.sleep(600)'
	mkdir dir
	ln -s pid link
	rows=$(
		cat <<-'ROWS'
			from nosuch | 2 | 2 | conf:1: .*: no namespace 'nosuch' | -
			to nosuch | 2 | 2 | conf:1: .*: no namespace 'nosuch' | -
			from a=b | 2 | 2 | 'from': 'a=b': a namespace has no | self
			to pid:x | 2 | 2 | 'to': 'pid:x': | self
			wait yes | 2 | 2 | 'wait': 'yes': no value is taken |
			daemon=yes | 2 | 2 | 'daemon': 'yes': no value is taken |
			pidfile none/pid | 1 | 1 | --pidfile 'none/pid': No such file | -
			pidfile dir | 1 | 1 | --pidfile 'dir': Is a directory | -
			pidfile none/ | 1 | 1 | --pidfile 'none/': Is a directory | -
			pidfile link | 1 | 1 | --pidfile 'link': | -
			pidfile /dev/null | 1 | 1 | --pidfile '/dev/null': Invalid | -
			pidfile locked | 1 | 0 | --pidfile 'locked': process [0-9]+ has it | -
			pidfile | 2 | 2 | 'pidfile': its value is missing | other
			stats 192.0.2.9:9100 | 1 | 1 | cannot listen on 192.0.2.9:9100: no such address | -
			stats nosuch@:9100 | 2 | 2 | no namespace 'nosuch' | -
			stats 127.0.0.1:9200 | 1 | 0 | the port is taken by | -
			stats :8080 | 2 | 2 | conf:1: '8080=80': it listens where '--stats :8080' does | -
			stats ./none/s | 1 | 1 | cannot listen on ./none/s: no such directory | -
			stats ./dir | 1 | 1 | cannot listen on ./dir: that file is no socket | -
			stats :x | 2 | 2 | 'stats': ':x': write | :9300
			stats .s | 2 | 2 | 'stats': '.s': write | :9300
			syslog local0 | 2 | 2 | 'syslog': 'local0': no value is taken |
			ready-fd 99 | 2 | 2 | 'ready-fd': '99': no descriptor | 1
			max-conns 0 | 2 | 2 | 'max-conns': '0': | 5
			workers 257 | 2 | 2 | 'workers': '257': | 2
			connect-timeout soon | 2 | 2 | 'connect-timeout': 'soon': not a time | 1
			idle-timeout 25d | 2 | 2 | 'idle-timeout': '25d': longer than | 1
			half-close-timeout -1 | 2 | 2 | 'half-close-timeout': '-1': not a time | 1
			udp-timeout 1x | 2 | 2 | 'udp-timeout': '1x': not a time | 1
			udp-one-way-timeout 1x | 2 | 2 | 'udp-one-way-timeout': '1x': not a time | 1
			drain x | 2 | 2 | 'drain': 'x': not a time | 1
			user nosuch | 2 | 2 | 'user': 'nosuch': no such user | root
			user root:nosuch | 2 | 2 | 'user': 'root:[*]*': no such group | root
			user 4242 | 1 | 2 | --user | -
			no-sandbox=1 | 2 | 2 | 'no-sandbox': '1': no value is taken |
			pin 1 | 2 | 2 | 'pin': '1': no value is taken |
			verbose 2 | 2 | 2 | 'verbose': '2': no value is taken |
			quiet q | 2 | 2 | 'quiet': 'q': no value is taken |
			max-conns 5 6 | 2 | 2 | 'max-conns': one option a line | 7
		ROWS
	)
	while IFS='|' read -r line start check want right; do
		name=${line%%[ =]*}
		seen+="$name "
		printf '%s\n' 8080=80 "$line" >conf
		if [ "$line" = 'user 4242' ]; then
			# Root itself can become any user. A start asks its mapper.
			! grep -q 4294967295 /proc/self/uid_map || continue
			sed -i 1s/8080/8081/ conf
		fi
		start_fails "$start" "$want" --config conf
		run -"$check" "$NSFWD" --check --config conf
		[ "$check" = 0 ] || grep -Eq -- "$want" <<<"$output" || fail "--check: $line: $output"
		kill -HUP "$NSFWD_PID"
		wait_until 5 logged 'not reloaded: everything is as it was' $((++n))
		tail -n 3 "$LOG" | grep -Eq -- "$want" || fail "reload: $line"
		# A right value on the command line does not hide it.
		[ "$right" != - ] || continue
		run -2 "$NSFWD" --check "--$name${right:+=$right}" --config conf
		[[ $output == "nsfwd: conf:2: option '$name': "* ]] || fail "$line: $output"
	done < <(rows <<<"$rows")
	for name in $("$NSFWD" --help | grep -o -- '--[a-z-]*' | cut -c3-); do
		[[ " config check rules status test top help version $seen" == *" $name "* ]] ||
			fail "no row of $name"
	done
	# Right ones pass, and those of what the server itself holds. They count later.
	printf '%s\n' 8080=80 "$PWD/map=80" >conf
	hup 'reloaded: 2 maps$'
	n=$(grep -c 'an option in a file has changed' "$LOG")
	for line in "stats $PWD/map" 'stats :9100' 'stats ./other' 'pidfile ./pid' 'pidfile other' \
		'max-conns 5' 'user root' 'from ns1' $'wait\nfrom nosuch' \
		$'wait\nstats gone@:9300'; do
		printf '%s\n' 8080=80 "$line" >conf
		hup 'reloaded: 1 map$'
		logged 'an option in a file has changed: it counts at the next start' $((++n))
	done
	[ "$(grep -c "waits for namespace 'gone'" "$LOG")" = 1 ]
	cp good conf
	hup 'reloaded: 1 map$'
	[ "$(grep -c 'an option in a file has changed' "$LOG")" = "$n" ]
	[ "$(<pid)" = "$NSFWD_PID" ]
	[ ! -e other ]
	listens self 9100
	listens self 8080
	start_fails 1 "--pidfile 'pid': process $NSFWD_PID has it" --pidfile pid 8081=80
}

@test "reload: a UNIX listener changes; a reload that fails does not close it" {
	local path=$BATS_TEST_TMPDIR/u
	named_server ns2 here 127.0.0.1/8080
	echo "$path=ns2@127.0.0.1:8080,mode=600" >"$CONF"
	start_nsfwd -c "$CONF"
	echo "$path=ns2@127.0.0.1:8080,mode=640" >"$CONF"
	hup
	[ "$(stat -c %a "$path")" = 640 ]
	printf '%s\n' "@nsfwd-u=ns2@127.0.0.1:8080" >"$CONF"
	hup
	[ ! -e "$path" ]
	echo "@nsfwd-u=ns2@proxy" >"$CONF"
	hup
	named_server self taken 127.0.0.1/8000
	printf '%s\n' "@nsfwd-u=ns2@127.0.0.1:8080" "$MAP" >"$CONF"
	kill -HUP "$NSFWD_PID"
	wait_until 3 logged 'not reloaded'
	run ! logged 'serves again'
	record_fds
}

@test "a pipe as a config file, or for a password, is not read again" {
	local secret=$BATS_TEST_TMPDIR/secret
	mkfifo "$CONF" "$secret"
	spawn self writer sh -c "echo $MAP >$CONF"
	start_nsfwd -c "$CONF"
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged 'conf: only a regular file is read again'
	stop_nsfwd
	spawn self other sh -c "echo user:password >$secret"
	start_nsfwd "127.0.0.1:1080=ns2@proxy,auth=$secret"
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged "'$secret': only a regular file is read again"
	stop_nsfwd
}

@test "UDP flows of an unchanged map go on after a reload" {
	local pid
	spawn_ready ns2 target python3 "$SERVICE" port 127.0.0.1/8000
	echo "udp:127.0.0.1:8000=ns2@127.0.0.1:8000" >"$CONF"
	start_nsfwd -c "$CONF" --udp-timeout "$TEST_SLOW"
	pid=$(mappers)
	spawn self client python3 "$SERVICE" udp 127.0.0.1/8000
	wait_until 2 grep -q . "$BATS_TEST_TMPDIR/client.out"
	echo "127.0.0.1:8001=ns2@1" >>"$CONF"
	hup
	kill -USR1 "$(pid_of client)"
	wait_until 2 printed client "$(head -n 1 "$BATS_TEST_TMPDIR/client.out")" 2
	kill_spawned client
	wait_until 3 eval '[ "$(fds "$pid")" = "${FDS[$pid]}" ]'
	record_fds
}

@test "T39 the server killed: 10 transfers complete, a restart binds at once" {
	start_nsfwd 127.0.0.1:8000=127.0.0.1:8080
	service self drain "-$NSFWD_PID" 10 2000000 1 127.0.0.1/8000 127.0.0.1/8080
	wait_nsfwd 1
	start_nsfwd 127.0.0.1:8000=ns2@127.0.0.1:8080
	named_server ns2 here 127.0.0.1/8080
	answers here 8000
}

# Clients that are allowed.

@test "T24 allow and deny, for both families, TCP and UDP" {
	named_server ns2 here 127.0.0.1/8080
	spawn_ready ns2 target python3 "$SERVICE" port 127.0.0.1/8000
	ip addr add 10.9.8.7/32 dev lo
	ip addr add fd09::7/128 dev lo
	start_nsfwd ":8000=ns2@127.0.0.1:8080,allow=127.0.0.0/8+fd09::/64,deny=127.0.0.2" \
		udp:127.0.0.1:8000=ns2@127.0.0.1:8000,deny=127.0.0.0/8 \
		127.0.0.1:8001=ns2@127.0.0.1:8080,deny=127.0.0.0/8 --stats /run/stats
	answers here 8000 1
	service self follow 1 here fd09::7/8000
	python3 - <<-'END'
	import socket
	for source, where in (("127.0.0.2", "127.0.0.1"), ("10.9.8.7", "10.9.8.7"),
	                      ("::1", "::1")):
	    for _ in range(3):
	        try:
	            sock = socket.create_connection((where, 8000), 2, (source, 0))
	            sock.send(b"hello\n")
	            assert False, sock.recv(9)
	        except ConnectionError:
	            pass
	with socket.socket(type=socket.SOCK_DGRAM) as sock:
	    sock.sendto(b"x", ("127.0.0.1", 8000))
	END
	wait_until 2 logged "refused 127.0.0.2:[0-9]*: it is not allowed"
	wait_until 2 logged "dropped a datagram of 127.0.0.1:[0-9]*: it is not allowed"
	stats_say 'nsfwd_refused_total\{proto="tcp",reason="address",map=":8000=.*\} 9$'
	stats_say 'nsfwd_dropped_datagrams_total\{proto="udp",reason="source",.*\} 1$'
	ip addr del 10.9.8.7/32 dev lo
	ip addr del fd09::7/128 dev lo
}

# Metrics, tables and the log.

stats() {
	python3 -c 'import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(5)
    s.connect("/run/stats")
    while data := s.recv(65536):
        sys.stdout.write(data.decode())'
}

stats_say() {
	stats >"$BATS_TEST_TMPDIR/stats"
	grep -qE "^$1" "$BATS_TEST_TMPDIR/stats" || {
		cat "$BATS_TEST_TMPDIR/stats"
		fail "no line $1"
	}
}

@test "--stats: counts that a parser of Prometheus understands" {
	named_server ns2 here 127.0.0.1/8080
	spawn_ready ns2 target python3 "$SERVICE" port 127.0.0.1/8000
	start_nsfwd -q --stats /run/stats "$MAP" 127.0.0.1:8001=ns2@127.0.0.1:1 \
		udp:127.0.0.1:8000=ns2@127.0.0.1:8000 '/run/a"b\c=ns2@1'
	[ "$(stat -c %a /run/stats)" = 700 ]
	spawn self one python3 "$SERVICE" hold 127.0.0.1/8000
	wait_until 2 printed one here
	answers here 8000
	run ! answers here 8001 0.1
	spawn self client python3 "$SERVICE" udp 127.0.0.1/8000
	wait_until 2 grep -q . "$BATS_TEST_TMPDIR/client.out"
	wait_until 2 stats_say "nsfwd_connections_total\{proto=\"tcp\",map=\"$MAP\"\} 2$"
	stats_say 'nsfwd_open_connections\{.*8000=.*\} 1$'
	wait_until 2 stats_say 'nsfwd_bytes_total\{proto="tcp",direction="up",.*\} 6$'
	stats_say 'nsfwd_dial_failures_total\{.*8001=.*\} [1-9]'
	stats_say 'nsfwd_open_flows\{.*\} 1$'
	stats_say 'nsfwd_bytes_total\{proto="udp",direction="up",.*\} 5$'
	stats_say 'nsfwd_datagrams_total\{proto="udp",direction="down",.*\} 1$'
	stats_say 'nsfwd_mapper_starts_total\{.*8000=.*\} 1$'
	stats_say '.*map="/run/a\\"b\\\\c=ns2@1"'
	# Clients that do not read delay nothing.
	python3 - <<-'END'
	import socket, time
	crowd = []
	for _ in range(30):
	    crowd.append(socket.socket(socket.AF_UNIX))
	    crowd[-1].connect("/run/stats")
	END
	stats >"$BATS_TEST_TMPDIR/stats"
	/usr/bin/python3 -c 'import sys
from prometheus_client.parser import text_string_to_metric_families as parse
assert len({f.name for f in parse(sys.stdin.read())}) == 16' <"$BATS_TEST_TMPDIR/stats"
	# curl sends an HTTP request first.
	curl --silent --show-error --fail --max-time $((5 * TEST_SLOW)) \
		--unix-socket /run/stats http://nsfwd/metrics >"$BATS_TEST_TMPDIR/curl"
	diff <(cut -d' ' -f1 "$BATS_TEST_TMPDIR/curl") \
		<(cut -d' ' -f1 "$BATS_TEST_TMPDIR/stats")
	FDS=()
}

@test "counts go on after a crash and after a reload that changes the map" {
	local map="map=\"$MAP\"" i
	named_server ns2 here 127.0.0.1/8080
	echo "$MAP" >"$CONF"
	start_nsfwd --stats /run/stats -c "$CONF"
	for i in 1 2 3; do
		answers here 8000
	done
	wait_until 2 no_connections
	kill -KILL "$(mappers)"
	wait_until 5 stats_say "nsfwd_mapper_starts_total\{.*$map\} 2$"
	stats_say "nsfwd_connections_total\{.*$map\} 3$"
	answers here 8000
	spawn self one python3 "$SERVICE" hold 127.0.0.1/8000
	wait_until 2 printed one here
	echo "$MAP,max=9" >"$CONF"
	hup
	map="map=\"$MAP,max=9\""
	stats_say "nsfwd_mapper_starts_total\{.*$map\} 3$"
	stats_say "nsfwd_connections_total\{.*$map\} 5$"
	stats_say "nsfwd_open_connections\{.*$map\} 1$"
	# The old mapper still counts for the map.
	kill_spawned one
	wait_until 2 mappers_are 1
	stats_say "nsfwd_connections_total\{.*$map\} 5$"
	stats_say "nsfwd_bytes_total\{.*direction=\"up\",$map\} 30$"
	record_fds
}

@test "USR1 logs a table; ps shows the map of each process" {
	local log
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd -q "$MAP" 127.0.0.1:8001=ns2@127.0.0.1:8080
	spawn self one python3 "$SERVICE" hold 127.0.0.1/8000
	wait_until 2 printed one here
	kill -USR1 "$NSFWD_PID"
	wait_until 2 logged 'table: +0 .* 127.0.0.1:8001=ns2'
	log=$(sed 's/  */ /g' "$LOG")
	diff <(sed -E '1d; s/:[0-9]{4,5} >/:PORT >/; s/ms=.*/ms=N/; s/ [0-9T:.-]+Z / /' <<<"$log") - <<-END
	nsfwd: table: 1 1 0 0 6 5 $MAP
	nsfwd: table: 127.0.0.1:PORT > 127.0.0.1:8080 up=6 down=5 ms=N
	nsfwd: table: 0 0 0 0 0 0 127.0.0.1:8001=ns2@127.0.0.1:8080
	END
	ps -o args= -p "$(mappers | xargs | tr ' ' ,)" >"$BATS_TEST_TMPDIR/ps"
	grep -qx "nsfwd: map $MAP" "$BATS_TEST_TMPDIR/ps"
	ps -o args= -p "$(connections)" |
		grep -qxE "nsfwd: 127.0.0.1:[0-9]+ > $MAP"
}

@test "an idle server sleeps" {
	start_nsfwd "$MAP" udp:127.0.0.1:8000=ns2@8000 ns1@8000=/run/netns/ns2@1
	sleep_on 1.5 "$NSFWD_PID"
}

# Sets ticks: what the server uses in 2 s while something is mounted every $1 seconds.
while_mounting() {
	local mount=$BATS_TEST_TMPDIR/mount
	touch "$mount"
	spawn_ready self mounts python3 -c 'import ctypes, os, sys, time
libc, path, pause = ctypes.CDLL(None), sys.argv[1].encode(), float(sys.argv[2])
os.write(9, b"ready\n")
os.close(9)
while True:
    assert libc.mount(path, path, None, 4096, None) == 0  # MS_BIND
    libc.umount2(path, 0)
    time.sleep(pause)' "$mount" "$1"
	ticks=$(cpu_ticks "$NSFWD_PID")
	sleep 2
	ticks=$(($(cpu_ticks "$NSFWD_PID") - ticks))
	echo "every $1 s: $ticks ticks"
	! ended "$(pid_of mounts)" || fail "$(output_of mounts)"
	kill_spawned mounts
	umount "$mount" 2>/dev/null || true
}

# It looks at all namespaces ten times a second at most.
@test "a machine that mounts a lot does not keep the server busy" {
	local few i ticks
	for ((i = 0; i < 100; i++)); do
		echo "ns1@$((10000 + i))=ns2@80"
	done >"$CONF"
	start_nsfwd -q -c "$CONF"
	while_mounting 0.1
	few=$ticks
	while_mounting 0.002
	[ "$ticks" -le $((few * 2 + 10)) ]
}

@test "lines have a priority where the journal reads them, else none" {
	WRAP=(bash -c 'export JOURNAL_STREAM=$(stat -Lc %d:%i /dev/fd/2); exec "$@"' -)
	start_nsfwd 127.0.0.1:8000=ns2@127.0.0.1:1
	run ! answers here 8000 0.1
	kill -KILL "$(mappers)"
	wait_until 2 logged '^<6>.*serves again'
	logged '^<6>ready: 1 map$'
	logged '^<4>connection from=self to=ns2 map=.* client=.*end=dial'
	logged '^<3>.*its mapper was killed'
	run ! logged nsfwd:
	forget_mappers
	# As have the errors of a start, before the server has a log of its own.
	run "${WRAP[@]}" "$NSFWD" 8000=
	[ "$status" = 2 ]
	[[ $output == "<3>'8000=': a target is missing"* ]]
}

# Daemon, pid file, syslog, systemd.

# The exit status tells whether the daemon is ready, and it holds no descriptor of
# its parent.
daemon_life() {
	set -e
	local out pid
	cd /run
	READY_FD=9 python3 "$SERVICE" syslog 9>/run/up >/run/syslog 2>&1 3>&- &
	syslog=$!
	trap '[ ! -e /run/pid ] || kill -9 $(cat /run/pid); kill $syslog' EXIT
	wait_until 5 grep -q ready /run/up
	# $() returns because the daemon does not hold the pipe.
	out=$("$NSFWD" -d -P /run/pid -c /run/conf 127.0.0.1:8001=ns2@9 2>&1)
	[[ $out == *'ready: 2 maps' ]]
	pid=$(cat /run/pid)
	[ "$pid" -gt 1 ]
	[ "$(ps -o ppid=,sid= -p "$pid" | xargs)" = "1 $pid" ] ||
		[ "$(ps -o sid= -p "$pid" | xargs)" = "$pid" ]
	wait_until 2 grep -qx '<30>nsfwd: ready: 2 maps' /run/syslog
	status=0
	"$NSFWD" -d -P /run/pid 127.0.0.1:8002=ns2@9 || status=$?
	[ "$status" = 1 ]
	status=0
	"$NSFWD" -d -P /run/pid2 127.0.0.1:8001=ns2@9 || status=$?
	[ "$status" = 1 ]
	[ ! -e /run/pid2 ]
	status=0
	"$NSFWD" -d 127.0.0.1:8002=nowhere@9 || status=$?
	[ "$status" = 2 ]
	kill -HUP "$pid"
	wait_until 2 grep -qx '<30>nsfwd: reloaded: 2 maps' /run/syslog
	kill "$pid"
	wait_until 2 ended "$pid"
	[ ! -e /run/pid ]
	grep -qx '<30>nsfwd: stopped' /run/syslog
}

@test "-d -P: ready when it returns, one at a time, logs to syslog" {
	echo "127.0.0.1:8000=ns2@9" >/run/conf
	export SERVICE
	export -f daemon_life wait_until now_ms fail ended
	own_dev bash -c daemon_life
}

@test "a pid file is locked, and removed only by its owner" {
	local file=/run/pid
	pid_is() {
		[ "$(cat $file)" = "$(pid_of "$1")" ]
	}
	start_nsfwd -P $file 127.0.0.1:8000=ns2@1
	rm $file
	spawn self second "$NSFWD" -P $file 127.0.0.1:8001=ns2@1
	wait_until 5 pid_is second
	stop_nsfwd
	pid_is second
	needs strace
	# The third server has opened the file, but not locked it yet.
	spawn self third env ASAN_OPTIONS=detect_leaks=0 strace -D -qq \
		-o /dev/null -e trace=fcntl -e inject=fcntl:delay_enter=300000 \
		"$NSFWD" -P $file 127.0.0.1:8002=ns2@1
	has_opened() {
		find "/proc/$(pid_of third)/fd" -lname $file | grep -q .
	}
	wait_until 5 has_opened
	kill "$(pid_of second)"
	reap second
	wait_until 5 pid_is third
	kill "$(pid_of third)"
	reap third
	[ ! -e $file ]
}

@test "log lines reach a syslog that was restarted" {
	export SERVICE
	export -f wait_until now_ms fail
	own_dev bash -c '
	set -e
	syslog() {
		rm -f /dev/log /run/up
		READY_FD=9 python3 "$SERVICE" syslog 9>/run/up >/run/syslog 2>&1 3>&- &
		syslog=$!
		wait_until 5 grep -qs ready /run/up
	}
	syslog
	echo 127.0.0.1:8000=ns2@9 >/run/conf
	"$NSFWD" --syslog -c /run/conf 2>/run/said 3>&- &
	pid=$!
	trap "kill -9 \$pid; kill \$syslog" EXIT
	wait_until 5 grep -qx "<30>nsfwd: ready: 1 map" /run/syslog
	kill $syslog
	syslog
	kill -HUP $pid
	wait_until 2 grep -qx "<30>nsfwd: reloaded: 1 map" /run/syslog
	grep -qx "nsfwd: ready: 1 map" /run/said
	! grep reloaded /run/said
	! grep "may not write" /run/said
	grep -q -- "--user: nobody" /run/said || exit 0
	chmod 700 /dev/log
	kill $pid
	wait $pid
	"$NSFWD" --syslog -c /run/conf 2>/run/said 3>&- &
	pid=$!
	wait_until 5 grep -q "^nsfwd: ready: 1 map" /run/said
	grep -q "^nsfwd: --syslog: user nobody may not write to /dev/log: lines of" /run/said
	grep -q "may not write to /dev/log" /run/syslog'
}

@test "systemd is notified: ready, reloading, stopping" {
	local path
	echo "$MAP" >"$CONF"
	for path in "$BATS_TEST_TMPDIR/notify" @nsfwd-notify; do
		spawn_ready self notify python3 "$SERVICE" notify "$path"
		WRAP=(env "NOTIFY_SOCKET=$path")
		start_nsfwd -c "$CONF"
		wait_until 2 printed notify READY=1
		printed notify 'STATUS=1 map'
		printed notify "MAINPID=$NSFWD_PID"
		hup
		record_fds
		wait_until 2 printed notify READY=1 2
		printed notify RELOADING=1
		python3 "$SERVICE" reloads 20 "$NSFWD_PID" "$BATS_TEST_TMPDIR/notify.out" 3>&-
		run ! printed notify STOPPING=1
		stop_nsfwd
		wait_until 2 printed notify STOPPING=1
		kill_spawned notify
	done
	# With --pin the message is sent before privileges are dropped.
	mkdir -m 700 "$BATS_TEST_TMPDIR/own"
	path=$BATS_TEST_TMPDIR/own/notify
	spawn_ready self notify python3 "$SERVICE" notify "$path"
	WRAP=(env "NOTIFY_SOCKET=$path")
	start_nsfwd --pin "$MAP"
	wait_until 2 printed notify READY=1
}

@test "sockets of systemd" {
	command -v systemd-socket-activate >/dev/null ||
		skip "no systemd-socket-activate here"
	named_server ns2 here 127.0.0.1/8080
	spawn self activated env -u LISTEN_PID systemd-socket-activate \
		-l 127.0.0.1:8000 -l '[::1]:8000' --fdname=web:web \
		"$NSFWD" systemd:web=ns2@127.0.0.1:8080
	wait_until 5 eval 'ss -Hltn | grep -q :8000'
	answers here 8000 3
	service self follow 1 here ::1/8000
	kill "$(pid_of activated)"
	reap activated
	# LISTEN_PID of another process.
	run -1 env LISTEN_FDS=1 LISTEN_PID=1 LISTEN_FDNAMES=web "$NSFWD" systemd:web=ns2@1
	[[ $output == *"cannot listen on web: no socket of that name and kind was handed to us"* ]]
	run -2 "$NSFWD" --check=syntax ns1@systemd:web=ns2@1
	[ "$("$NSFWD" --check=syntax udp:systemd:dns=ns2@53)" = udp:systemd:dns=ns2@53 ]
}
