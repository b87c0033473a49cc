#!/usr/bin/env bats
# The stub resolver of dns/, by tests/dns_query.c: each question goes to each build,
# with and without the cache, and all answers must be equal. If a namespace has its
# own files, no question may leave it: the witness, a name server in the namespace
# of the tests, must get none.

# bats file_tags=once

bats_require_minimum_version 1.5.0
load helpers

SERVER=$BATS_TEST_DIRNAME/dns_server.py

setup_file() {
	make -s -C "$BATS_TEST_DIRNAME/.." dns-query || return
	# Only the files that programs of the tests need in /etc.
	mkdir -p /run/etc.tests
	cp -dR /etc/{passwd,group,alternatives,ld.so.cache} /run/etc.tests
}

# Mounts another /etc. The namespace vpn has name servers, and a link to the
# namespace of the tests. The witness is there, and /etc/resolv.conf names it.
setup() {
	mkdir -p /run/etc
	mount -t tmpfs -o mode=755 etc /run/etc
	cp -dR /run/etc.tests/. /run/etc
	mkdir -p /run/etc/netns/vpn
	echo nameserver 10.99.0.1 >/run/etc/resolv.conf
	echo 127.0.0.1 localhost >/run/etc/hosts
	mount --bind /run/etc /etc
	ns vpn
	dns_link vpn
	WITNESS=$BATS_TEST_TMPDIR/witness
	: >"$WITNESS"
	server self witness four=10.66.6.6 six=fd00::66 10.99.0.1/53
	CONF=/etc/netns/vpn/resolv.conf
	HEARD=
}

teardown() {
	local bad=0
	talk_end || bad=1
	oracle || bad=1
	ip link del dns0 2>/dev/null
	umount -l /etc /run/etc || bad=1
	[ -n "$HEARD" ] || [ ! -s "$WITNESS" ] || {
		sed 's/^/a question got out: /' "$WITNESS"
		bad=1
	}
	return "$bad"
}

# server NS NAME ARG...: spawns tests/dns_server.py with the log NAME.
server() {
	local where=$1 name=$2
	shift 2
	spawn_ready "$where" "$name-server" python3 "$SERVER" \
		"$BATS_TEST_TMPDIR/$name" "$@"
}

asked() {
	cat "$BATS_TEST_TMPDIR/$1"
}

# Spawns the server "one" in vpn, which vpn's own resolv.conf names.
usual() {
	server vpn one 10.53.0.1/53
	echo nameserver 10.53.0.1 >"$CONF"
}

# Prints the builds that exist; builds with sanitizers have no filter (-s).
variants() {
	local dir=$BATS_TEST_DIRNAME/../obj file
	for file in "$dir"/dns_query{,.musl,.san}; do
		[ -x "$file" ] || continue
		case $file in
		*.san) echo "$file" ;;
		*) echo "$file -s" ;;
		esac
	done
}

# Makes answers comparable: sorts addresses, keeps TTLs.
normal() {
	awk '/ OK [0-9]+ / {
		n = 0
		for (i = 4; i <= NF; i++)
			a[++n] = $i
		for (i = 1; i <= n; i++)
			for (j = i + 1; j <= n; j++)
				if (a[j] < a[i]) {
					t = a[i]
					a[i] = a[j]
					a[j] = t
				}
		printf "%s %s %s", $1, $2, $3
		for (i = 1; i <= n; i++)
			printf " %s", a[i]
		print ""
		next
	}
	{ print }' | sort
}

# ask ARG...: runs all variants at the same time; prints their common answer, sorted.
ask() {
	local n=0 i cache line
	local -a command pids=()
	while read -r line; do
		read -ra command <<<"$line"
		for cache in '' -r; do
			in_ns vpn "${command[@]}" -n vpn -a $cache "$@" \
				>"$BATS_TEST_TMPDIR/asked.$n" 2>&1 3>&- &
			pids+=($!)
			n=$((n + 1))
		done
	done < <(variants)
	for i in "${!pids[@]}"; do
		wait "${pids[i]}" || {
			cat "$BATS_TEST_TMPDIR/asked.$i"
			fail "variant $i of dns_query $*: status $?"
			return
		}
		normal <"$BATS_TEST_TMPDIR/asked.$i" >"$BATS_TEST_TMPDIR/said.$i"
		diff -u "$BATS_TEST_TMPDIR/said.0" "$BATS_TEST_TMPDIR/said.$i" ||
			fail "variants 0 and $i differ: $*" || return
	done
	cat "$BATS_TEST_TMPDIR/said.0"
}

# Runs one variant only, for tests that count questions or measure times.
ask_one() {
	in_ns vpn "$BATS_TEST_DIRNAME/../obj/dns_query" -s -n vpn "$@" 3>&-
}

# gives NAME WANT [ARG...]: the answer for NAME begins with WANT.
gives() {
	local name=$1 want=$2 said
	shift 2
	said=$(ask "$@" "$name") || {
		echo "$said"
		return 1
	}
	[[ $said == "$name $want"* ]] || fail "$said, not: $want"
}

