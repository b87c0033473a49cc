#!/usr/bin/env bats
# UDP: every datagram arrives whole, once and in order, from the right address;
# lost datagrams are counted; flows end in time and leave nothing behind.

bats_require_minimum_version 1.5.0
load helpers

UDP=$BATS_TEST_DIRNAME/udp.py
DATAGRAMS=$BATS_FILE_TMPDIR/datagrams
LISTEN=127.0.0.1/7000
TARGET=127.0.0.1/8000
MAP=udp:ns1@127.0.0.1:7000=ns2@127.0.0.1:8000

setup_file() {
	"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -o "$BATS_FILE_TMPDIR/datagrams" \
		"$BATS_TEST_DIRNAME/datagrams.c"
}

setup() {
	WANTED=()
	ns ns1 ns2
}

# Waits for the end of flows, because the oracle counts descriptors.
teardown() {
	local bad=0 want
	umount /etc/resolv.conf 2>/dev/null || :
	if [ -n "$NSFWD_PID" ]; then
		wait_until 4 flows_ended || bad=1
	fi
	oracle || bad=1
	for want in "${WANTED[@]}"; do
		logged "$want" || {
			bad=1
			echo "not in the log: $want"
			show_log
		}
	done
	return "$bad"
}

# wanted ERE...: teardown() fails if an ERE matches no line of the log.
wanted() {
	WANTED+=("$@")
}

# start ARG...: starts nsfwd with short timeouts of flows.
start() {
	start_nsfwd --udp-timeout 2 --udp-one-way-timeout 2 "$@"
}

flows_ended() {
	local pid count
	for pid in $(mappers); do
		count=$(fds "$pid")
		[ "$count" = "${FDS[$pid]}" ] || return
	done
}

scene() {
	python3 "$UDP" "$@" 3>&-
}

idle() {
	local -a pids
	mapfile -t pids < <(tree)
	rests 0.5 1 "${pids[@]}"
}

listens() {
	in_ns "$1" ss -Hlun | grep -q ":$2 "
}

@test "T41 every size there and back, and what kernels join or cut (T48, gost 5)" {
	local key mtu
	for key in '' ,offload=off; do
		start "$MAP$key" "udp:ns1@::1/7000=ns2@::1/8000$key"
		scene sizes $LISTEN $TARGET
		scene sizes ::1/7000 ::1/8000
		scene segments $LISTEN $TARGET
		scene segments ::1/7000 ::1/8000
		stop_nsfwd
		start "$MAP$key"
		# With the second MTU, 9000 bytes take fragments, and joined
		# datagrams do not fit.
		for mtu in 65536 1500; do
			ip -n ns1 link set lo mtu $mtu
			ip -n ns2 link set lo mtu $mtu
			scene mixed 500 $LISTEN $TARGET "$(mappers)"
		done
		ip -n ns1 link set lo mtu 65536
		ip -n ns2 link set lo mtu 65536
		stop_nsfwd
	done
	logged 'dropped: source=0 limit=0 up=0 down=0 overflow=0 refused=0$' 6
	start "$MAP"
}

# flood KEY N: sends N datagrams, half of them up, half of them down.
flood() {
	local lost
	# The smallest table, in which flows meet.
	start "$MAP,flows=64$1"
	spawn_ready ns2 "echo$1" "$DATAGRAMS" echo 8000
	spawn ns1 flows "$DATAGRAMS" flows 7000 64 $(($2 / 2))
	reap -t 40 flows
	lost=$(sed -n 's/^lost //p' "$BATS_TEST_TMPDIR/flows.out")
	echo "lost $lost"
	[ "$lost" -le $(($2 / 2000)) ]
	wait_until 4 flows_ended
	stop_nsfwd
	kill "$(pid_of "echo$1")"
	# Every lost datagram was counted.
	tail -n 2 "$LOG" | awk -v lost="$lost" -F '[ =]' '
		/ flows=64 / {
			for (i = 1; i < NF; i++)
				if ($i ~ /^(source|limit|up|down|overflow)$/)
					sum += $(i + 1)
			print sum " counted"
			exit sum != lost
		}'
}

@test "T42 300,000 datagrams on 64 flows" {
	flood '' 200000
	flood ,offload=off 100000
}

