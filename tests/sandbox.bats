#!/usr/bin/env bats
# Privileges of each process, name resolution inside the sandbox, ordinary users.

bats_require_minimum_version 1.5.0
load helpers

UDP_ASK='
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
assert s.recv(9) == b"x"
'

# field PID NAME: prints a field of /proc/PID/status.
field() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

# Prints the uid of nobody, or 0 if this user namespace does not map it.
nobody() {
	awk '$1 <= 65534 && $1 + $3 > 65534 { n = 65534 } END { print n + 0 }' \
		/proc/self/uid_map
}

# bare PID FILTERS: true if the process is user nobody, has no capabilities and no
# groups, cannot get any, and has FILTERS seccomp filters.
bare() {
	local set uid filters=$2
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(field "$1" "$set")" = 0000000000000000 ] ||
			fail "pid $1: $set $(field "$1" "$set")" || return
	done
	uid=$(nobody)
	[ "$(field "$1" Uid | xargs)" = "$uid $uid $uid $uid" ] ||
		fail "pid $1: uid $(field "$1" Uid)" || return
	[ "$(id -u)" != 0 ] || [ "$uid" = 0 ] || [ -z "$(field "$1" Groups | xargs)" ] ||
		fail "pid $1: groups $(field "$1" Groups)" || return
	[ "$(field "$1" NoNewPrivs)" = 1 ] || fail "pid $1: NoNewPrivs" || return
	! sanitized || filters=0
	[ "$(field "$1" Seccomp_filters)" = "$filters" ] ||
		fail "pid $1: $(field "$1" Seccomp_filters) filters, not $filters"
}

@test "no role has a capability, a group, or a way to get one (T58, gost 11)" {
	local pid server
	peer_server ns2 echo echo 8080
	for server in '' --pin; do
		start_nsfwd ${server:+"$server"} ns1@8000=ns2@8080 \
			ns1@8001=ns2@localhost:8080 udp:ns1@8000=ns2@8080
		peer_start ns1 hold hold 2 8000
		peer_start ns1 hold_name hold 2 8001
		wait_until 5 connections_are 4
		wait_until 5 all_bare
		[ "$(mappers | wc -l)" = 3 ]
		[ "$(field "$NSFWD_PID" NoNewPrivs)" = 1 ]
		# A program that takes the server's place has its rights, and no more.
		[ -n "$server" ] ||
			[ "$(field "$NSFWD_PID" CapBnd)" = "$(field "$NSFWD_PID" CapPrm)" ]
		kill "$(pid_of hold)" "$(pid_of hold_name)"
		[ -n "$server" ] || stop_nsfwd
	done
	bare "$NSFWD_PID" 0
	logged '^nsfwd: --pin: '
}

# True for all mappers and connections. A connection that resolved a name has two
# filters: that of its mapper and that for relaying.
all_bare() {
	local pid name=0
	for pid in $(mappers); do
		bare "$pid" 1 || return
	done
	for pid in $(connections); do
		bare "$pid" 1 2>/dev/null || {
			bare "$pid" 2 || return
			name=$((name + 1))
		}
		sanitized || grep -Eq '^Max processes +0 +0 ' "/proc/$pid/limits" ||
			fail "pid $pid: may have processes" || return
		sanitized || grep -Eq '^Max open files +11 +11 ' "/proc/$pid/limits" ||
			fail "pid $pid: may open files" || return
	done
	sanitized || [ "$name" = 2 ] || fail "$name connections of a name"
}

metrics() {
	pgrep -P "$NSFWD_PID" -f '^nsfwd: metrics'
}

@test "the process that answers a reader of --stats has no rights, and exits" {
	local many pid
	many=$(printf '+10.0.0.0/8%.0s' {1..4000})
	echo "ns1@8000=ns2@8080,allow=::1$many" >"$BATS_TEST_TMPDIR/conf"
	start_nsfwd -q --stats /run/stats -c "$BATS_TEST_TMPDIR/conf"
	spawn self reader python3 -c 'import socket, time
s = socket.socket(socket.AF_UNIX)
s.connect("/run/stats")
time.sleep(600)'
	wait_until 5 metrics
	pid=$(metrics)
	wait_until 5 bare "$pid" 1
	[ "$(fds "$pid")" = 4 ]
	wait_until 5 test ! -e "/proc/$pid"
	kill -0 "$(pid_of reader)"
	FDS=()
}