# Starts processes that keep their directories open and answer many questions.
talk_start() {
	local n=0 cache line to from
	local -a command
	TALKS=0
	while read -r line; do
		read -ra command <<<"$line"
		for cache in '' -r; do
			rm -f "$BATS_TEST_TMPDIR/"{to,from}".$n"
			mkfifo "$BATS_TEST_TMPDIR/to.$n" "$BATS_TEST_TMPDIR/from.$n"
			alone nsenter --net=/run/netns/vpn -- "${command[@]}" -i \
				-a $cache "$@" <"$BATS_TEST_TMPDIR/to.$n" \
				>"$BATS_TEST_TMPDIR/from.$n" \
				2>"$BATS_TEST_TMPDIR/talk.$n" &
			SPAWNED[talk.$n]=$!
			exec {to}>"$BATS_TEST_TMPDIR/to.$n"
			exec {from}<"$BATS_TEST_TMPDIR/from.$n"
			TO[n]=$to FROM[n]=$from
			n=$((n + 1))
		done
	done < <(variants)
	TALKS=$n
	talk_wait
}

# Waits until each process has written "?", and so reads a name.
talk_wait() {
	local n line
	for ((n = 0; n < TALKS; n++)); do
		IFS= read -rt $((30 * TEST_SLOW)) line <&"${FROM[n]}" && [ "$line" = '?' ] || {
			cat "$BATS_TEST_TMPDIR/talk.$n"
			fail "dns_query $n: no prompt: ${line-}"
			return
		}
	done
}

# talk NAME WANT: each process answers NAME with WANT.
talk() {
	local n line
	for ((n = 0; n < TALKS; n++)); do
		echo "$1" >&"${TO[n]}"
	done
	for ((n = 0; n < TALKS; n++)); do
		IFS= read -rt $((30 * TEST_SLOW)) line <&"${FROM[n]}"
		line=$(normal <<<"$line")
		[[ $line == "$1 $2"* ]] || {
			fail "dns_query $n: $line, not: $2"
			return
		}
	done
	talk_wait
}

talk_end() {
	local n to from bad=0
	for ((n = 0; n < ${TALKS:-0}; n++)); do
		to=${TO[n]} from=${FROM[n]}
		exec {to}>&-
		wait_until 5 ended "${SPAWNED[talk.$n]}" || bad=1
		wait "${SPAWNED[talk.$n]}" || {
			cat "$BATS_TEST_TMPDIR/talk.$n"
			bad=1
		}
		unset "SPAWNED[talk.$n]"
		exec {from}<&-
	done
	TALKS=0
	return "$bad"
}

real_dnsmasq() {
	needs dnsmasq
	spawn vpn dnsmasq "$(command -v dnsmasq)" --keep-in-foreground \
		--conf-file=/dev/null --no-resolv --no-hosts --pid-file= \
		--user= --group= --bind-interfaces --listen-address=10.53.0.3 \
		--log-queries --log-facility=- "$@"
	wait_until 5 hears 10.53.0.3
}

hears() {
	in_ns vpn ss -Hlun "src $1:53" | grep -q .
}

@test "what is no name, and what needs no server" {
	usual
	gives localhost 'OK 0 127.0.0.1'
	gives LOCALHOST. 'OK 0 127.0.0.1'
	gives a.b.localhost 'OK 0 127.0.0.1 ::1'
	gives notlocalhost 'NO_NAME'
	: >"$BATS_TEST_TMPDIR/one"
	local name label
	label=$(printf '%063d' 1 | tr 0 a)
	for name in 127.1 0x7f.1 1.2.3.4.5 a.123 a..b .a . 'a b' "a$(printf '\t')b" \
		"a$label" "$label.$label.$label.${label}"; do
		gives "$name" 'BAD_NAME: not a host name'
	done
	gives bücher.test 'NOT_ASCII: not ASCII'
	[ ! -s "$BATS_TEST_TMPDIR/one" ]
	# The longest name: 253 bytes, and a dot.
	gives "$label.$label.$label.${label:2}." NO_NAME
}

@test "an error of one family beside a good answer of the other" {
	local error
	local -a four=() six=()
	usual
	for error in nodata nxdomain servfail refused notimp formerr silent lame \
		noquestion wrongid wrongname short rdlength pointer forward loop \
		bareloop dead tcfailed tcsilent other; do
		four+=("ok.$error.test") six+=("$error.ok.test")
	done
	ask -t $((500 * TEST_SLOW)) "${four[@]}" >"$BATS_TEST_TMPDIR/four"
	[ "$(grep -cE '^ok\.[a-z]*\.test OK 60 10\.1\.1\.1$' "$BATS_TEST_TMPDIR/four")" = "${#four[@]}" ] ||
		fail "$(cat "$BATS_TEST_TMPDIR/four")"
	ask -t $((500 * TEST_SLOW)) "${six[@]}" >"$BATS_TEST_TMPDIR/six"
	[ "$(grep -cE '^[a-z]*\.ok\.test OK 60 fd00::1:1$' "$BATS_TEST_TMPDIR/six")" = "${#six[@]}" ] ||
		fail "$(cat "$BATS_TEST_TMPDIR/six")"
}

@test "the good answer does not wait for the other family: 50 ms" {
	local name from
	usual
	for name in ok.silent.test silent.ok.test ok.slow.test ok.tcsilent.test; do
		from=$(now_ms)
		ask_one "$name"
		[ "$(since "$from")" -lt 250 ]
	done
	# A caller that waits gets both families.
	ask_one -a slow.ok.test | grep -q 10.1.1.1
	ask_one slow.ok.test | grep -qx 'slow.ok.test OK 60 fd00::1:1'
	{
		echo slow.ok.test
		sleep 0.6
		echo slow.ok.test
	} | ask_one -r -i >"$BATS_TEST_TMPDIR/slow"
	grep -qx 'slow.ok.test OK 60 fd00::1:1' "$BATS_TEST_TMPDIR/slow"
	grep -qx 'slow.ok.test OK 60 10.1.1.1 fd00::1:1' "$BATS_TEST_TMPDIR/slow"
}

