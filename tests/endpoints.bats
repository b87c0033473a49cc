#!/usr/bin/env bats
# All spellings of namespaces and addresses: a map of each leads to a server that
# answers with the name of its namespace.

bats_require_minimum_version 1.5.0
load helpers
export PEER=$BATS_TEST_DIRNAME/faults.py

# asks_at PID WHERE=NAME...: the same from the namespace of a process.
asks_at() {
	local pid=$1
	shift
	nsenter --net="/proc/$pid/ns/net" python3 "$PEER" ask "$@"
}

# serve NS...: spawns a server on port 8080 of each namespace.
serve() {
	local where
	for where; do
		named_server "$where" "$where" \
			127.0.0.1/8080 ::1/8080
	done
}

# unshared NAME: sets UNSHARED to the pid of a process in a new network namespace.
unshared() {
	spawn_ready self "$1" unshare -n sh -c \
		'ip link set lo up && echo ready >&9 && exec 9>&- && exec sleep 60'
	UNSHARED=$(pid_of "$1")
}

@test "by name, path, process, descriptor, self" {
	serve self ns1 ns2
	unshared other
	nsenter --net="/proc/$UNSHARED/ns/net" true
	mkdir -p /run/docker/netns
	touch /run/docker/netns/8f2
	mount --bind "/proc/$UNSHARED/ns/net" /run/docker/netns/8f2
	ln -s netns/ns2 /run/link
	spawn_ready self at-other nsenter --net=/run/docker/netns/8f2 \
		python3 "$PEER" who other 127.0.0.1/8080
	# shellcheck disable=SC2034 # start_nsfwd reads it
	WRAP=(bash -c 'exec 40</run/netns/ns1 41</run/netns/ns2; exec "$@"' fds)
	start_nsfwd ns1@8001=ns2@8080 \
		/run/netns/ns1@8002=/run/netns/ns2@8080 \
		"pid:$UNSHARED@8003=ns2@8080" "ns1@8004=pid:$UNSHARED@8080" \
		fd:40@8005=fd:41@8080 \
		8006=ns2@8080 ns1@8007=8080 self@8008=self@8080 \
		ns1@8009=ns1@8080 \
		"ns1@8010=/run/docker/netns/8f2@8080" \
		"ns1@8011=/proc/$UNSHARED/ns/net@8080" \
		/run/link@8012=/run/link@8080 \
		/proc/self/ns/net@8013=ns2@8080
	asks ns1 127.0.0.1/8001=ns2 127.0.0.1/8002=ns2 127.0.0.1/8004=other \
		127.0.0.1/8005=ns2 127.0.0.1/8007=self 127.0.0.1/8009=ns1 \
		127.0.0.1/8010=other 127.0.0.1/8011=other
	asks ns2 127.0.0.1/8012=ns2
	asks_at "$UNSHARED" 127.0.0.1/8003=ns2
	asks self 127.0.0.1/8006=ns2 127.0.0.1/8008=self 127.0.0.1/8013=ns2
	stop_nsfwd
	umount /run/docker/netns/8f2
}

@test "init, the namespace of process 1" {
	# In a process namespace whose process 1 has a new network namespace.
	local -a new=(unshare -npf --kill-child --mount-proc)
	# shellcheck disable=SC2016 # for the inner shell
	local init world='ip link set lo up
		python3 "$1" who init 127.0.0.1/8080 &
		nsenter --net=/run/netns/ns1 "$2" 8000=init@8080 \
			ns2@8001=init@8080 init@8002=ns2@8080; :'
	"${new[@]}" true || skip "no process namespace to be had"
	serve ns2
	spawn self world "${new[@]}" sh -c "$world" sh "$PEER" "$NSFWD"
	wait_until 5 asks ns1 127.0.0.1/8000=init
	asks ns2 127.0.0.1/8001=init
	init=$(processes | awk -v p="$(pid_of world)" '$2 == p { print $1 }')
	asks_at "$init" 127.0.0.1/8002=ns2
}