@test "datagrams that overflow the receive buffer are counted" {
	local sent got up over
	start "$MAP"
	spawn_ready ns2 sink "$DATAGRAMS" sink 8000
	freeze
	sent=$(in_ns ns1 "$DATAGRAMS" flood 7000 2000 0 500)
	thaw
	reap sink
	got=$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/sink.out")
	echo "sent $sent, got $got"
	[ "$got" -gt 200 ]
	stop_nsfwd
	read -r up over < <(sed -nE \
		's/.*flows=1 up-datagrams=([0-9]+) .* overflow=([0-9]+) .*/\1 \2/p' "$LOG")
	# The sink may be too slow, too.
	[ "$up" -ge "$got" ]
	[ "$over" -gt 0 ]
	[ $((up + over)) = "$sent" ]
}

@test "T43 answers come from the address that was asked (gost 6)" {
	ip -n ns1 addr add fd00::2/128 dev lo
	start udp:ns1@:7000=ns2@127.0.0.1:8000
	scene from_where 7000 $TARGET 127.0.0.2 127.0.0.3 ::1 fd00::2
	wanted 'flows=8 up-datagrams=8 down-datagrams=8 '
}

@test "T44 flows=100 and 300 clients (gost 12)" {
	local pid before after
	start -v "$MAP,flows=100,udp-timeout=$((1 + TEST_SLOW))"
	pid=$(mappers)
	scene crowd 10 290 90 $LISTEN $TARGET
	wait_until 4 flows_ended
	before=$(memory "$pid")
	scene crowd 10 290 90 $LISTEN $TARGET
	wait_until 4 flows_ended
	after=$(memory "$pid")
	echo "memory: $before KiB, then $after KiB"
	# The mapper takes a page for each datagram of a batch, and no more.
	[ $((after - before)) -le 320 ]
	logged 'nsfwd: .*flow from.* end=idle$' 200
	wanted 'flows=200 .* source=0 limit=400 up=0 down=0 overflow=0 refused=0$'
}

@test "10,000 made-up clients do not hurt one that is served" {
	start "$MAP,flows=500"
	scene flood 10000 $LISTEN $TARGET
	wait_until 4 flows_ended
	stop_nsfwd
	awk -F '[ =:]+' '/udp map=/ {
		for (i = 1; i < NF; i++)
			n[$i] = $(i + 1)
		print n["flows"], n["limit"]
		exit n["flows"] < 500 || n["limit"] < 1 || n["flows"] + n["limit"] + n["overflow"] != 10001
	}' "$LOG"
	wanted 'down-datagrams=22 '
}

@test "an unanswered flow makes room after a second, an assured one never" {
	start_nsfwd -v "$MAP,flows=3"
	scene room $LISTEN $TARGET
	wait_until 2 logged 'up-datagrams=1 down-datagrams=0 ms=[1-9][0-9]{3} end=evicted'
	stop_nsfwd
	wanted 'flows=4 up-datagrams=8 .* limit=6 '
}

@test "T45 a target that is down, then up; a storm of refusals ends" {
	local before
	local -a pids
	start "$MAP"
	mapfile -t pids < <(tree)
	before=$(cpu_ticks "${pids[@]}")
	scene comes_back $LISTEN $TARGET
	[ $(($(cpu_ticks "${pids[@]}") - before)) -le 8 ]
	scene burst 3000 $LISTEN
	idle
	wanted 'flows=11 up-datagrams=3020 down-datagrams=10 .* up=0 down=0 '
}

@test "T46 flows end two seconds after their last datagram" {
	start_nsfwd -v "$MAP,udp-timeout=2,udp-one-way-timeout=2"
	scene expiry $LISTEN $TARGET "$LOG"
	logged 'client=127.0.0.1:[0-9]+ target=127.0.0.1:8000 up=120 down=0 up-'
}

@test "T47 sources that nobody may be answered at" {
	start "$MAP" "udp:ns1@::1/7000=ns2@127.0.0.1:8000"
	scene forged $LISTEN ::1/7000 $TARGET 224.0.0.1/5353 \
		239.255.255.250/1900 255.255.255.255/67 0.1.2.3/68 \
		127.0.0.1/0 ::1/0
	wanted 'map=.udp:ns1@127.* flows=1 up-datagrams=1 .* source=5 ' \
		'map=.udp:ns1@::1.* flows=1 up-datagrams=1 .* source=1 '
}