@test "kinds of failure, in words" {
	usual
	gives nxdomain.nxdomain.test 'NO_NAME: no such name, says 10.53.0.1'
	gives nodata.nodata.test 'NO_ADDRESS: the name has no address, says 10.53.0.1'
	gives nodata.nxdomain.test NO_ADDRESS
	gives nxdomain.nodata.test NO_ADDRESS
	gives nxdomain.servfail.test NO_NAME
	gives servfail.nodata.test 'FAILED: name server 10.53.0.1 failed: SERVFAIL'
	gives nodata.servfail.test FAILED
	gives formerr.formerr.test 'FAILED: name server 10.53.0.1 failed: FORMERR'
	gives notimp.notimp.test 'FAILED: name server 10.53.0.1 failed: NOTIMP'
	gives refused.refused.test 'REFUSED: name server 10.53.0.1 refuses'
	gives lame.lame.test 'FAILED: name server 10.53.0.1 failed: it does not'
	gives short.short.test 'FAILED: name server 10.53.0.1 failed: an answer that is malformed'
	gives loop.loop.test 'ALIASES: an alias'
	gives bareloop.bareloop.test 'ALIASES: an alias'
	gives dead.dead.test 'NO_NAME'
	gives silent.silent.test \
		'NO_ANSWER: no answer from name server 10.53.0.1: within its time' -t 200
	gives ok.ok.test 'NO_ANSWER: no answer from name server 10.53.0.8: nothing listens' -d 10.53.0.8
	gives ok.ok.test 'NO_ANSWER: no answer from name server 192.0.2.1: no route' -d 192.0.2.1
}

@test "forged and broken answers are not taken" {
	local how
	usual
	for how in wrongid wrongname wrongtype wrongclass question source empty \
		header; do
		gives "$how.$how.test" NO_ANSWER -t 300
	done
	for how in short rdlength pointer forward; do
		gives "$how.$how.test" FAILED
	done
	gives other.other.test NO_ADDRESS
	gives tcwrong.tcwrong.test FAILED
	# After a hundred forged answers the question goes over TCP.
	gives foreign.foreign.test 'OK 60 10.1.1.1 fd00::1:1'
	asked one | grep -q '^tcp foreign.foreign.test A '
}

@test "IDs, ports and letters are random; a server that keeps no case will do" {
	local -a ids
	needs strace
	usual
	gives lower.lower.test 'OK 60 10.1.1.1 fd00::1:1' -t 800
	asked one | awk '$5 != tolower($5) { n++ } END { exit !n }'
	spawn vpn dump strace -f -e trace=sendto -s 12 -xx -o /run/sent \
		"$BATS_TEST_DIRNAME/../obj/dns_query" -n vpn -b 20 ok.ok.test
	reap dump
	mapfile -t ids < <(sed -n 's/.*sendto([0-9]*, "\(\\x..\\x..\).*/\1/p' /run/sent | sort -u)
	[ "${#ids[@]}" -ge 38 ]
}

@test "servers without EDNS" {
	usual
	gives noedns.noedns4.test 'OK 60 10.1.1.1 fd00::1:1'
	gives noedns0.badvers.test 'OK 60 10.1.1.1 fd00::1:1'
	: >"$BATS_TEST_TMPDIR/one"
	ask_one -a noedns.ok.test
	[ "$(asked one | grep -c ' noedns.ok.test A ')" = 2 ]
	# Some boxes drop questions with EDNS.
	gives dropedns.dropedns.test 'OK 60 10.1.1.1 fd00::1:1'
}

@test "truncated answers, TCP" {
	local said
	usual
	gives tc.tc.test 'OK 60 10.1.1.1 fd00::1:1'
	asked one | grep -q '^tcp tc.tc.test A edns'
	asked one | grep -q '^tcp tc.tc.test AAAA edns'
	# If TCP fails, the addresses of the truncated answer are used.
	gives tcclosed.tcclosed.test 'OK 60 10.1.1.1 fd00::1:1'
	gives tcfailed.tcfailed.test FAILED
	gives tcsilent.tcsilent.test NO_ANSWER -t 300
	gives dribble.dribble.test NO_ANSWER -t 300
	# 64 KiB, one byte at a time; 200 addresses; 2.4 KB over UDP.
	for name in bytewise.bytewise.test many.many.test big.big.test; do
		said=$(ask "$name")
		[ "$(wc -w <<<"$said")" = 67 ] || fail "$said"
	done
	: >"$BATS_TEST_TMPDIR/one"
	echo options use-vc >>"$CONF"
	gives ok.ok.test 'OK 60 10.1.1.1 fd00::1:1'
	asked one | grep -q tcp
	! asked one | grep -q udp || fail 'use-vc: asked over UDP'
}

@test "aliases" {
	usual
	gives chain-1.chain-16.test 'OK 30 10.1.1.1 fd00::1:1'
	gives chain-17.chain-17.test ALIASES
	gives bare.bare.test 'OK 7 10.1.1.1 fd00::1:1'
	gives bare.servfail.test 'OK 7 10.1.1.1'
}