@test "the server keeps the capabilities that starting mappers needs, no others" {
	local kept
	start_nsfwd ns1@8000=ns2@8080
	kept=$(field "$NSFWD_PID" CapPrm)
	echo "$kept"
	# sys_admin, sys_ptrace, dac_override, chown, net_bind_service,
	# net_admin, setuid, setgid, setpcap, kill
	[ $((0x$kept & ~(1 << 21 | 1 << 19 | 1 << 1 | 1 << 0 | 1 << 10 | \
		1 << 12 | 1 << 7 | 1 << 6 | 1 << 8 | 1 << 5))) = 0 ]
	[ $((0x$kept & 1 << 21)) != 0 ]
	kill -KILL "$(mappers)"
	wait_until 5 logged 'its mapper was killed by signal 9'
	wait_until 5 eval '[ -n "$(mappers)" ]'
	record_fds
	serves ns2
	in_ns ns1 python3 "$FAULTS" ask 127.0.0.1/8000=ns2
}

@test "the filters allow exactly their list, by number and argument (T59)" {
	local name line
	for name in gcc musl-gcc; do
		command -v $name >/dev/null || continue
		$name -std=c11 -D_GNU_SOURCE -Wall -Wextra -idirafter /usr/include \
			-idirafter "/usr/include/$(gcc -dumpmachine)" \
			-o "$BATS_TEST_TMPDIR/$name" \
			-I "$BATS_TEST_DIRNAME/.." "$BATS_TEST_DIRNAME/seccomp.c" \
			"$BATS_TEST_DIRNAME/../base/seccomp.c" \
			"$BATS_TEST_DIRNAME/../base/sock.c"
		"$BATS_TEST_TMPDIR/$name" look </dev/null
	done
	"$BATS_TEST_TMPDIR/gcc" count </dev/null >"$BATS_TEST_TMPDIR/counts"
	sed 's/^/# /' "$BATS_TEST_TMPDIR/counts" >&3
	line=$(sed -n 's/^relay: \([0-9]*\) of .*/\1/p' "$BATS_TEST_TMPDIR/counts")
	[ "$line" -ge 340 ]
	line=$(sed -n 's/^tcp: \([0-9]*\) of .*/\1/p' "$BATS_TEST_TMPDIR/counts")
	[ "$line" -ge 320 ]
	# Only --no-sandbox switches filters off.
	sanitized || run ! grep -q 'built for tests' "$NSFWD"
}

@test "a filter or a user that cannot be set is fatal, and no port stays open" {
	local call
	sanitized && skip "a build without filters"
	for call in seccomp:filter setresuid:privileges; do
		WRAP=(strace -f -qq -o /dev/null -e "trace=${call%:*}"
			-e "inject=${call%:*}:error=EAGAIN")
		start_fails 1 "'ns1@8000=ns2@80': cannot .*${call#*:}.*: EAGAIN" \
			ns1@8000=ns2@80
	done
	[ -z "$(in_ns ns1 ss -Hltn)" ]
	WRAP=(setpriv "--bounding-set=-setuid,-setgid" "--inh-caps=-setuid,-setgid")
	start_fails 1 'cannot drop privileges: (EPERM \(--user and user= need root|EINVAL \(see --user\))' \
		--user 4711 ns1@8000=ns2@80
	start_fails 2 "option '--user': 'no-such-one': no such user" \
		--user no-such-one 8000=80
	start_fails 2 "option '--user': 'root:[*]*': no such group" \
		--user root:no-such-one 8000=80
	[ -z "$(in_ns ns1 ss -Hltn)" ]
}

