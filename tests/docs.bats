#!/usr/bin/env bats
# Man page, README, --help and program agree.

# bats file_tags=once

bats_require_minimum_version 1.5.0

setup_file() {
	: "${NSFWD:=$BATS_TEST_DIRNAME/../nsfwd}"
	top=$BATS_TEST_DIRNAME/..
	export NSFWD top man=$top/man/nsfwd.1
}

# Print the long and short options of --help, and those of OPTIONS in the page.
options_of_help() {
	"$NSFWD" --help | grep -oE -- '(^|[[:space:],[|])(--[a-z][a-z-]+|-[A-Za-z])\>' |
		grep -oE -- '-.*' | sort -u
}

options_of_man() {
	sed -n '/^\.Sh OPTIONS/,/^\.Sh FROM GOST/p' "$man" | grep '^\.It Fl' |
		grep -oE 'Fl [A-Za-z-]+' | sed 's/Fl /-/' | sort -u
}

@test "the man page has every option of --help, and no other" {
	options_of_help >"$BATS_TEST_TMPDIR/help"
	options_of_man >"$BATS_TEST_TMPDIR/man"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/man")" -ge 15 ]
	diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/man"
}

@test "the program knows every option of the man page" {
	local option
	for option in $(options_of_man); do
		run "$NSFWD" "$option"
		[[ $output != *"unknown option"* ]]
	done
}

@test "an option that is not there is an error" {
	run -2 "$NSFWD" --no-such-option 8000=web@80
	[[ $output == *"unknown option '--no-such-option'"* ]]
	run -2 "$NSFWD" -Z 8000=web@80
	[[ $output == *"unknown option '-Z'"* ]]
}

@test "the man page has every key that a map knows" {
	local key
	for key in max max-source connect-timeout idle-timeout half-close-timeout; do
		grep -q "^\.It Cm $key Ns =" "$man"
		run -0 "$NSFWD" --check=syntax "8000=web@80,$key=7"
		[ "$output" != 8000=web@80 ]
	done
	for key in flows max-source udp-timeout udp-one-way-timeout; do
		grep -q "^\.It Cm $key Ns =" "$man"
		run -0 "$NSFWD" --check=syntax "udp:8000=web@80,$key=7"
		[ "$output" != udp:8000=web@80 ]
	done
	grep -q '^\.It Cm offload Ns = Ns Cm off' "$man"
	run -0 "$NSFWD" --check=syntax udp:8000=web@80,offload=off
	[ "$output" = udp:8000=web@80,offload=off ]
	grep -q '^\.It Cm balance Ns = Ns Cm first' "$man"
	run -0 "$NSFWD" --check=syntax 8000=web@80,balance=first
	run -2 "$NSFWD" --check=syntax 8000=web@80,no-such-key=7
}

@test "the defaults are those of the man page" {
	local default=connect-timeout=10s,idle-timeout=0,half-close-timeout=1h
	run -0 "$NSFWD" --check=syntax "8000=web@80,$default,max=0,max-source=0"
	[ "$output" = 8000=web@80 ]
	grep -A9 '^\.It Fl -connect-timeout' "$man" | grep -q '^The default is 10s'
	grep -A9 '^\.It Fl -half-close-timeout' "$man" | grep -q '^The default is 1h'
	grep -A9 '^\.It Fl -idle-timeout' "$man" | grep -q '^The default is 0'
	default=flows=4096,max-source=0,udp-timeout=2m,udp-one-way-timeout=30s
	run -0 "$NSFWD" --check=syntax "udp:8000=web@80,$default,offload=on"
	[ "$output" = udp:8000=web@80 ]
	grep -A2 '^\.It Cm flows' "$man" | grep -q 'the default is 4096'
	grep -A4 '^\.It Fl -udp-timeout' "$man" | grep -q '^The default is 2m'
	grep -A4 '^\.It Fl -udp-one-way-timeout' "$man" |
		grep -q '^The default is 30s'
}

@test "every command of the README is one that nsfwd understands" {
	local line count=0
	while read -r line; do
		eval "words=($line)" # as a shell takes it: a bare & is an error
		[ "${words[0]}" = nsfwd ]
		case "$line" in
		*--config*) continue ;;
		esac
		run -0 "$NSFWD" --check=syntax "${words[@]:1}"
		count=$((count + 1))
	done < <(awk -F'`' '/^\|.*`nsfwd / { print $2 }' "$top/README")
	[ "$count" -ge 10 ]
}