# Makes calls of the mapper fail, by number. strace(1) does that, and needs
# --no-sandbox.
failing() {
	spawn self strace strace -f -qq -o /dev/null -e "trace=sendmmsg,sendmsg" \
		-e "inject=sendmmsg,sendmsg:error=$1:when=$2" -p "$(mappers)"
	wait_until 5 grep -q '^TracerPid:	[1-9]' "/proc/$(mappers)/status"
}

@test "T30 datagrams that the kernel does not send are counted, and the next passes" {
	local error
	needs strace
	start --no-sandbox "$MAP"
	for error in ENOBUFS EPERM; do
		failing $error 3..5
		scene blocked up $LISTEN $TARGET
		kill "$(pid_of strace)"
		wait_until 5 ended "$(pid_of strace)"
		failing $error 3..5
		scene blocked down $LISTEN $TARGET
		kill "$(pid_of strace)"
		wait_until 5 ended "$(pid_of strace)"
	done
	logged 'dropped a datagram of 127.0.0.1:.* not sent to the target: ENOBUFS'
	wanted 'up-datagrams=8 down-datagrams=8 .* limit=0 up=6 down=6 over'
}

@test "T30 with the packet filter of the target's namespace" {
	local verdict
	needs nft
	in_ns ns2 nft add table inet t 2>/dev/null || skip "no nftables here"
	in_ns ns2 nft 'add chain inet t o { type filter hook output priority 0; }'
	start "$MAP"
	for verdict in drop reject; do
		scene blocked up $LISTEN $TARGET "nsenter --net=/run/netns/ns2 \
			nft add rule inet t o udp dport 8000 $verdict" \
			"nsenter --net=/run/netns/ns2 nft flush chain inet t o"
	done
	logged 'not sent to the target: EPERM'
	wanted 'flows=2 up-datagrams=4 .* up=6 down=0 '
}

@test "several targets, families, ranges, names, max-source, TCP beside UDP" {
	start "udp:ns1@7000=ns2@127.0.0.1:8009,127.0.0.1:8000" \
		"udp:ns1@7010-7013=ns2@8010-8013" \
		"udp:ns1@7020-7023=ns2@8020" \
		"udp:ns1@::1/7030=ns2@127.0.0.1:8030" \
		"udp:ns1@7040=ns2@8040" \
		"udp:ns1@127.0.0.1:7050=ns2@localhost:8050" \
		"tcp+udp:ns1@7060=ns2@8060" \
		"udp:ns1@:7070=ns2@127.0.0.1:8070,max-source=3"
	scene refusing $LISTEN $TARGET 127.0.0.1/8009
	local i
	for i in 0 1 2 3; do
		scene swaps 2 127.0.0.1/701$i 127.0.0.1/801$i
		scene swaps 2 ::1/702$i 127.0.0.1/8020
	done
	scene swaps 3 ::1/7030 127.0.0.1/8030
	# A bare target port is ::1 if nothing listens on 127.0.0.1.
	scene swaps 3 127.0.0.1/7040 ::1/8040
	scene swaps 3 127.0.0.1/7050 127.0.0.1/8050
	scene swaps 3 ::1/7060 127.0.0.1/8060
	# max-source counts by address, not by port.
	scene crowd 0 10 3 127.0.0.1/7070 127.0.0.1/8070
	scene swaps 3 127.0.0.1/7070 127.0.0.1/8070 127.0.0.9/0
	scene swaps 3 ::1/7070 127.0.0.1/8070
	wanted 'max-source=3. flows=9 .* limit=7 '
	peer_server ns2 tcp echo 8060
	peer ns1 connect 7060 bulk=100000
}

@test "a client keeps its port at the target, whether it or the target sends first (gost 4)" {
	start_nsfwd --udp-timeout 1500ms --udp-one-way-timeout 300ms "$MAP"
	scene port_kept $LISTEN $TARGET
	scene tunnel $LISTEN $TARGET 0.5
	wanted 'flows=2 up-datagrams=26 down-datagrams=27 '
}

@test "1,000 flows are one process that sleeps, and then they are gone" {
	local pid
	start_nsfwd -v "$MAP,udp-timeout=1h"
	pid=$(mappers)
	scene swaps 1000 $LISTEN $TARGET
	[ "$(tree | wc -l)" = 2 ]
	[ "$(fds "$pid")" = $((FDS[$pid] + 1000)) ]
	sleep_on 1 "$pid"
	stop_nsfwd
	logged ' flow .* up-datagrams=1 down-datagrams=1 .* end=' 1000
}