@test "a user namespace with one user: mappers stay that user" {
	unshare -rU true 2>/dev/null || skip "no user namespace to be had"
	WRAP=(unshare -rU)
	start_nsfwd 127.0.0.1:8000=8080
	logged '^nsfwd: --user: root, because mappers cannot become nobody$'
	[ "$(field "$(mappers)" Uid | cut -f1)" = "$(id -u)" ]
}

@test "--user by name and number, user=, --no-sandbox" {
	local words want uid pid
	[ "$(nobody)" != 0 ] || skip "this user namespace has one user"
	while read -r words want; do
		start_nsfwd --user "$words" ns1@8000=ns2@8080
		[ "$(field "$(mappers)" Uid | cut -f1) $(field "$(mappers)" Gid |
			cut -f1)" = "$want" ]
		[ "$(field "$(mappers)" CapPrm)" = 0000000000000000 ]
		stop_nsfwd
	done <<-END
		4711 4711 4711
		4711:4712 4711 4712
		root:daemon 0 $(id -g daemon)
		daemon $(id -u daemon) $(id -g daemon)
	END
	# user= of a map is stronger.
	start_nsfwd --user 4711 ns1@8000=ns2@8080,user=daemon ns1@8001=ns2@8080,user=4712
	[ "$(for pid in $(mappers); do field "$pid" Uid; done | cut -f1 | sort -n | xargs)" = \
		"$(id -u daemon) 4712" ]
	run ! logged 'by default'
	stop_nsfwd
	# The default is nsfwd, if there is one.
	start_nsfwd ns1@8000=ns2@8080
	logged '^nsfwd: --user: nobody, by default$'
	stop_nsfwd
	{ cat /etc/passwd && echo nsfwd:x:4713:4714::/:/bin/false; } >"$BATS_TEST_TMPDIR/passwd"
	mount --bind "$BATS_TEST_TMPDIR/passwd" /etc/passwd
	start_nsfwd ns1@8000=ns2@8080
	umount /etc/passwd
	logged '^nsfwd: --user: nsfwd, by default$'
	[ "$(field "$(mappers)" Uid | cut -f1) $(field "$(mappers)" Gid | cut -f1)" = '4713 4714' ]
	stop_nsfwd
	start_nsfwd --no-sandbox ns1@8000=ns2@localhost:8080
	[ "$(field "$(mappers)" Seccomp)" = 0 ]
	[ "$(field "$(mappers)" CapPrm)" = 0000000000000000 ]
	[ "$(field "$(mappers)" Uid | cut -f1)" = 65534 ]
	logged '^nsfwd: --no-sandbox: '
	serves ns2
	in_ns ns1 python3 "$FAULTS" ask 127.0.0.1/8000=ns2
}

# Names.

# Mounts another /etc, with the files that resolving needs. The name server of the
# host must not be asked; ns2 has its own.
private_etc() {
	local etc=$BATS_TEST_TMPDIR/etc file
	mkdir -p "$etc/netns/ns2"
	for file in passwd group services protocols host.conf gai.conf ld.so.cache \
		localtime; do
		[ ! -e "/etc/$file" ] || cp -L "/etc/$file" "$etc/$file"
	done
	cp -rP /etc/alternatives "$etc/" # awk is one
	echo 'nameserver 127.0.0.1' >"$etc/resolv.conf"
	echo '127.0.0.1 localhost only-here.test' >"$etc/hosts"
	echo 'hosts: files dns' >"$etc/nsswitch.conf"
	echo 'nameserver 10.7.7.7' >"$etc/netns/ns2/resolv.conf"
	chmod -R a+rX "$etc"
	for_nobody
	mount --bind "$etc" /etc
}

teardown() {
	oracle
	while mountpoint -q /etc; do
		umount /etc
	done
}