# The blocks of EXAMPLES, with the config file that is shown there.
@test "every command of the man page is one that nsfwd understands" {
	local line count=0
	sed -n '/^\.Sh EXAMPLES/,/^\.Sh DIAGNOSTICS/p' "$man" \
		>"$BATS_TEST_TMPDIR/examples"
	sed -n '/^\$ cat maps.conf/,/^\$ nsfwd/p' "$BATS_TEST_TMPDIR/examples" |
		grep -v '^\$' >"$BATS_TEST_TMPDIR/maps.conf"
	cd "$BATS_TEST_TMPDIR"
	while read -r line; do
		eval "words=(${line#\$ })"
		run -0 "$NSFWD" --check=syntax "${words[@]:1}"
		count=$((count + 1))
	done < <(grep -E '^(\$ )?nsfwd ' examples)
	[ "$count" -ge 11 ]
}

# Looks for the longest part of each format between two conversions, and for the
# reasons that udp/udp.c gives for a dropped datagram.
@test "the man page has every message" {
	python3 - "$man" "$top" <<-'END'
	import glob, re, sys
	man = open(sys.argv[1]).read()
	sources = [name for where in ("*.c", "*/*.c")
	           for name in glob.glob(where, root_dir=sys.argv[2])
	           if not name.startswith(("tests/", "bench/", "obj/"))]
	call = re.compile(r'log_(?:error|info|debug|ratelimited|line)\((?:[^";]*,)?\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
	dropped = re.compile(r'\baccount_drop\(&([^;]*);')
	count, missing = 0, []
	for name in sources:
	    source = open(f"{sys.argv[2]}/{name}").read()
	    for match in dropped.finditer(source):
	        for text in re.findall(r'"([^"]*)"', match[1]):
	            count += 1
	            if f"dropped a datagram of ADDR: {text}" not in man:
	                missing.append(f"{name}: {text}")
	    for match in call.finditer(source):
	        text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match[1]))
	        piece = max(re.split(r"%[.*0-9]*(?:ll|z)?[a-z]", text), key=len)
	        count += 1
	        if piece.strip(" :('") not in man:
	            missing.append(f"{name}: {text}")
	print("\n".join(missing))
	sys.exit(bool(missing) or count < 35)
	END
}

@test "FROM GOST has every key that config/gost_key.c knows, and common others" {
	local word
	sed -n '/^\.Sh FROM GOST/,/^\.Sh SIGNALS/p' "$man" \
		>"$BATS_TEST_TMPDIR/table"
	while read -r word; do
		grep -qiF -- "$word" "$BATS_TEST_TMPDIR/table" || {
			echo "no $word"
			return 1
		}
	done < <(sed -n '/^} [a-z_]*keys/,/^};/s/^[[:space:]]*{"\([a-z_.]*\)".*/\1/p' "$top/config/gost_key.c"
		printf '%s\n' tcp:// udp:// auto:// http:// socks5:// unix:// \
			stdio:// rtcp:// red rlimiter quotas enableStats -metrics -O)
	[ "$(sed -n '/^} [a-z_]*keys/,/^};/p' "$top/config/gost_key.c" | grep -cE '^\s*\{"')" -ge 31 ]
}

@test "the version is that of the Makefile" {
	run -0 "$NSFWD" --version
	[[ $output == *" $(sed -n 's/^VERSION = //p' "$top/Makefile")"* ]]
}

@test "the README names only files and targets that exist" {
	local word
	for word in man/nsfwd.1 HACKING tests/laws.bats \
		tests/deps.sh bench/RESULTS.md; do
		grep -qF "$word" "$top/README"
		[ -e "$top/$word" ]
	done
	while read -r word; do
		grep -qE "^$word:" "$top/Makefile"
	done < <(sed -n 's/^ *make \([a-z-]\{2,\}\) .*/\1/p' "$top/README")
}

@test "completion knows every key" {
	local key n=0
	while read -r key; do
		grep -qE "(^|[^a-z-])$key=" "$top/contrib/nsfwd.bash" &&
			grep -qE "(^|[^a-z-])$key([^a-z-]|\$)" "$top/contrib/_nsfwd" || {
			echo "no key '$key' in a completion"
			return 1
		}
		n=$((n + 1))
	done < <(sed -n '/keys\[\] = {/,/^};/s/^[ \t]*{"\([a-z-]*\)",.*/\1/p' "$top/config/key.c")
	[ "$n" -ge 25 ]
}