@test "namespaces whose lo is down" {
	ip netns add ns3
	NAMESPACES+=(ns3)
	run -1 timeout $((5 * TEST_SLOW)) "$NSFWD" udp:ns3@7000=ns2@8000
	[[ $output == *'ip -n ns3 link set lo up'* ]]
	start udp:ns1@127.0.0.1:7000=ns3@8000
	scene burst 5 $LISTEN
	idle
	logged 'no way to the target: ENETUNREACH'
	ip -n ns3 link set lo up
	spawn_ready ns3 sink "$DATAGRAMS" sink 8000
	in_ns ns1 "$DATAGRAMS" flood 7000 64 100 50 3>&-
	reap sink
	wanted 'flows=1 up-datagrams=[1-9].* up=5 down=0 '
}

@test "dnsmasq and dig: 1,000 queries, over UDP and TCP" {
	needs dnsmasq dig
	spawn ns2 dns "$(command -v dnsmasq)" --keep-in-foreground --no-resolv \
		--no-hosts --no-daemon --pid-file= --conf-file=/dev/null \
		--listen-address=127.0.0.1 --bind-interfaces --port=53 \
		--address=/test/192.0.2.7 --cache-size=0
	wait_until 5 listens ns2 53
	start tcp+udp:ns1@53=ns2@53
	seq 1 1000 | sed 's/.*/name&.test A/' >"$BATS_TEST_TMPDIR/names"
	in_ns ns1 dig @127.0.0.1 +short +tries=1 +time=9 \
		-f "$BATS_TEST_TMPDIR/names" >"$BATS_TEST_TMPDIR/answers" 3>&-
	[ "$(grep -cx 192.0.2.7 "$BATS_TEST_TMPDIR/answers")" = 1000 ]
	[ "$(in_ns ns1 dig @127.0.0.1 +tcp +short one.test 3>&-)" = 192.0.2.7 ]
	[ "$(in_ns ns1 dig @::1 +short one.test 3>&-)" = 192.0.2.7 ]
}

# The window is within what Linux allows by default.
iperf_passes() {
	in_ns ns1 iperf3 --client 127.0.0.1 --udp --bitrate $((240 / (TEST_SLOW + 2)))M \
		--length 1200 --window 400K --time 1 --json "$@" \
		>"$BATS_TEST_TMPDIR/json" 3>&-
	python3 - "$BATS_TEST_TMPDIR/json" <<-'END'
		import json, sys
		end = json.load(open(sys.argv[1]))["end"]["sum"]
		print(end["packets"], "packets,", end["lost_packets"], "lost")
		assert end["packets"] > 1000
		assert end["lost_packets"] <= end["packets"] / 100
	END
}

@test "iperf3 -u through a tcp+udp map" {
	needs iperf3
	spawn ns2 iperf iperf3 --server --port 5201
	wait_until 5 eval 'in_ns ns2 ss -Hltn | grep -q :5201'
	start tcp+udp:ns1@127.0.0.1:5201=ns2@5201
	# Once more, if another process had the processor.
	for way in '' --reverse; do
		iperf_passes $way || iperf_passes $way || iperf_passes $way
	done
}

# Broadcast and multicast.

# Makes a host, ns3, with a link to ns2.
lan() {
	ns ns3
	ip -n ns2 link add lan type veth peer name lan netns ns3
	ip -n ns2 addr add 10.0.0.1/24 brd + dev lan
	ip -n ns3 addr add 10.0.0.3/24 brd + dev lan
	ip -n ns3 addr add 10.0.0.4/24 dev lan
	ip -n ns2 link set lan up
	ip -n ns3 link set lan up
	wait_until 5 eval 'ip -n ns2 link show lan | grep -q LOWER_UP'
}