dns_server() {
	ip -n ns2 addr add 10.7.7.7/32 dev lo
	spawn ns2 dns "$(command -v dnsmasq)" --keep-in-foreground --no-daemon \
		--no-resolv --no-hosts --conf-file=/dev/null --pid-file= \
		--listen-address=10.7.7.7 --bind-interfaces --log-facility=- \
		--local=/test/ --host-record=inside.test,www.inside.test,10.7.7.8 \
		--mx-host=mail.test,inside.test --log-queries
	wait_until 5 eval '[ -n "$(in_ns ns2 ss -Hlun "sport = 53")" ]'
}

# Spawns the host's name server and nscd, which print who asks them. Shells ask nscd,
# too.
listen_for_leaks() {
	mkdir -p /run/nscd
	mountpoint -q /var/run || [ /var/run -ef /run ] || mkdir -p /var/run/nscd
	spawn_ready self leaks python3 -c '
import os, select, socket, struct
socks = []

def name(sock):
    pid = struct.unpack("3i", sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except OSError:
        return "gone"

for family, addr in ((socket.AF_INET, ("127.0.0.1", 53)),
                     (socket.AF_INET6, ("::1", 53))):
    socks.append(socket.socket(family, socket.SOCK_DGRAM))
    socks[-1].bind(addr)
    socks.append(socket.socket(family))
    socks[-1].bind(addr)
    socks[-1].listen()
socks.append(socket.socket(socket.AF_UNIX))
socks[-1].bind("/run/nscd/socket")
socks[-1].listen()
os.chmod("/run/nscd", 0o755)
os.chmod("/run/nscd/socket", 0o777)
os.write(9, b"ready\n")
os.close(9)
while True:
    for s in select.select(socks, [], [])[0]:
        client = s.accept()[0] if s.type == socket.SOCK_STREAM else s.recv(9)
        print("leak:", s.getsockname(), "from",
              name(client) if s.family == socket.AF_UNIX else "?", flush=True)
        client = None
'
}

@test "names resolve inside, by the files of /etc/netns; nothing is asked outside (T60, gost 3)" {
	needs dnsmasq
	local leaks=$BATS_TEST_TMPDIR/leaks.out dns=$BATS_TEST_TMPDIR/dns.out n
	private_etc
	echo '10.7.7.8 in-hosts.test' >/etc/netns/ns2/hosts
	dns_server
	ip -n ns2 addr add 10.7.7.8/32 dev lo
	named_server ns2 ns2 10.7.7.8/8080
	start_nsfwd -v ns1@8001=ns2@inside.test:8080 \
		ns1@8002=ns2@www.inside.test:8080 ns1@8003=ns2@in-hosts.test:8080 \
		ns1@8004=ns2@nowhere.test:8080,connect-timeout=2 \
		ns1@8005=ns2@only-here.test:8080,connect-timeout=2 \
		ns1@8007=ns2@mail.test:8080,connect-timeout=2 \
		udp:ns1@8001=ns2@inside.test:8081 ns1@8006=/run/netns/ns2@inside.test:8080,connect-timeout=1
	listen_for_leaks # not before: it is the host's user whose name was asked
	udp_echo ns2 echo 10.7.7.8 8081
	in_ns ns1 python3 "$FAULTS" ask 127.0.0.1/8001=ns2 127.0.0.1/8002=ns2 \
		127.0.0.1/8003=ns2 127.0.0.1/8004=reset 127.0.0.1/8005=reset \
		127.0.0.1/8007=reset
	wait_until 2 logged 'mail.test.* end=dial error=no-address server=10.7.7.7:53'
	logged 'nowhere.test.* end=dial error=no-such-name server=10.7.7.7:53'
	in_ns ns1 python3 -c "$UDP_ASK" 127.0.0.1 8001
	record_fds # it may have been asking for the name
	grep -qi 'query\[A\] inside.test from 10.7.7.7' "$dns"
	grep -qi 'query\[A.*\] only-here.test' "$dns"
	# A namespace by path has no files: the server at its 127.0.0.1 is asked.
	in_ns ns1 python3 "$FAULTS" ask 127.0.0.1/8006=reset
	# The files outside were not changed.
	grep -q only-here /etc/hosts
	# A question before these two is a leak.
	python3 -c '
import socket
open("/proc/self/comm", "w").write("nsfwd")
nscd = socket.socket(socket.AF_UNIX)
nscd.connect("/run/nscd/socket")
nscd.recv(1)
socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 53))'
	wait_until 5 eval "grep -q '127.0.0.1.* from' '$leaks'"
	cat "$leaks"
	[ "$(grep -c '127.0.0.1\|::1' "$leaks")" = 1 ]
	sanitized || [ "$(grep -c 'nscd.* from nsfwd$' "$leaks")" = 1 ]
}