@test "servers in order: dead, refusing, failing ones are passed over" {
	local from
	server vpn one 10.53.0.1/53
	server vpn two four=10.2.2.2 10.53.0.2/53
	server vpn mute mute 10.53.0.9/53
	printf 'nameserver %s\n' 10.53.0.1 10.53.0.2 >"$CONF"
	gives ok.ok.test 'OK 60 10.1.1.1'
	! asked two | grep -q . || fail 'the second was asked'
	# Servers: a closed port; no route; one that answers.
	printf 'nameserver %s\n' 10.53.0.8 192.0.2.1 10.53.0.2 >"$CONF"
	from=$(now_ms)
	ask_one ok.ok.test | grep -q ' 10.2.2.2'
	[ "$(since "$from")" -lt 500 ]
	# A silent server costs a second; afterwards it is asked last.
	printf 'nameserver %s\n' 10.53.0.9 10.53.0.1 >"$CONF"
	from=$(now_ms)
	ask_one ok.ok.test
	[ "$(since "$from")" -lt 1500 ]
	[ $(($(now_ms) - from)) -ge 1000 ]
	from=$(now_ms)
	ask_one -h ok.ok.test ok.nodata.test ok.servfail.test
	[ "$(since "$from")" -lt 1700 ]
	# Another server at the place of the silent one is asked first.
	printf 'nameserver %s\n' 10.53.0.9 10.53.0.2 >"$CONF"
	talk_start -n vpn -h
	talk ok.ok.test 'OK 60 10.2.2.2'
	printf 'nameserver %s\n' 10.53.0.1 10.53.0.2 >"$CONF"
	talk ok.new.test 'OK 60 10.1.1.1'
	printf 'nameserver %s\n' 10.53.0.9 10.53.0.1 >"$CONF"
	echo options timeout:2 >>"$CONF"
	from=$(now_ms)
	ask_one ok.ok.test
	[ $(($(now_ms) - from)) -ge 2000 ]
}

@test "attempts, timeout, rotate, no-aaaa; eight servers" {
	local from i
	server vpn one 10.53.0.1/53
	server vpn two four=10.2.2.2 10.53.0.2/53
	server vpn mute mute 10.53.0.9/53
	printf 'nameserver 10.53.0.9\noptions timeout:1 attempts:2\n' >"$CONF"
	from=$(now_ms)
	ask_one ok.ok.test | grep NO_ANSWER
	[ $(($(now_ms) - from)) -ge 2000 ]
	[ "$(since "$from")" -lt 2900 ]
	[ "$(asked mute | grep -c ' A edns')" = 1 ]
	[ "$(asked mute | grep -c ' A plain')" = 1 ]
	printf 'nameserver %s\n' 10.53.0.1 10.53.0.2 >"$CONF"
	echo options rotate >>"$CONF"
	for i in {1..40}; do
		ask_one ok.nodata.test
	done >"$BATS_TEST_TMPDIR/rotated"
	grep -q 10.1.1.1 "$BATS_TEST_TMPDIR/rotated"
	grep -q 10.2.2.2 "$BATS_TEST_TMPDIR/rotated"
	printf 'nameserver 10.53.0.1\noptions no-aaaa\n' >"$CONF"
	: >"$BATS_TEST_TMPDIR/one"
	gives ok.ok.test 'OK 60 10.1.1.1'
	gives nxdomain.ok.test NO_NAME
	gives servfail.ok.test FAILED
	! asked one | grep -q AAAA || fail 'AAAA was asked for'
	{
		printf 'nameserver %s\n' 10.53.0.{8,8,8,8,8,8,8} 10.53.0.2
	} >"$CONF"
	gives ok.ok.test 'OK 60 10.2.2.2'
}

@test "search and ndots, with dnsmasq" {
	real_dnsmasq --host-record=web.corp.test,10.5.5.1 \
		--host-record=web.lab.test,10.5.5.2 \
		--host-record=a.b.lab.test,10.5.5.3 \
		--host-record=a.b,10.5.5.4 --host-record=only,10.5.5.5 \
		--local=/test/ --local=/b/ --local=/only/ --local=/none/ --local=/z/
	printf 'nameserver 10.53.0.3\nsearch corp.test lab.test\n' >"$CONF"
	gives web 'OK 0 10.5.5.1'
	gives a.b 'OK 0 10.5.5.4'
	gives only 'OK 0 10.5.5.5'
	gives only. 'OK 0 10.5.5.5'
	gives web.lab.test 'OK 0 10.5.5.2'
	gives none NO_NAME
	gives web. REFUSED
	echo options ndots:2 >>"$CONF"
	gives a.b 'OK 0 10.5.5.3'
	gives a.b. 'OK 0 10.5.5.4'
	# The search list is used for a dotted name that does not exist, too.
	printf 'nameserver 10.53.0.3\nsearch b.z lab.test\n' >"$CONF"
	gives web 'OK 0 10.5.5.2'
	printf 'nameserver 10.53.0.3\ndomain lab.test\n' >"$CONF"
	gives web 'OK 0 10.5.5.2'
	printf 'nameserver 10.53.0.3\nsearch corp.test\nsearch lab.test.\n' >"$CONF"
	gives web 'OK 0 10.5.5.2'
}