@test "broadcast and multicast targets: all hosts get the datagram, all answers arrive" {
	lan
	start "udp:ns1@127.0.0.1:7000=ns2@10.0.0.255:8000" \
		"udp:ns1@127.0.0.1:7001=ns2@255.255.255.255:8001,dev=lan" \
		"udp:ns1@127.0.0.1:7002=ns2@239.1.2.3:8002,dev=lan" \
		"udp:ns1@127.0.0.1:7003=ns2@10.0.0.255:8003,src=10.0.0.1"
	scene everybody 127.0.0.1/7000 10.0.0.255/8000 10.0.0.3 10.0.0.4
	scene everybody 127.0.0.1/7001 255.255.255.255/8001 10.0.0.3 10.0.0.4
	scene everybody 127.0.0.1/7002 239.1.2.3/8002 10.0.0.3 10.0.0.4
	scene everybody 127.0.0.1/7003 10.0.0.255/8003 10.0.0.3 10.0.0.4
	wanted 'map=.udp:ns1@127.0.0.1:7000.* up-datagrams=3 down-datagrams=6 .* up=0 '
}

# messages FROM: prints how many messages the calls have that send datagrams of 1000
# bytes to a client, before and after a datagram of 1 byte. Reads the strace output.
messages() {
	awk '/sendmmsg\(/ && /iov_len=1\}/ { lot++; next }
		/sendmmsg\(/ && match($0, / = [0-9]+$/) {
			n[lot + 0] += substr($0, RSTART + 3)
		}
		END { print n[0] + 0, n[1] + 0 }' "$BATS_TEST_TMPDIR/calls"
}

@test "a client behind a small MTU has its own datagrams cut, and nobody else's" {
	local slow quick
	needs strace
	start --no-sandbox "udp:ns1@:7000=ns2@127.0.0.1:8000"
	ip -n ns1 addr add 10.9.9.9/32 dev lo
	ip -n ns1 route change local 10.9.9.9 dev lo table local \
		src 10.9.9.9 mtu lock 600
	spawn self strace strace -qq -s 0 -o "$BATS_TEST_TMPDIR/calls" \
		-e trace=sendmmsg -e abbrev=none -p "$(mappers)"
	wait_until 5 grep -q '^TracerPid:	[1-9]' "/proc/$(mappers)/status"
	scene narrow $LISTEN $TARGET 10.9.9.9/0 "$(mappers)"
	kill "$(pid_of strace)"
	wait_until 5 ended "$(pid_of strace)"
	read -r slow quick < <(messages)
	echo "messages for 60 datagrams: $slow, and $quick for the other client"
	[ "$slow" -ge 60 ]
	[ "$quick" -le 10 ]
}

# Limits.

# Sets ticks: what 20,000 datagrams cost that max-source refuses beside $1 flows, the
# least of three.
refused() {
	local before n pid
	start_nsfwd "$MAP,max-source=$1"
	pid=$(mappers)
	scene refused_source "$1" 0 $LISTEN $TARGET
	ticks=
	for _ in 1 2 3; do
		before=$(cpu_ticks "$pid")
		scene refused_source 0 20000 $LISTEN $TARGET
		n=$(($(cpu_ticks "$pid") - before))
		[ "${ticks:-$n}" -lt "$n" ] || ticks=$n
	done
	echo "$1 flows: $ticks ticks for 20,000 datagrams"
	stop_nsfwd
}

@test "what max-source refuses costs as much with 4,000 flows as with ten" {
	local few ticks
	refused 10
	few=$ticks
	refused 4000
	logged 'flows=[48]00[1-9] .* limit=[1-6][0-9]{4} '
	sanitized || [ "$ticks" -le $((few * 2 + 10)) ]
}

@test "flows= is cut to the descriptors that there are, and flows make room" {
	local kind
	# shellcheck disable=SC2034 # start_nsfwd reads it
	WRAP=(prlimit --nofile=60)
	for kind in one-way answered; do
		start_nsfwd -v "$MAP"
		logged "'$MAP': flows=[34][0-9], not 4096: "
		scene newcomer $kind 80 $LISTEN $TARGET many 1.1
		logged 'end=evicted'
		stop_nsfwd
	done
	run ! logged 'EMFILE'
	start_nsfwd "$MAP,flows=20"
	[ "$(grep -c 'flows=.*, not' "$LOG")" = 2 ]
}

@test "descriptors, and ports, that run out later are a full table" {
	local pid
	# prlimit(1) changes the limits of its own user.
	start_nsfwd -v --user root "$MAP"
	pid=$(mappers)
	prlimit --pid "$pid" "--nofile=$(($(fds "$pid") + 20)):"
	scene newcomer one-way 30 $LISTEN $TARGET many 1.1
	logged 'no way to the target: EMFILE'
	logged 'end=evicted'
	stop_nsfwd
	in_ns ns2 sysctl -qw net.ipv4.ip_local_port_range='40000 40019'
	start_nsfwd -v "$MAP"
	scene newcomer answered 30 $LISTEN $TARGET many 1.1
	logged 'no way to the target: EAGAIN'
	logged 'end=evicted' 2
	stop_nsfwd
}

@test "one address with all flows makes room for others, up to a half" {
	start "$MAP,flows=40"
	scene newcomer assured 40 $LISTEN $TARGET one
	stop_nsfwd
	start_nsfwd "$MAP,flows=40"
	scene shares 40 $LISTEN $TARGET
	stop_nsfwd
}

# Destroyed sockets.
can_destroy() {
	spawn_ready ns2 victim python3 -c '
import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 9))
os.write(9, b"ready\n")
os.close(9)
time.sleep(60)'
	in_ns ns2 ss -HKun dport = 9 2>&1 | grep -q 127.0.0.1:9
}