# Ordinary users.

# Sets USER_WORLD, a prefix that runs a command as an unprivileged user, and copies
# nsfwd to a place where that user can read it.
ordinary() {
	mkdir -p /run/user
	chmod 755 /run/user
	install -m 755 "$NSFWD" /run/user/nsfwd
	NSFWD=/run/user/nsfwd
	if [ "$(nobody)" != 0 ]; then
		USER_WORLD=(setpriv --reuid 1000 --regid 1000 --clear-groups --)
	else
		spawn_ready self world unshare -U --map-user=1000 --map-group=1000 \
			sh -c 'echo ready >&9; exec 9>&-; exec sleep 60'
		USER_WORLD=(nsenter -U --preserve-credentials
			-t "$(pid_of world)" --)
	fi
	"${USER_WORLD[@]}" unshare -Urn true 2>/dev/null ||
		skip "no user namespace to be had"
	[ "$("${USER_WORLD[@]}" id -u)" = 1000 ]
}

# container NAME: makes a user and a network namespace of the ordinary user; sets
# CONTAINER to its pid; /run/netns/NAME is a link there.
container() {
	spawn_ready self "$1" "${USER_WORLD[@]}" unshare -Urn sh -c \
		'ip link set lo up; echo ready >&9; exec 9>&-; exec sleep 60'
	CONTAINER=$(pid_of "$1")
	ln -sf "/proc/$CONTAINER/ns/net" "/run/netns/$1"
}

serves() {
	local where
	for where; do
		named_server "$where" "$where" 127.0.0.1/8080
		udp_echo "$where" "udp-$where" 127.0.0.1 8080
	done
}

# carried NS PORT NAME: true if TCP reaches the server NAME, and UDP an echo.
carried() {
	asks "$1" "127.0.0.1/$2=$3" || return
	in_ns "$1" python3 -c "$UDP_ASK" 127.0.0.1 "$2"
}

# True if no process of nsfwd has capabilities or can get them.
powerless() {
	local pid
	for pid in $(tree); do
		[ "$(field "$pid" CapEff)" = 0000000000000000 ] ||
			fail "pid $pid: CapEff $(field "$pid" CapEff)" || return
		[ "$(field "$pid" NoNewPrivs)" = 1 ] || return
	done
}

@test "rootless: into, out of and between containers, by pid and path (T62)" {
	local a b
	ordinary
	container a
	a=$CONTAINER
	container b
	b=$CONTAINER
	serves self a b
	# shellcheck disable=SC2034 # start_nsfwd reads it
	WRAP=("${USER_WORLD[@]}")
	start_nsfwd "tcp+udp:8001=pid:$a@8080" \
		"tcp+udp:pid:$a@8002=8080" \
		"tcp+udp:pid:$a@8003=/proc/$b/ns/net@8080" \
		"tcp+udp:/proc/$b/ns/net@8004=pid:$a@8080" \
		"tcp+udp:8005=b@8080" "pid:$a@80=8080"
	carried self 8001 a
	carried a 8002 self
	carried a 8003 b
	carried b 8004 a
	carried self 8005 b
	in_ns a python3 "$FAULTS" ask 127.0.0.1/80=self
	[ "$(mappers | wc -l)" = 11 ]
	powerless
	rm /run/netns/a /run/netns/b
}

# attacked PID CONTAINER: prints which parts of the process the root of that container
# can open.
attacked() {
	"${USER_WORLD[@]}" nsenter -U -n --preserve-credentials -t "$2" \
		python3 - "$1" <<'END'
import ctypes, os, sys
pid = sys.argv[1]
done = []
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, fn, *args):
    try:
        fn(*args)
        done.append(name)
    except OSError as e:
        pass