@test "a search ends where a server fails: the name might have been there" {
	usual
	echo search servfail.test nodata.nxdomain.test ok.test >>"$CONF"
	gives servfail FAILED
	gives nodata 'OK 60 fd00::1:1'
	gives nxdomain 'OK 60 fd00::1:1'
}

@test "dnsmasq and unbound: both families, 200 addresses, an alias, time" {
	local i
	needs unbound
	real_dnsmasq --host-record=both.test,10.5.5.1,fd00::51 \
		--cname=alias.test,both.test --local=/test/ --local-ttl=77
	gives both.test 'OK 77 10.5.5.1 fd00::51' -d 10.53.0.3
	gives alias.test 'OK 77 10.5.5.1 fd00::51' -d 10.53.0.3
	gives none.test 'NO_NAME: no such name, says 10.53.0.3' -d 10.53.0.3
	gives elsewhere.example 'REFUSED' -d 10.53.0.3
	ask_one -d 10.53.0.3 -b 200 both.test 2>&1 >/dev/null |
		sed 's/^/# dnsmasq: /' >&3
	{
		cat <<-END
			server:
			  interface: 10.53.0.4
			  access-control: 0.0.0.0/0 allow
			  username: ""
			  chroot: ""
			  directory: "$BATS_TEST_TMPDIR"
			  pidfile: ""
			  use-syslog: no
			  do-daemonize: no
			  num-threads: 1
			  module-config: "iterator"
			  rrset-roundrobin: no
			  local-zone: "test." static
			  local-data: "one.test. 99 A 10.6.6.1"
			  local-data: "one.test. 88 AAAA fd00::61"
			remote-control:
			  control-enable: no
		END
		for i in {1..200}; do
			printf '  local-data: "many.test. A 10.7.0.%s"\n' "$i"
		done | sed '1i server:'
	} >"$BATS_TEST_TMPDIR/unbound.conf"
	spawn vpn unbound unbound -d -c "$BATS_TEST_TMPDIR/unbound.conf"
	wait_until 5 hears 10.53.0.4 || {
		output_of unbound
		return 1
	}
	gives one.test 'OK 88 10.6.6.1 fd00::61' -d 10.53.0.4
	gives none.test NO_NAME -d 10.53.0.4
	[ "$(ask -d 10.53.0.4 many.test | wc -w)" = 35 ]
}

@test "the files of a namespace: by rename, in place, made late, taken away" {
	usual
	server vpn two four=10.2.2.2 six=fd00::2:2 10.53.0.2/53
	rm -r /etc/netns
	talk_start -n vpn
	# Without own files, the namespace uses those of /etc.
	HEARD=yes
	talk ok.ok.1.test 'OK 60 10.66.6.6 fd00::66'
	grep -q ok.ok.1.test "$WITNESS"
	# From here on the witness may get no question.
	: >"$WITNESS"
	HEARD=
	mkdir -p /etc/netns/vpn
	echo nameserver 10.53.0.1 >"$CONF"
	talk ok.ok.2.test 'OK 60 10.1.1.1 fd00::1:1'
	echo nameserver 10.53.0.2 >"$CONF.new"
	mv "$CONF.new" "$CONF"
	talk ok.ok.3.test 'OK 60 10.2.2.2 fd00::2:2'
	echo nameserver 10.53.0.1 >"$CONF"
	talk ok.ok.4.test 'OK 60 10.1.1.1 fd00::1:1'
	sed -i s/0.1/0.2/ "$CONF"
	talk ok.ok.5.test 'OK 60 10.2.2.2 fd00::2:2'
	# A new /etc/resolv.conf changes nothing.
	echo nameserver 10.99.0.1 >/etc/resolv.conf.new
	mv /etc/resolv.conf.new /etc/resolv.conf
	talk ok.ok.6.test 'OK 60 10.2.2.2 fd00::2:2'
	# Without a nameserver line the server is 127.0.0.1, in the namespace.
	echo '# none' >"$CONF"
	talk ok.ok.7.test 'NO_ANSWER: no answer from name server 127.0.0.1: nothing listens'
	[ ! -s "$WITNESS" ]
	rm "$CONF"
	HEARD=yes
	talk ok.ok.8.test 'OK 60 10.66.6.6 fd00::66'
}

@test "the file of the host: by rename, a link as of resolved, none" {
	HEARD=yes
	server vpn one 10.53.0.1/53
	server vpn two four=10.2.2.2 six=fd00::2:2 10.53.0.2/53
	talk_start
	talk ok.ok.1.test 'OK 60 10.66.6.6 fd00::66'
	echo nameserver 10.53.0.1 >/etc/resolv.conf.new
	mv /etc/resolv.conf.new /etc/resolv.conf
	talk ok.ok.2.test 'OK 60 10.1.1.1 fd00::1:1'
	mkdir -p /run/systemd/resolve
	echo nameserver 10.53.0.2 >/run/systemd/resolve/stub-resolv.conf
	ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
	talk ok.ok.3.test 'OK 60 10.2.2.2 fd00::2:2'
	echo nameserver 10.53.0.1 >/run/systemd/resolve/new
	mv /run/systemd/resolve/new /run/systemd/resolve/stub-resolv.conf
	talk ok.ok.4.test 'OK 60 10.1.1.1 fd00::1:1'
	rm -r /run/systemd/resolve
	talk ok.ok.5.test 'BAD_FILE: /etc/resolv.conf: a symbolic link that leads nowhere'
	rm /etc/resolv.conf
	talk ok.ok.6.test 'NO_ANSWER: no answer from name server 127.0.0.1: nothing listens'
	server vpn local 127.0.0.1/53
	talk ok.ok.7.test 'OK 60 10.1.1.1 fd00::1:1'
}