@test "a flow whose socket somebody has ended gets another one (ss -K)" {
	can_destroy || skip "no ss -K here"
	start "$MAP"
	scene ended $LISTEN $TARGET \
		"nsenter --net=/run/netns/ns2 ss -HKun dport = 8000"
	idle
	wanted 'flows=1 up-datagrams=3 down-datagrams=3 .* up=0 down=0 '
}

# Targets that disappear.

# dns_server ADDR: starts a name server in ns2, which gives here.test the address.
dns_server() {
	local dir=$BATS_TEST_TMPDIR
	ip -n ns2 addr add 10.7.7.7/32 dev lo
	ip -n ns2 addr add 10.0.0.1/32 dev lo
	ip -n ns2 addr add 10.0.0.2/32 dev lo
	echo "$1 here.test" >"$dir/hosts"
	echo 'nameserver 10.7.7.7' >"$dir/resolv"
	chmod 644 "$dir/resolv" "$dir/hosts"
	mount --bind "$dir/resolv" /etc/resolv.conf
	spawn ns2 dns "$(command -v dnsmasq)" --keep-in-foreground --no-daemon \
		--no-resolv --no-hosts --conf-file=/dev/null --pid-file= \
		--listen-address=10.7.7.7 --bind-interfaces --local=/test/ \
		--addn-hosts="$dir/hosts" --user= --log-queries --log-facility=-
	wait_until 5 eval '[ -n "$(in_ns ns2 ss -Hlun "sport = 53")" ]'
}

# renamed ADDR: prints a command that gives here.test the address.
renamed() {
	echo "echo '$1 here.test' >$BATS_TEST_TMPDIR/hosts; kill -HUP $(pid_of dns)"
}

# asked: prints how many questions the name server has received.
asked() {
	grep -c 'query\[A\] here.test' "$BATS_TEST_TMPDIR/dns.out"
}

@test "a target that refuses is asked for by its name again, and left" {
	needs dnsmasq
	dns_server 10.0.0.1
	start_nsfwd udp:ns1@127.0.0.1:7000=ns2@here.test:8000
	scene moves refused 5 $LISTEN 10.0.0.1/8000 10.0.0.2/8000 \
		"$(renamed 10.0.0.2)"
	stop_nsfwd
	# The client sent 50 datagrams a second.
	echo "asked $(asked) times"
	[ "$(asked)" -le $((4 * TEST_SLOW)) ]
}

@test "a target that falls silent is asked for by its name again, and left" {
	needs dnsmasq
	dns_server 10.0.0.1
	start_nsfwd udp:ns1@127.0.0.1:7000=ns2@here.test:8000,udp-timeout=3
	scene moves silent 7 $LISTEN 10.0.0.1/8000 10.0.0.2/8000 \
		"$(renamed 10.0.0.2)"
	stop_nsfwd
}

@test "of several targets, one that refuses or falls silent is left for the next" {
	local kind
	for kind in refused silent; do
		start_nsfwd "udp:ns1@127.0.0.1:7000=ns2@127.0.0.1:8001,127.0.0.1:8002,udp-timeout=1"
		scene moves $kind 4 $LISTEN 127.0.0.1/8001 127.0.0.1/8002
		stop_nsfwd
	done
}

@test "targets that never answer: most is sent to the first" {
	start_nsfwd "udp:ns1@127.0.0.1:7000=ns2@127.0.0.1:8001,127.0.0.1:8002,udp-timeout=0.3"
	scene one_way 3 $LISTEN 127.0.0.1/8001 127.0.0.1/8002
	stop_nsfwd
}