def ptrace():
    if libc.ptrace(16, int(pid), 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(int(pid), 0x40000000)
    libc.ptrace(17, int(pid), 0, 0)
attempt("memory", os.open, f"/proc/{pid}/mem", os.O_RDWR)
attempt("namespace", os.open, f"/proc/{pid}/ns/mnt", os.O_RDONLY)
attempt("descriptors", os.readlink, f"/proc/{pid}/fd/0")
attempt("root", os.listdir, f"/proc/{pid}/root/")
attempt("ptrace", ptrace)
if done:
    print(*done)
END
}

@test "the owner of a container cannot open or trace processes that map into it" {
	local a pid said
	ordinary
	container a
	a=$CONTAINER
	serves self a
	for said in user root; do
		WRAP=()
		[ "$said" = root ] || WRAP=("${USER_WORLD[@]}")
		start_nsfwd "8000=pid:$a@8080" "pid:$a@8001=8080"
		peer_start a "hold-$said" hold 1 8001
		wait_until 5 connections_are 1
		for pid in $(tree); do
			attacked "$pid" "$a" >"$BATS_TEST_TMPDIR/done"
			[ ! -s "$BATS_TEST_TMPDIR/done" ] ||
				fail "pid $pid: $(cat "$BATS_TEST_TMPDIR/done")"
		done
		kill "$(pid_of "hold-$said")"
		stop_nsfwd
	done
	# The same test succeeds with an ordinary process.
	[ "$(attacked "$a" "$a")" = "memory namespace descriptors root ptrace" ]
	rm /run/netns/a
}

@test "ports below 1024, as root and as a user (T50)" {
	local first=/proc/sys/net/ipv4/ip_unprivileged_port_start start
	ordinary
	for start in 1024 0; do
		echo $start >$first
		WRAP=()
		start_nsfwd 80=ns2@8080 udp:80=ns2@8080
		stop_nsfwd
		WRAP=("${USER_WORLD[@]}")
		if [ $start = 0 ]; then
			start_nsfwd 80=8080 udp:80=8080
			stop_nsfwd
		else
			start_fails 1 "'80=8080'.*:80.*net.ipv4.ip_unprivileged_port_start" 80=8080
			start_fails 1 "'udp:80=8080'.*:80.*net.ipv4.ip_unprivileged_port_start" udp:80=8080
		fi
	done
	echo 1024 >$first
	[ -z "$(ss -Hltun 'sport = 80')" ]
}

# nsfwd must not enter a process that got its number during the lookup.
@test "a process number that is given to another process (T61)" {
	needs strace
	# shellcheck disable=SC2016 # for the inner shell
	local world='
		unshare -n sleep 60 & old=$!
		strace -f -qq -E ASAN_OPTIONS=detect_leaks=0 -o /dev/null \
			-P "/proc/$old/ns" -e trace=open,openat \
			-e inject=open,openat:delay_enter=700000 \
			"$1" "8000=pid:$old@80" & nsfwd=$!
		until ls -l /proc/[0-9]*/fd 2>&1 | grep -q "/proc/$old/ns$"; do
			sleep 0.01
		done
		kill $old; wait $old
		echo $((old - 1)) >/proc/sys/kernel/ns_last_pid || exit 77
		unshare -n sleep 60 & new=$!
		[ $new = $old ] || { echo "$new, not $old"; exit 77; }
		status=0
		wait $nsfwd || status=$?
		readlink "/proc/$new/ns/net"
		kill $new
		exit $status'
	run unshare -npf --kill-child --mount-proc timeout $((20 * TEST_SLOW)) bash -c "$world" \
		sh "$NSFWD"
	[ "$status" != 77 ] || skip "no number to be chosen: $output"
	[ "$status" = 2 ]
	[[ $output == *"no namespace 'pid:"*"(no such process; --wait waits for it)"* ]]
}
