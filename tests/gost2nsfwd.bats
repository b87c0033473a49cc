#!/usr/bin/env bats
# contrib/gost2nsfwd: files of GOST become a configuration. gost2nsfwd.cases has the
# files and what becomes of each.

bats_require_minimum_version 1.5.0
load helpers

SCRIPT=$BATS_TEST_DIRNAME/../contrib/gost2nsfwd
PY=$BATS_TEST_DIRNAME/gost2nsfwd.py

CASES=$BATS_TEST_TMPDIR/cases

setup() {
	mkdir "$CASES"
	python3 "$PY" "$SCRIPT" "${PY%.py}.cases" "$CASES" 3>&-
}

teardown() {
	ip addr del 10.0.1.11/32 dev lo 2>/dev/null || :
	oracle || return
	rm -f '/run/netns/#ns1'
}

# means FILE ARG...: true if the maps of a file of GOST are those of the command.
means() {
	[ "$("$NSFWD" --check -c "$CASES/$1.out")" = \
		"$("$NSFWD" --check "${@:2}")" ]
}

@test "GOST's files become maps, and what is not translated is named (gost2nsfwd)" {
	cd "$CASES"
	# The files of the documentation mean what its commands do.
	means netns.yml -L tcp://10.0.0.1:8000/:8000?netns=ns1
	means netns.out.yml -L \
		"tcp://10.0.0.1:8001/10.0.1.1:8000?netns=ns1&netns.out=/run/netns/ns2"
	means chain.yml -L tcp://10.0.0.1:8002/10.0.1.11:8000?netns=ns1 \
		-F http://10.0.1.1:8080?netns=ns2
	# Standard input is YAML or JSON.
	for name in netns.yml tabs.json; do
		"$SCRIPT" - <"$name" | diff - "$name.out"
	done
	run -1 --separate-stderr sh -c '"$0" netns.yml >/dev/full' "$SCRIPT"
	# shellcheck disable=SC2154 # run sets stderr
	[ "$stderr" = 'gost2nsfwd: standard output: No space left on device' ]
}

@test "make install installs gost2nsfwd, which runs, and its man page" {
	local top=$BATS_TEST_TMPDIR/top to=$BATS_TEST_TMPDIR/to
	mkdir "$top"
	cp -r "$BATS_TEST_DIRNAME"/../{Makefile,README,contrib,man} "$top"
	cp "$NSFWD" "$top/nsfwd"
	make -s -C "$top" -o nsfwd install DESTDIR="$to" PREFIX=/usr >/dev/null
	"$to/usr/bin/gost2nsfwd" "$CASES/chain.yml" | diff - "$CASES/chain.yml.out"
	[ -s "$to/usr/share/man/man1/gost2nsfwd.1" ]
	make -s -C "$top" uninstall DESTDIR="$to" PREFIX=/usr
	[ -z "$(find "$to" -type f)" ]
}

@test "all maps of GOST's files pass traffic (gost2nsfwd)" {
	local kind where rest rules port n=0
	local -a self=() ns1=()
	ns ns1 ns2
	ln -s ns1 '/run/netns/#ns1'
	ip addr add 10.0.1.11/32 dev lo
	ip -n ns1 addr add 10.0.0.1/32 dev lo
	ip -n ns2 addr add 10.0.1.1/32 dev lo
	named_server self self 127.0.0.1/8000 10.0.1.11/8000
	named_server ns2 ns2 127.0.0.1/8000 10.0.1.1/8000 10.0.1.1/8001
	udp_echo ns2 echo 10.0.1.1 8000
	web_server ns2 10.0.1.1 8003
	cd "$CASES"
	# The hops of the files.
	printf '%s\n' ns2@10.0.1.1:8080=self@proxy 10.0.1.11:8082=proxy \
		ns2@10.0.1.1:8081=self@proxy,auth=user:secret >hops
	cat ./*.out >maps.conf
	[ "$(grep -c '^[^#]' maps.conf)" -ge 20 ]
	start_nsfwd -c maps.conf -c hops
	"$NSFWD" --rules ns1@:7060=ns2@original udp:ns1@:8000=ns2@original | in_ns ns1 sh
	while read -r kind where rest; do
		n=$((n + 1))
		case $kind-$where in
		tcp-self) self+=("$rest") ;;
		tcp-ns1) ns1+=("$rest") ;;
		rules-*) rules=$rest ;;
		udp-*) in_ns "$where" python3 "$PY" echoes "$rest" 3>&- ;;
		curl-*)
			# shellcheck disable=SC2086 # a list of words
			[ "$(fetch "$where" $rest http://10.0.1.1:8003/)" = 'this is ns2' ]
			;;
		esac
	done < <(cat ./*.traffic)
	asks self "${self[@]}"
	asks ns1 "${ns1[@]}"
	read -r port where <<<"$rules"
	"$NSFWD" --rules "ns1@:$port=self@original" | in_ns ns1 sh
	asks ns1 "$where"
	[ "$n" = "$(grep -c '^[^#]' maps.conf)" ]
	wait_until 5 no_flows
}