@test "--from and --to, and maps with other namespaces" {
	serve self ns2
	start_nsfwd --from ns1 --to ns2 8001=8080 self@8002=8080 8003=self@8080 \
		127.0.0.1:8004=localhost:8080
	asks ns1 127.0.0.1/8001=ns2 127.0.0.1/8003=self 127.0.0.1/8004=ns2
	asks self 127.0.0.1/8002=ns2
}

@test "the table of examples" {
	ip netns add vpn
	ip netns add web
	NAMESPACES+=(vpn web)
	ip -n vpn link set lo up
	ip -n web link set lo up
	ip -n ns1 addr add 10.0.0.1/32 dev lo
	ip -n ns2 addr add 10.0.1.1/32 dev lo
	ip -n web addr add 10.0.0.2/32 dev lo
	ip -n web addr add 10.0.0.3/32 dev lo
	unshared other
	ln -s netns/ns2 /run/8f2
	named_server vpn vpn 127.0.0.1/9091
	named_server self self 127.0.0.1/3128
	named_server ns2 ns2 10.0.1.1/8000 127.0.0.1/8080
	# web% answers with its port.
	named_server web web% 127.0.0.1/{8000..8010}
	named_server web second 10.0.0.3/80
	start_nsfwd 9091=vpn@9091 :9092=vpn@9091 vpn@3128=127.0.0.1:3128 \
		ns1@10.0.0.1:8000=ns2@10.0.1.1:8000 \
		"pid:$UNSHARED@80=/run/8f2@8080" \
		8000-8010=web@8000-8010 \
		ns1@8100-8110=web@8005 \
		:80=web@10.0.0.2:80,10.0.0.3:80,balance=first \
		:81=web@10.0.0.2:80,10.0.0.3:80
	asks self 127.0.0.1/9091=vpn ::1/9091=vpn 127.0.0.1/9092=vpn \
		::1/9092=vpn 127.0.0.1/8000=web8000 ::1/8001=web8001 127.0.0.1/8009=web8009 \
		::1/8010=web8010 127.0.0.1/8011=refused
	asks vpn 127.0.0.1/3128=self ::1/3128=self
	asks ns1 10.0.0.1/8000=ns2 127.0.0.1/8000=refused \
		127.0.0.1/8100=web8005 ::1/8107=web8005 127.0.0.1/8110=web8005 \
		127.0.0.1/8099=refused 127.0.0.1/8111=refused
	asks_at "$UNSHARED" 127.0.0.1/80=ns2
	[ "$(ss -Hltn '( sport >= 8000 and sport <= 8010 )' | wc -l)" = 22 ]
	asks self 127.0.0.1/80=second
	named_server web first 10.0.0.2/80
	# The target is in backoff for the first map only.
	asks self 127.0.0.1/80=second 127.0.0.1/81=first
}

@test "a config file, LISTEN TARGET, comments" {
	local conf=$BATS_TEST_TMPDIR/conf
	serve ns2
	cat >"$conf" <<-'END'
		# The first line is a comment.

		ns1@8001=ns2@8080     # so is this
		ns1@8002 ns2@8080
		  ns1@8003=ns2@127.0.0.1:8080,max=5
		ns1@@a#b=ns2@8080
	END
	start_nsfwd --config "$conf"
	asks ns1 127.0.0.1/8001=ns2 ::1/8002=ns2 127.0.0.1/8003=ns2 '@a#b=ns2'
	stop_nsfwd
	start_nsfwd -c "$conf" 8004=ns2@8080
	asks self 127.0.0.1/8004=ns2
	asks ns1 127.0.0.1/8001=ns2
	stop_nsfwd
	start_nsfwd ns1@8005 ns2@8080
	asks ns1 127.0.0.1/8005=ns2
}

@test "HUP reads what files there are: maps, passwords; without any it says so" {
	local conf=$BATS_TEST_TMPDIR/conf
	start_nsfwd 8001=ns2@8080
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged 'there is no file to read again \(--config\)$'
	wait_until 2 logged 'not reloaded: everything is as it was$'
	stop_nsfwd
	echo bob:secret >/run/pw
	start_nsfwd 8001=ns2@proxy,auth=/run/pw
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged 'nsfwd: .*reloaded: 1 map$'
	echo bob >/run/pw
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged "'8001=ns2@proxy,auth=/run/pw': '/run/pw': write USER"
	stop_nsfwd
	echo 8001=ns2@8080 >"$conf"
	start_nsfwd -c "$conf"
	echo 8001=nowhere@8080 >>"$conf"
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged "$conf:2: '8001=nowhere@8080': it listens where $conf:1: '8001=ns2@8080' does"
	echo 8001=nowhere@8080 >"$conf"
	kill -HUP "$NSFWD_PID"
	wait_until 2 logged "$conf:1: '8001=nowhere@8080': no namespace 'nowhere'"
}

