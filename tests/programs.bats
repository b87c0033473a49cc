#!/usr/bin/env bats
# Common programs in two namespaces without a link between them.

bats_require_minimum_version 1.5.0
load helpers
load sshd
export PEER=$BATS_TEST_DIRNAME/faults.py

setup() {
	ns ns1 ns2
	# /run is in memory.
	DIR=/run/programs
	rm -rf "$DIR"
	mkdir "$DIR"
}

@test "curl and a web server, over IPv4 and IPv6" {
	needs curl
	web_server ns2 127.0.0.1 8080
	web_server ns2 ::1 8081
	start_nsfwd ns1@8000=ns2@8080 ns1@fd00::1/8001=ns2@::1/8081 \
		ns1@8002=ns2@8081 || {
		# The address was missing.
		ip -n ns1 addr add fd00::1/128 dev lo
		start_nsfwd ns1@8000=ns2@8080 ns1@fd00::1/8001=ns2@::1/8081 \
			ns1@8002=ns2@8081
	}
	[ "$(fetch ns1 http://127.0.0.1:8000/)" = "this is ns2" ]
	[ "$(fetch ns1 'http://[::1]:8000/')" = "this is ns2" ]
	[ "$(fetch ns1 'http://[fd00::1]:8001/')" = "this is ns2" ]
	[ "$(fetch ns1 http://localhost:8002/)" = "this is ns2" ]
	# Twenty at once, and a page that does not exist.
	fetch ns1 --parallel --parallel-max 20 -o '/dev/null' \
		'http://127.0.0.1:8000/?[1-20]'
	run ! fetch ns1 http://127.0.0.1:8000/missing
	[[ $output == *404* ]]
}

@test "256 MiB from a web server" {
	local got
	needs curl
	# A sparse file with a random block in every 4 MiB.
	python3 - "$DIR/large" <<-'END'
		import os, sys
		with open(sys.argv[1], "wb") as file:
		    for i in range(64):
		        file.seek((i << 22) + 12345 * i)
		        file.write(os.urandom(4093))
		    file.truncate(1 << 28)
	END
	spawn ns2 web python3 -m http.server --directory "$DIR" \
		--bind 127.0.0.1 8080
	wait_until 5 listens ns2 8080
	start_nsfwd ns1@8000=ns2@8080
	spawn self sum sha256sum "$DIR/large"
	got=$(fetch ns1 http://127.0.0.1:8000/large | sha256sum)
	reap sum
	[ "${got%% *}" = "$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/sum.out")" ]
	rm "$DIR/large"
}

@test "iperf3, both ways, four streams" {
	local way
	needs iperf3
	spawn ns2 iperf iperf3 --server --port 5201
	wait_until 5 listens ns2 5201
	start_nsfwd ns1@5201=ns2@127.0.0.1:5201
	for way in '' --reverse --bidir; do
		# shellcheck disable=SC2086 # nothing or one word
		in_ns ns1 iperf3 --client 127.0.0.1 --port 5201 \
			--time $(((TEST_SLOW + 2) / 3)) --parallel 4 --json $way >"$DIR/$way.json" 3>&-
		python3 - "$DIR/$way.json" <<-'END'
			import json, os, sys
			end = json.load(open(sys.argv[1]))["end"]
			for key in [k for k in end if k.startswith("sum_rec")]:
			    mbytes = end[key]["bytes"] / 1e6
			    print(f"{key}: {mbytes:.0f} MB")
			    assert mbytes > 1 / int(os.environ["TEST_SLOW"])
		END
	done
}

@test "redis: replies one by one, two small writes, a pipeline" {
	needs redis-server redis-cli
	spawn ns2 redis redis-server --bind 127.0.0.1 --port 6379 --save '' \
		--appendonly no --dir "$DIR"
	wait_until 5 listens ns2 6379
	start_nsfwd ns1@6380=ns2@6379
	cli() {
		in_ns ns1 redis-cli -p 6380 "$@" 3>&-
	}
	[ "$(cli set key value)" = OK ]
	[ "$(cli get key)" = value ]
	peer ns1 redis 1000 127.0.0.1/6380
	seq 0 9999 | sed 's/.*/SET key& value&/' | cli --pipe | grep -q 'errors: 0, replies: 10000'
	[ "$(cli get key9999)" = value9999 ]
	[ "$(cli dbsize)" = 10002 ]
}

@test "ssh" {
	sshd_start "$DIR"
	start_nsfwd ns1@22=ns2@2222
	remote() {
		in_ns ns1 "${SSH[@]}" root@127.0.0.1 "$@" 3>&-
	}
	ssh_works "$DIR"
}