@test "own files that cannot be read are an error, and no question is asked" {
	local own
	usual
	talk_start -n vpn -u 65534
	talk ok.ok.1.test 'OK 60 10.1.1.1 fd00::1:1'
	chmod 0 "$CONF"
	talk ok.ok.2.test 'BAD_FILE: /etc/netns/vpn/resolv.conf: the user'
	rm "$CONF"
	mkfifo -m 666 "$CONF"
	talk ok.ok.4.test 'BAD_FILE: /etc/netns/vpn/resolv.conf: not a regular file'
	rm "$CONF"
	mkdir "$CONF"
	talk ok.ok.5.test 'BAD_FILE: /etc/netns/vpn/resolv.conf: not a regular file'
	rmdir "$CONF"
	ln -s resolv.conf "$CONF"
	talk ok.ok.6.test 'BAD_FILE: /etc/netns/vpn/resolv.conf: a symbolic link that is not followed'
	ln -sf nowhere "$CONF"
	talk ok.ok.7.test 'BAD_FILE: /etc/netns/vpn/resolv.conf: a symbolic link that leads nowhere'
	rm "$CONF"
	head -c 70000 /dev/zero | tr '\0' '#' >"$CONF"
	talk ok.ok.8.test 'BAD_FILE: /etc/netns/vpn/resolv.conf: longer than 64 KiB'
	rm "$CONF"
	truncate -s 1T "$CONF"
	talk ok.ok.9.test BAD_FILE
	chmod 0 /etc/netns/vpn
	talk ok.ok.10.test 'BAD_FILE: /etc/netns/vpn/hosts: the user'
	chmod 755 /etc/netns/vpn
	rm "$CONF"
	echo nameserver 10.53.0.1 >"$CONF"
	mkfifo -m 666 /etc/netns/vpn/hosts
	talk ok.ok.11.test 'BAD_FILE: /etc/netns/vpn/hosts: not a regular file'
	rm /etc/netns/vpn/hosts
	talk ok.ok.12.test 'OK 60 10.1.1.1 fd00::1:1'
}

@test "hosts: its own before that of /etc, sed -i, aliases, both families, size" {
	usual
	talk_start -n vpn
	echo '10.8.8.1 Db.test alias only # not.test' >>/etc/hosts
	talk db.TEST 'OK 0 10.8.8.1'
	talk alias 'OK 0 10.8.8.1'
	sed -i s/8.8.1/8.8.2/ /etc/hosts
	echo 'fd00::88 db2.test' >>/etc/hosts
	echo '10.8.8.9 db2.test. db2.test' >>/etc/hosts
	talk db2.test 'OK 0 10.8.8.9 fd00::88'
	talk not.test NO_NAME
	{
		echo ' 10.8.8.3 own.test'
		printf '10.8.8.4'
		printf ' x%d.test' {1..2000}
		printf ' last.test\n10.8.8.5\tend.test'
	} >/etc/netns/vpn/hosts
	talk own.test 'OK 0 10.8.8.3'
	talk last.test 'OK 0 10.8.8.4'
	talk x999.test 'OK 0 10.8.8.4'
	talk end.test 'OK 0 10.8.8.5'
	# /etc/hosts is not used now.
	talk only NO_NAME
	# Lines behind the first MiB are ignored.
	{
		seq -f '10.9.9.9 n%.0f.test' 100000
		echo 10.9.9.9 far.test
	} >/etc/netns/vpn/hosts
	talk n7.test 'OK 0 10.9.9.9'
	talk far.test NO_NAME
	# Half a word is no name.
	{
		head -c $((1048576 - 19)) /dev/zero | tr '\0' '#'
		printf '\n10.9.9.9 half.test.whole\n'
	} >/etc/netns/vpn/hosts
	talk half.test NO_NAME
	# 300 lines for one name: 32 addresses.
	for i in {1..254}; do
		echo "10.9.8.$i manyhosts.test"
	done >/etc/netns/vpn/hosts
	[ "$(ask manyhosts.test | wc -w)" = 35 ]
}