# marks FAMILY LISTEN TARGET [SOCKS]: datagrams with 4 values of DSCP and ECN, mixed,
# keep them to the target and back; by an association of the proxy at port SOCKS.
marks() {
	python3 - "$@" 3>&- <<-'END'
		import ctypes, os, socket, struct, sys
		setns = ctypes.CDLL(None).setns
		def at(ns, family):
		    was = os.open("/proc/self/ns/net", os.O_RDONLY)
		    new = os.open("/run/netns/" + ns, os.O_RDONLY)
		    setns(new, 0)
		    s = socket.socket(family, socket.SOCK_DGRAM)
		    s.setsockopt(*(socket.IPPROTO_IP, socket.IP_RECVTOS) if four
		                 else (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS), 1)
		    s.settimeout(10)
		    if len(sys.argv) > 4 and ns == "ns1":
		        tcp = socket.create_connection((host, int(sys.argv[4])))
		        tcp.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
		        reply = tcp.recv(99)
		        while len(reply) < (12 if four else 24):
		            reply += tcp.recv(99)
		        held.extend((tcp, (host, int.from_bytes(reply[-2:], "big"))))
		    setns(was, 0)
		    return s
		def send(s, data, to, tos):
		    kind = (socket.IPPROTO_IP, socket.IP_TOS) if four else (
		        socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
		    s.sendmsg([data], [(*kind, struct.pack("i", tos))], 0, to)
		def receive(s):
		    data, control, _, peer = s.recvmsg(100, 100)
		    assert len(control) == 1, control
		    return data, control[0][2][0], peer
		held = []
		four = sys.argv[1] == "4"
		family = socket.AF_INET if four else socket.AF_INET6
		host = "127.0.0.1" if four else "::1"
		address = "10.0.2.2" if four else "fd00:2::2"
		client, target = at("ns1", family), at("ns2", family)
		target.bind((address, int(sys.argv[3])))
		head = b""
		if len(sys.argv) > 4:
		    head = b"\0\0\0" + bytes([1 if four else 4]) + socket.inet_pton(
		        family, address) + struct.pack("!H", int(sys.argv[3]))
		to = held[1] if head else (host, int(sys.argv[2]))
		tos = [0xb9, 0, 0xb9, 0xb9, 0, 0, 0x02, 0xff] * 4
		for i, value in enumerate(tos):
		    send(client, head + b"%05d" % i, to, value)
		got = [receive(target) for _ in tos]
		assert [g[:2] for g in got] == [(b"%05d" % i, v) for i, v in
		                                enumerate(tos)], got
		for i, value in enumerate(tos):
		    send(target, b"%05d" % i, got[0][2], value)
		got = [receive(client) for _ in tos]
		assert [(d[len(head):], t) for d, t, _ in got] == [
		    (b"%05d" % i, v) for i, v in enumerate(tos)], got
	END
}

@test "DSCP and ECN pass, to the target and back, each datagram's own" {
	ip -n ns2 addr add 10.0.2.2/32 dev lo
	ip -n ns2 addr add fd00:2::2/128 dev lo nodad
	start udp:ns1@7000=ns2@10.0.2.2:8000 "udp:ns1@::1/7001=ns2@fd00:2::2/8000" \
		udp:ns1@7002=ns2@10.0.2.2:8000,offload=off ns1@1080=ns2@proxy
	marks 4 7000 8000
	marks 6 7001 8000
	marks 4 7002 8000
	marks 4 0 8000 1080
	marks 6 0 8000 1080
}

@test "proxy=2: a header of DGRAM in front of each datagram, or of a flow's first" {
	start "$MAP,proxy=2" "udp:ns1@::1/7001=ns2@::1/8000,proxy=2,proxy-netns=off" \
		udp:ns1@127.0.0.1:7002=ns2@127.0.0.1:8000,proxy=2,proxy-each=off
	python3 - 3>&- <<-'END'
		import ctypes, os, socket, struct
		setns = ctypes.CDLL(None).setns
		def at(ns, where):
		    was = os.open("/proc/self/ns/net", os.O_RDONLY)
		    new = os.open("/run/netns/" + ns, os.O_RDONLY)
		    setns(new, 0)
		    s = socket.socket(socket.AF_INET6 if ":" in where[0]
		                      else socket.AF_INET, socket.SOCK_DGRAM)
		    s.bind(where)
		    setns(was, 0)
		    s.settimeout(10)
		    return s
		SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
		def header(client, port, tlv):
		    family, host = client.family, client.getsockname()[0]
		    body = socket.inet_pton(family, host) * 2 + struct.pack(
		        "!HH", client.getsockname()[1], port) + tlv
		    return SIGNATURE + bytes([0x21, 0x22 if ":" in host else 0x12]
		        ) + struct.pack("!H", len(body)) + body
		for host, port, tlv in (("127.0.0.1", 7000, b"\x30\0\3ns1"),
		                        ("::1", 7001, b""),
		                        ("127.0.0.1", 7002, b"\x30\0\3ns1")):
		    client, target = at("ns1", (host, 0)), at("ns2", (host, 8000))
		    head = header(client, port, tlv)
		    # More than iov[] has room for, and sizes that are joined or not.
		    sizes = [100] * 70 + [99, 0, 1400, 1400, 1]
		    for i, size in enumerate(sizes):
		        client.sendto(bytes([i]) * size, (host, port))
		    for i, size in enumerate(sizes):
		        got = target.recvfrom(65536)
		        want = bytes([i]) * size
		        if port != 7002 or i == 0:
		            want = head + want
		        assert got[0] == want, (port, i, got[0], want)
		    target.sendto(b"answer", got[1])
		    assert client.recv(100) == b"answer"
		    # What has no room beside the header is dropped, and the next passes.
		    client.sendto(bytes(65500), (host, port))
		    client.sendto(b"next", (host, port))
		    got = target.recv(65536)
		    if port == 7002:
		        assert len(got) == 65500
		        got = head + target.recv(65536)
		    assert got == head + b"next", got
		    target.close()
	END
	logged 'dropped a datagram of 127.0.0.1:[0-9]*: not sent to the target: EMSGSIZE'
	wait_until 4 flows_ended
	stop_nsfwd
	logged 'udp map="udp:ns1@127.0.0.1:7000=.* flows=1 .* up=1 down=0'
	start "$MAP"
}

@test "unbound takes the client from the headers of TCP and UDP" {
	needs unbound dig
	ip -n ns1 addr add 10.9.0.7/32 dev lo
	ip -n ns1 addr add 10.9.0.8/32 dev lo
	cat >"$BATS_TEST_TMPDIR/unbound.conf" <<-END
		server:
		  interface: 127.0.0.1@8000
		  port: 8000
		  proxy-protocol-port: 8000
		  log-queries: yes
		  access-control: 10.9.0.7/32 allow
		  username: ""
		  chroot: ""
		  directory: "$BATS_TEST_TMPDIR"
		  pidfile: ""
		  use-syslog: no
		  do-daemonize: no
		  num-threads: 1
		  module-config: "iterator"
		  local-zone: "test." static
		  local-data: "one.test. A 10.6.6.1"
		  local-data: "two.test. A 10.6.6.2"
		remote-control:
		  control-enable: no
	END
	spawn ns2 unbound unbound -d -c "$BATS_TEST_TMPDIR/unbound.conf"
	wait_until 5 listens ns2 8000 || {
		output_of unbound
		return 1
	}
	start tcp+udp:ns1@127.0.0.1:7000=ns2@127.0.0.1:8000,proxy=2
	local how
	for how in '10.9.0.7#5353 +notcp' '10.9.0.7 +tcp'; do
		# Two questions; those of UDP are one flow.
		# shellcheck disable=SC2086 # words
		in_ns ns1 dig -p 7000 @127.0.0.1 +short one.test two.test -b $how \
			>"$BATS_TEST_TMPDIR/got" 3>&-
		cat "$BATS_TEST_TMPDIR/got"
		[ "$(xargs <"$BATS_TEST_TMPDIR/got")" = '10.6.6.1 10.6.6.2' ]
		in_ns ns1 dig -p 7000 @127.0.0.1 -b 10.9.0.8 "${how#* }" one.test \
			3>&- | grep -q 'status: REFUSED'
	done
	wait_until 5 eval '[ "$(output_of unbound | grep -c "info: 10.9.0.7 ")" = 4 ]'
	output_of unbound | grep -c 'info: 127.0.0.1 ' | grep -qx 0
}