@test "a host name as the target" {
	serve ns2
	grep -q '^127\.0\.0\.1.*localhost' /etc/hosts ||
		skip "/etc/hosts has no localhost"
	start_nsfwd ns1@8001=ns2@localhost:8080 \
		ns1@8002=ns2@no-such-host.invalid:8080,connect-timeout=1
	asks ns1 127.0.0.1/8001=ns2
	peer ns1 try 1 reset 0-1300 127.0.0.1/8002
	wait_until 1 logged 'map=.ns1@8002=.* target=no-such-host.invalid:8080 .* end=dial'
}

@test "UNIX sockets, by path and abstract, at either end" {
	local dir=$BATS_TEST_TMPDIR
	for_nobody
	named_server ns2 path "$dir/target" @target
	named_server ns1 ns1 @target
	serve ns2
	start_nsfwd "$dir/in=ns2@8080" ns2@@in=ns2@8080 @in=ns2@8080 \
		"ns1@8001=$dir/target" ns1@8002=ns2@@target \
		ns1@8003=ns1@@target "self@$dir/a@b=ns1@$dir/target"
	asks self "$dir/in=ns2" @in=ns2 "$dir/a@b=path"
	asks ns1 "$dir/in=ns2" @in=refused 127.0.0.1/8001=path \
		127.0.0.1/8002=path 127.0.0.1/8003=ns1
	asks ns2 @in=ns2
	# Bulk and both ends, with UNIX sockets as listener and target.
	peer_server self bulk bulk "$dir/bulk" 3000000 0
	[ -S "$dir/in" ]
	stop_nsfwd
	[ ! -e "$dir/in" ]
	[ ! -e "$dir/a@b" ]
	[ -S "$dir/target" ]
	start_nsfwd "$dir/in=$dir/bulk"
	peer ns1 swap 3000000 0 "$dir/in"
}

@test "a UNIX socket that is in the way" {
	local dir=$BATS_TEST_TMPDIR
	serve ns2
	named_server ns1 busy "$dir/busy"
	named_server ns1 stale "$dir/stale"
	kill -KILL "$(pid_of stale)"
	wait_until 2 ended "$(pid_of stale)"
	touch "$dir/file"
	[ -S "$dir/stale" ]
	start_nsfwd "$dir/stale=ns2@8080"
	asks self "$dir/stale=ns2"
	start_fails 1 "$dir/busy.*EADDRINUSE" "$dir/busy=ns2@8080"
	asks self "$dir/busy=busy"
	start_fails 1 "$dir/stale.*EADDRINUSE" "$dir/stale=ns2@8080"
	asks self "$dir/stale=ns2"
	start_fails 1 "$dir/file" "$dir/file=ns2@8080"
	[ -f "$dir/file" ]
	start_fails 1 "$dir/nowhere/x" "$dir/nowhere/x=ns2@8080"
	# A start that fails leaves nothing behind.
	start_fails 1 EADDRINUSE "$dir/new=ns2@8080" "$dir/busy=ns2@8080"
	[ ! -e "$dir/new" ]
	stop_nsfwd
	[ ! -e "$dir/stale" ]
	[ -S "$dir/busy" ]
}

@test "a listener that fails is logged with the name of the errno" {
	start_fails 1 'cannot listen on /dev/null/u: .* no directory: ENOTDIR$' /dev/null/u=ns2@1
	mkdir /run/ro
	mount -t tmpfs -o ro tmpfs /run/ro
	start_fails 1 'cannot listen on /run/ro/u: .* read-only: EROFS$' /run/ro/u=ns2@1
	umount /run/ro
}