@test "the files of a process: links lead nowhere but into its own root" {
	local root=$BATS_TEST_TMPDIR/root pid
	usual
	server vpn two four=10.2.2.2 six=fd00::2:2 10.53.0.2/53
	rm -r /etc/netns
	mkdir -p "$root/etc" "$root/run/inside"
	spawn_ready vpn inside python3 -c '
import os, sys, time
os.chroot(sys.argv[1])
os.chdir("/")
os.write(9, b"ready\n")
os.close(9)
time.sleep(60)' "$root"
	pid=$(pid_of inside)
	echo nameserver 10.99.0.1 >/run/inside.conf
	mkdir -p /run/inside
	echo nameserver 10.99.0.1 >/run/inside/conf
	echo nameserver 10.53.0.2 >"$root/run/inside/conf"
	ln -s /run/inside/conf "$root/etc/resolv.conf"
	echo '10.8.8.1 inside.test' >"$root/etc/hosts"
	talk_start -p "$pid"
	talk ok.ok.1.test 'OK 60 10.2.2.2 fd00::2:2'
	talk inside.test 'OK 0 10.8.8.1'
	ln -sf ../../../../run/inside/conf "$root/etc/resolv.conf"
	talk ok.ok.2.test 'OK 60 10.2.2.2 fd00::2:2'
	ln -sf /run/inside.conf "$root/etc/resolv.conf"
	talk ok.ok.3.test "BAD_FILE: /proc/$pid/root/etc/resolv.conf: a symbolic link that leads nowhere"
	ln -sf /proc/self/root/run/inside.conf "$root/etc/resolv.conf"
	talk ok.ok.4.test BAD_FILE
	rm "$root/etc/resolv.conf"
	echo nameserver 10.53.0.1 >"$root/etc/resolv.conf"
	talk ok.ok.5.test 'OK 60 10.1.1.1 fd00::1:1'
	# Before Linux 5.6 no link is followed, neither of the file nor of /etc.
	talk_end
	talk_start -o -p "$pid"
	talk ok.ok.6.test 'OK 60 10.1.1.1 fd00::1:1'
	talk inside.test 'OK 0 10.8.8.1'
	ln -sf /run/inside/conf "$root/etc/resolv.conf"
	talk ok.ok.7.test "BAD_FILE: /proc/$pid/root/etc/resolv.conf: a symbolic link that is not followed"
	mv "$root/etc" "$root/etc.old"
	mkdir /run/outside
	echo nameserver 10.53.0.2 >/run/outside/resolv.conf
	ln -s /run/outside "$root/etc"
	talk ok.ok.8.test "BAD_FILE: /proc/$pid/root/etc/hosts: a symbolic link that is not followed"
	rm -r /run/inside /run/inside.conf /run/outside
}

@test "dns=: before all files; ports; what is no address" {
	usual
	server vpn two four=10.2.2.2 six=fd00::2:2 10.53.0.2/5353 \
		127.0.0.1/53 ::1/53 ::1/5353
	for word in 10.53.0.2:5353 10.53.0.2/5353 ::1 ::1/5353 127.0.0.1 \
		10.53.0.8+10.53.0.2/5353; do
		gives ok.ok.test 'OK 60 10.2.2.2 fd00::2:2' -d "$word"
	done
	[ ! -s "$BATS_TEST_TMPDIR/one" ]
	chmod 0 "$CONF"
	gives ok.ok.test 'OK 60 10.2.2.2' -d ::1 -u 65534
	local refused
	for refused in '' + 10.0.0.1+ x 10.0.0.1:0 10.0.0.1:65536 10.0.0.1/ \
		10.0.0.1:053 1.2.3 fe80::1 fe80::1%eth0123456789abc fd00::1%lo \
		'[::1]:53' 10.0.0.1:53:53 "$(printf '10.0.0.1+%.0s' {1..8})10.0.0.1"; do
		run in_ns vpn "$BATS_TEST_DIRNAME/../obj/dns_query" -d "$refused" a
		[ "$status" = 1 ] || fail "dns=$refused: $output"
	done
	# Link-local, by the name and the number of an interface.
	local index
	index=$(in_ns vpn cat /sys/class/net/dns1/ifindex 2>/dev/null) ||
		index=$(ip -n vpn -o link show dns1 | cut -d: -f1)
	ip -n vpn addr add fe80::53/64 dev dns1 nodad
	server vpn three four=10.3.3.3 six=fd00::3:3 fe80::53%dns1/53
	gives ok.ok.test 'OK 60 10.3.3.3 fd00::3:3' -d fe80::53%dns1
	gives ok.ok.test 'OK 60 10.3.3.3 fd00::3:3' -d "fe80::53%$index"
	gives ok.ok.test 'OK 60 10.3.3.3 fd00::3:3' -d fe80::53%dns1 -e dns1 -u 65534
	gives ok.ok.test 'NO_ANSWER: no answer from name server fe80::53%nowhere: no such interface' \
		-d fe80::53%nowhere
}

@test "IPv6 first where there is a route, from an address of its own kind" {
	local said
	usual
	said=$(ask_one ok.ok.test)
	[ "$said" = 'ok.ok.test OK 60 10.1.1.1 fd00::1:1' ]
	ip -n vpn addr add fd00::2/64 dev dns1 nodad
	said=$(ask_one ok.ok.test)
	[ "$said" = 'ok.ok.test OK 60 fd00::1:1 10.1.1.1' ]
	# An IPv6 address comes last if the source address is unique local.
	server vpn world six=2001:db8::1 10.53.0.5/53
	ip -n vpn route add default via fd00::1 dev dns1
	said=$(ask_one -d 10.53.0.5 ok.ok.test)
	[ "$said" = 'ok.ok.test OK 60 10.1.1.1 2001:db8::1' ]
	ip -n vpn addr add 2001:db8::2/128 dev dns1 nodad
	said=$(ask_one -d 10.53.0.5 ok.ok.test)
	[ "$said" = 'ok.ok.test OK 60 2001:db8::1 10.1.1.1' ]
}

