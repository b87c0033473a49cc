#!/usr/bin/env bats
# Real clients and hops of nsfwd as a proxy: a part of `make check-long`.

# bats file_tags=long

bats_require_minimum_version 1.5.0
load helpers
load proxy

setup() {
	proxy_namespaces
}

needs_root() {
	[ "$(awk '$1 == 0 { print $2 }' /proc/self/uid_map)" = 0 ] ||
		skip "servers change their user: that takes root"
}

# tests/proxy-clients without a name compares other proxies.
@test "every client that is installed does with nsfwd what it does" {
	needs openssl ssh-keygen git curl dnsmasq
	needs_root
	run -0 unshare -nm --propagation private "$BATS_TEST_DIRNAME/proxy-clients" nsfwd 3>&-
	echo "$output"
	[[ $output == *"| nsfwd |"* ]]
}

@test "squid, tinyproxy, danted, microsocks and privoxy as hops" {
	local hops=() n=0 hop port
	web_server ns2 "$FAR" 8000
	start_hop() {
		local program=$1 kind=$2
		shift 2
		command -v "$program" >/dev/null || return 0
		spawn ns2 "$program" "$@"
		wait_until 10 listens ns2 "$((3128 + n))"
		hops+=("ns1@$((8000 + n))=$FAR:8000,via=$kind:ns2@$((3128 + n))")
	}
	cat >"$BATS_TEST_TMPDIR/squid" <<-END
		http_port 127.0.0.1:3128
		pid_filename none
		cache deny all
		memory_cache_shared off
		access_log none
		cache_log /dev/null
		cache_effective_user nobody
		http_access allow all
	END
	for_nobody
	mount -t tmpfs tmpfs /dev/shm
	start_hop squid http squid -N -f "$BATS_TEST_TMPDIR/squid"
	n=1
	printf 'Port 3129\nListen 127.0.0.1\n' >"$BATS_TEST_TMPDIR/tinyproxy"
	start_hop tinyproxy http tinyproxy -d -c "$BATS_TEST_TMPDIR/tinyproxy"
	n=2
	cat >"$BATS_TEST_TMPDIR/danted" <<-END
		internal: 127.0.0.1 port = 3130
		external: $FAR
		socksmethod: none
		clientmethod: none
		client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
		socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
	END
	start_hop danted socks5 danted -f "$BATS_TEST_TMPDIR/danted"
	n=3
	start_hop microsocks socks5 microsocks -i 127.0.0.1 -p 3131
	n=4
	printf 'listen-address 127.0.0.1:3132\n' >"$BATS_TEST_TMPDIR/privoxy"
	start_hop privoxy http privoxy --no-daemon "$BATS_TEST_TMPDIR/privoxy"
	[ "${#hops[@]}" != 0 ] || skip "no proxy here"
	start_nsfwd "${hops[@]}"
	for hop in "${hops[@]}"; do
		port=${hop#ns1@} port=${port%%=*}
		[ "$(fetch ns1 "http://127.0.0.1:$port/")" = "this is ns2" ]
	done
	umount -l /dev/shm
}

# smtp PORT: a client at 10.0.1.1 greets the server, and prints its last answer.
smtp() {
	in_ns ns1 python3 - "$1" 3>&- 4>&- <<-'END'
		import smtplib, sys
		s = smtplib.SMTP(source_address=("10.0.1.1", 0), timeout=30)
		s.connect("10.0.1.1", int(sys.argv[1]))
		s.ehlo("client.test")
		print(*s.quit())
	END
}

@test "the client's address behind proxy=, seen by Dovecot" {
	local version dir=$BATS_TEST_TMPDIR/dovecot
	needs dovecot curl
	[ -e /usr/lib/dovecot/imap ] || skip "no IMAP server here"
	needs_root
	for_nobody
	mkdir -p "$dir/mail"
	chown nobody: "$dir/mail"
	cat >"$dir/conf" <<-END
		base_dir = $dir/run
		state_dir = $dir/state
		log_path = $dir/log
		protocols = imap
		ssl = no
		disable_plaintext_auth = no
		haproxy_trusted_networks = 127.0.0.1
		mail_location = maildir:$dir/mail
		first_valid_uid = 1
		passdb {
		 driver = static
		 args = password=s3cret
		}
		userdb {
		 driver = static
		 args = uid=nobody gid=nogroup home=$dir/mail
		}
		service imap-login {
		 inet_listener imap {
		  address = 127.0.0.1
		  port = 1143
		  haproxy = yes
		 }
		 inet_listener imaps {
		  port = 0
		 }
		}
	END
	ip -n ns1 addr add 10.0.1.1/32 dev lo
	spawn ns2 dovecot dovecot -F -c "$dir/conf"
	wait_until 10 listens ns2 1143
	start_nsfwd ns1@10.0.1.1:7001=ns2@127.0.0.1:1143,proxy=1 \
		ns1@10.0.1.1:7002=ns2@127.0.0.1:1143,proxy=2
	for version in 1 2; do
		fetch ns1 --interface 10.0.1.1 --local-port "2700$version" \
			--user "user$version:s3cret" "imap://10.0.1.1:700$version/" |
			grep -q INBOX
		wait_until 5 grep -q "Login: user=<user$version>, .* rip=10.0.1.1, lip=10.0.1.1," \
			"$dir/log"
	done
}

@test "the client's address behind proxy=, seen by postfix: smtpd and postscreen" {
	local port dir=$BATS_TEST_TMPDIR/postfix
	needs postfix
	needs_root
	mail_log() {
		[ "$(grep -c "$2" "$dir/log")" = "$1" ]
	}
	for_nobody
	mkdir -p "$dir/conf" "$dir/queue" "$dir/data"
	chown postfix "$dir/data"
	cat >"$dir/conf/main.cf" <<-END
		compatibility_level = 3.6
		queue_directory = $dir/queue
		data_directory = $dir/data
		maillog_file = $dir/log
		maillog_file_prefixes = $dir
		inet_protocols = ipv4
		myhostname = mail.test
		mynetworks = 127.0.0.1
		alias_maps =
		alias_database =
		local_recipient_maps =
		smtpd_peername_lookup = no
		postscreen_upstream_proxy_protocol = haproxy
		postscreen_greet_wait = 1s
		postscreen_dnsbl_sites =
	END
	cat >"$dir/conf/master.cf" <<-END
		127.0.0.1:2525 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy
		127.0.0.1:2526 inet n - n - 1 postscreen
		smtpd pass - - n - - smtpd
		postlog unix-dgram n - n - 1 postlogd
		anvil unix - - n - 1 anvil
		rewrite unix - - n - - trivial-rewrite
		cleanup unix n - n - 0 cleanup
	END
	ip -n ns1 addr add 10.0.1.1/32 dev lo
	# Its processes end with the shell, which is the first of their namespace. A
	# process that changes its user loses the signal of --kill-child.
	# shellcheck disable=SC2016 # of the inner shell
	spawn ns2 postfix unshare --fork --pid --kill-child --mount-proc \
		sh -c 'postfix -c "$1" start-fg; :' - "$dir/conf"
	wait_until 20 listens ns2 2526
	start_nsfwd ns1@10.0.1.1:7001=ns2@127.0.0.1:2525,proxy=1 \
		ns1@10.0.1.1:7002=ns2@127.0.0.1:2525,proxy=2 \
		ns1@10.0.1.1:7003=ns2@127.0.0.1:2526,proxy=1 \
		ns1@10.0.1.1:7004=ns2@127.0.0.1:2526,proxy=2
	for port in 7001 7002 7003 7004; do
		smtp "$port" | grep -q '^221 '
	done
	# postscreen passes the clients to smtpd.
	wait_until 5 mail_log 4 'smtpd.*: connect from unknown.10.0.1.1.$'
	for port in 7003 7004; do
		wait_until 5 mail_log 1 "postscreen.*: CONNECT from .10.0.1.1.:.* to .10.0.1.1.:$port"
	done
}