@test "many at once: each is asked for once, none waits for a dead one" {
	local names
	server vpn one 10.53.0.1/53
	echo nameserver 10.53.0.1 >"$CONF"
	# Twenty look-ups of one name at once make two questions.
	ask_one -r ok.ok.test{,,,,,,,,,,,,,,,,,,,} | grep -c OK | grep -qx 20
	[ "$(asked one | wc -l)" = 2 ]
	# Thirty names without an answer do not delay two others.
	mapfile -t names < <(seq -f 'silent.silent.%.0f.test' 30)
	spawn vpn all "$BATS_TEST_DIRNAME/../obj/dns_query" -r -n vpn \
		"${names[@]}" ok.ok.1.test ok.ok.2.test
	wait_until 0.9 grep -q '^ok.ok.2.test OK' "$BATS_TEST_TMPDIR/all.out"
	kill "$(pid_of all)"
	# More names than the 32 slots: all are found.
	mapfile -t names < <(seq -f 'ok.ok.%.0f.test' 40)
	[ "$(ask -r "${names[@]}" | grep -c ' OK 60 10.1.1.1')" = 40 ]
}

@test "the cache: by TTL, failures for seconds, another file at once" {
	server vpn one ttl=1 10.53.0.1/53
	server vpn two four=10.2.2.2 six=fd00::2:2 10.53.0.2/53
	echo nameserver 10.53.0.1 >"$CONF"
	# Files younger than 2 s clear the cache, see dns/files.h.
	sleep 2.1
	ask_one -r -b 200 ok.ok.test nxdomain.nxdomain.test servfail.servfail.test >/dev/null
	[ "$(asked one | wc -l)" = 8 ]
	: >"$BATS_TEST_TMPDIR/one"
	talk_start -r -n vpn
	talk ok.ok.test 'OK 1 10.1.1.1'
	talk nxdomain.nxdomain.test NO_NAME
	talk servfail.servfail.test FAILED
	sleep 1.2
	talk ok.ok.test 'OK 1 10.1.1.1'
	talk nxdomain.nxdomain.test NO_NAME
	# A slow server is asked once more.
	[ "$(asked one | grep -c ' ok.ok.test')" -ge $((4 * TALKS)) ]
	[ "$(asked one | grep -c nxdomain)" = $((2 * TALKS)) ]
	sleep 1.2
	talk servfail.servfail.test FAILED
	[ "$(asked one | grep -c servfail)" = $((8 * TALKS)) ]
	# dns_resolver_doubt() starts a new query, but not within a second.
	printf '%s\n' ok.ok.60.test '!ok.ok.60.test' ok.ok.60.test |
		ask_one -r -i -d 10.53.0.2
	[ "$(asked two | grep -c ok.ok.60)" = 2 ]
	{
		echo ok.ok.61.test
		sleep 1.2
		printf '%s\n' '!ok.ok.61.test' ok.ok.61.test
	} | ask_one -r -i -d 10.53.0.2
	[ "$(asked two | grep -c ok.ok.61)" = 4 ]
	echo nameserver 10.53.0.2 >"$CONF.new"
	mv "$CONF.new" "$CONF"
	talk new.ok.test 'OK 60 fd00::2:2'
	sleep 1.1
	talk ok.ok.test 'OK 60 10.2.2.2 fd00::2:2'
	talk ok.ok.test 'OK 60 10.2.2.2 fd00::2:2'
	# A new resolv.conf is used before the TTL is over.
	echo nameserver 10.53.0.1 >"$CONF.new"
	mv "$CONF.new" "$CONF"
	sleep 1.1
	talk ok.ok.test 'OK 1 10.1.1.1 fd00::1:1'
}

@test "out of descriptors: said so, and what can be had is given" {
	usual
	short() {
		spawn vpn "short-$1" prlimit --nofile="$1" \
			"$BATS_TEST_DIRNAME/../obj/dns_query" -n vpn ok.ok.test
		reap "short-$1"
		cat "$BATS_TEST_TMPDIR/short-$1.out"
	}
	short 4 | grep -q 'LOCAL: out of descriptors or memory$'
	short 5 | grep -qx 'ok.ok.test OK 60 10.1.1.1'
}

@test "what the start has to say" {
	checks() {
		[[ $(ask_one -c "${@:2}") == "$1"* ]] ||
			fail "$(ask_one -c "${@:2}")"
	}
	usual
	checks nothing
	checks 'no answer from name server 127.0.0.1: nothing listens there' -d 127.0.0.1
	checks 'no answer from name server ::1: nothing listens there' -d ::1
	checks 'no answer from name server 192.0.2.1: no route' -d 192.0.2.1
	server vpn local 127.0.0.1/53
	checks nothing -d 127.0.0.1
	[ ! -s "$BATS_TEST_TMPDIR/local" ]
	echo nameserver dns.example >"$CONF"
	checks '/etc/netns/vpn/resolv.conf: a nameserver line has no address'
	chmod 0 "$CONF"
	checks '/etc/netns/vpn/resolv.conf: the user that nsfwd runs as may not' -u 65534
}

@test "dns/ includes base/ and itself; it allocates nothing" {
	local dir=$BATS_TEST_DIRNAME/.. file
	! grep -hE '^#include "' "$dir"/dns/*.[ch] |
		grep -vE '"(base|dns)/' || fail 'an include'
	for file in "$dir"/dns/*.c; do
		gcc -std=c11 -D_GNU_SOURCE -I"$dir" -c -o "$BATS_TEST_TMPDIR/o" "$file"
		! nm -u "$BATS_TEST_TMPDIR/o" | grep -E \
			' (malloc|calloc|realloc|strdup|fopen|f?printf|getaddrinfo|if_nametoindex)' ||
			fail "$file"
		! nm "$BATS_TEST_TMPDIR/o" | grep -E ' [bBdDC] ' || fail "$file"
	done
}
