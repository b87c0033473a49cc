#!/usr/bin/env bats
# Man pages, README, --help and program agree.

# bats file_tags=once

bats_require_minimum_version 1.5.0
load helpers

setup() {
	:
}

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
	sed -n '/^\.Sh OPTIONS/,/^\.Sh NAMESPACES/p' "$man" | grep '^\.It Fl' |
		grep -oE 'Fl [A-Za-z-]+' | sed 's/Fl /-/' | sort -u
}

# Print the keys of config/key.c and config/map_parse.c, and the rows of KEYS in
# the page: key|tcp|udp|default.
keys_of_code() {
	sed -n '/keys\[\] = {/,/^};/s/^[ \t]*{"\([a-z-]*\)",.*/\1/p' "$top/config/key.c"
	printf '%s\n' via via-auth auth
}

keys_of_man() {
	sed -n '/^\.Sh KEYS/,/^\.TE/s/|T{$//p' "$man"
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

@test "KEYS in the man page has every key, in the order of the alphabet" {
	keys_of_code | LC_ALL=C sort >"$BATS_TEST_TMPDIR/code"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/code")" -ge 28 ]
	keys_of_man | cut -d'|' -f1 | diff "$BATS_TEST_TMPDIR/code" -
	run -2 "$NSFWD" --check=syntax 8000=web@80,no-such-key=7
}

# allowed PROTO KEY: prints yes unless such a map cannot have the key, whatever
# its value.
allowed() {
	local listen=8000 target=web@80
	case $1$2 in
	tcpmode | tcpowner) listen=/run/x ;;
	tcpauth | tcpreach | tcpudp-*) target=web@proxy ;;
	esac
	case $("$NSFWD" --check=syntax "$1:$listen=$target,$2=?" 2>&1) in
	*"'$2': "*'a key of '* | *"'$2': for LISTEN"*) echo no ;;
	*) echo yes ;;
	esac
}

@test "the columns tcp and udp of KEYS are what the program accepts" {
	local key tcp udp wanted
	while IFS='|' read -r key tcp udp _; do
		wanted="yes $udp yes"
		[ "$tcp" != only ] || wanted="yes $udp $udp"
		[ "$tcp" != no ] || wanted='no yes yes'
		# Only of a proxy, which is of tcp, has it another use there.
		[ "$key" != udp-timeout ] || wanted='yes yes yes'
		[ "$(allowed tcp "$key") $(allowed udp "$key") $(allowed tcp+udp "$key")" = \
			"$wanted" ] || {
			echo "$key"
			return 1
		}
	done < <(keys_of_man)
}

@test "the defaults of KEYS and OPTIONS are those of the program" {
	local key tcp default map count=0 option
	while IFS='|' read -r key tcp _ default; do
		case $default in
		[0-9]* | on | first) ;;
		*) continue ;;
		esac
		map=8000=web@80
		[[ $tcp != no && $key != udp-* ]] || map=udp:$map
		run -0 "$NSFWD" --check=syntax "$map,$key=$default"
		[ "$output" = "$map" ]
		option=$(sed -n "/^\.It Fl -$key Ar/,/^\.It/p" "$man")
		[ -z "$option" ] || [ "$key" = workers ] ||
			grep -qx "The default is ${default%%|*}\." <<<"$option"
		count=$((count + 1))
	done < <(keys_of_man)
	[ "$count" -ge 12 ]
	"$NSFWD" --help | grep -q 'connections over all maps (1024)'
	"$NSFWD" --help | grep -q 'after TERM (30s)'
	sed -n '/^\.It Fl -max-conns/,/^\.It/p' "$man" | grep -qx 'The default is 1024\.'
	sed -n '/^\.It Fl -drain/,/^\.It/p' "$man" | grep -qx 'The default is 30s\.'
}

# Print the commands of nsfwd in the README: what begins with its name, up to the
# end of the line, two spaces or a quotation mark before it.
commands_of_readme() {
	grep -oE "(^|[ '/])nsfwd (-[^- ]|--[a-z]|[^ ]*[=:@]).*" "$top/README" |
		sed -E "s/^[ '/]//; s/  .*//; /^nsfwd -=/s/'.*//"
}

@test "every command of the README is one that nsfwd understands" {
	local line count=0
	shopt -s extglob
	echo 8080=web@80 >"$BATS_TEST_TMPDIR/conf"
	crictl() { :; }
	jq() { echo 4242; }
	true &
	while read -r line; do
		line=${line//\/etc\/nsfwd.conf/$BATS_TEST_TMPDIR/conf}
		line=${line/MAP/8080=web@80}
		line=${line/--test/}
		line=${line/--status?(=8080)/8080=web@80} # a server's answer, no syntax
		line=${line/"[%h]:%p"/host:22}
		line=${line% &}
		echo "$line"
		eval "words=($line)" # as a shell takes it: a bare & is an error
		run -0 "$NSFWD" --check=syntax "${words[@]:1}"
		count=$((count + 1))
	done < <(commands_of_readme)
	[ "$count" -ge 17 ]
	wait
}

@test "RECIPES of the README: 14, each of them such a command" {
	sed -n '/^RECIPES/,/^[A-Z][a-z]/p' "$top/README" | grep '^    ' \
		>"$BATS_TEST_TMPDIR/recipes"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/recipes")" = 14 ]
	[ "$(grep -cE "^    [A-Za-z ]{10,12} .*\bnsfwd .*[=-]" "$BATS_TEST_TMPDIR/recipes")" = 14 ]
}

# TRY IT, but curl waits longer for the servers.
@test "what the README tells to try works, without root" {
	sed -n '/^TRY IT/,/^$/s/^    //p' "$top/README" |
		sed '/^make$/d; s/curl --retry 5/curl -sS --retry 50 --retry-delay 1/' \
		>"$BATS_TEST_TMPDIR/try"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/try")" = 3 ]
	cd "$BATS_TEST_TMPDIR"
	ln -s "$NSFWD" nsfwd
	run -0 timeout $((100 * TEST_SLOW)) unshare -rn bash -c 'exec 2>/dev/null
		ip link set lo up
		. ./try
		status=$?
		kill $(jobs -p)
		wait
		exit $status'
	[[ $output == *'Directory listing'* ]]
}

@test "the README is plain text of 80 columns, without tabs" {
	run ! grep -nP '[^ -~]|^.{81}|^\||^#' "$top/README"
	[ "$(sed -n '1,15s/^    \(sh tests.*\|make check\)$/\1/p' "$top/README" | xargs)" = \
		'sh tests/deps.sh && make demo make check' ]
}

# The blocks of EXAMPLES. /etc/nsfwd.conf is the file that nsfwd.conf(5) shows.
@test "every command of the man pages is one that nsfwd understands" {
	local line count=0
	sed -n '/^# options/,/^\.Ed/p' "$top/man/nsfwd.conf.5" | sed '$d; s/\\e$/\\/' \
		>"$BATS_TEST_TMPDIR/nsfwd.conf"
	run -0 "$NSFWD" --check=syntax --config "$BATS_TEST_TMPDIR/nsfwd.conf"
	[ "${#lines[@]}" = 3 ]
	[ "${lines[0]}" = :443=web@8443,deny=192.0.2.0/24,max-source=100,idle-timeout=1h ]
	cat "$man" "$top/man/nsfwd.conf.5" | sed -n '/^\.Sh EXAMPLES/,/^\.Sh /p' \
		>"$BATS_TEST_TMPDIR/examples"
	while read -r line; do
		eval "words=($line)"
		run -0 "$NSFWD" --check=syntax "${words[@]:1}"
		count=$((count + 1))
	done < <(grep '^nsfwd ' "$BATS_TEST_TMPDIR/examples" |
		sed "s|/etc/nsfwd.conf|$BATS_TEST_TMPDIR/nsfwd.conf|; s/ --test / /")
	[ "$count" -ge 15 ]
}

@test "nsfwd.conf(5) has the options that cannot stand in a file" {
	local option name
	while read -r option; do
		name=${option#--}
		printf '%s 1\n8000=web@80\n' "$name" >"$BATS_TEST_TMPDIR/conf"
		run "$NSFWD" --check=syntax -c "$BATS_TEST_TMPDIR/conf"
		case $name in
		config | check | rules | status | test | top | help | version)
			[[ $output == *"option '$name': for the command line only" ]]
			grep -qw "$name" <(grep -A3 'may stand in a file' "$top/man/nsfwd.conf.5")
			;;
		*) [ "$status" = 0 ] || [[ $output == *"option '$name'"* ]] ;;
		esac
	done < <(options_of_man | grep -- -- | sed 's/ .*//')
}

# Looks for the longest part of each format between two conversions, and for the
# reasons that udp/udp.c gives for a dropped datagram; then for two words in a row
# of each message of the page in the strings of the program.
@test "nsfwd-messages(7) has every message, and no other" {
	python3 - "$top/man/nsfwd-messages.7" "$top" <<-'END'
	import glob, re, sys
	man = open(sys.argv[1]).read()
	sources = [name for where in ("*.c", "*/*.c")
	           for name in glob.glob(where, root_dir=sys.argv[2])
	           if not name.startswith(("tests/", "bench/", "obj/"))]
	string = r'"((?:[^"\\]|\\.)*)"'
	call = re.compile(r'log_(?:error|info|debug|ratelimited|line)\((?:[^";]*,)?\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
	dropped = re.compile(r'\baccount_drop\(&([^;]*);')
	count, missing, strings = 0, [], ""
	for name in sources:
	    source = open(f"{sys.argv[2]}/{name}").read()
	    for match in re.finditer(rf'(?:{string}\s*)+', source):
	        strings += "".join(re.findall(string, match[0])) + "\n"
	    for match in dropped.finditer(source):
	        for text in re.findall(r'"([^"]*)"', match[1]):
	            count += 1
	            if f"dropped a datagram of ADDR: {text}" not in man:
	                missing.append(f"{name}: {text}")
	    for match in call.finditer(source):
	        text = "".join(re.findall(string, match[1]))
	        piece = max(re.split(r"%[.*0-9]*(?:ll|z)?[a-z]", text), key=len)
	        count += 1
	        if piece.strip(" :('") not in man:
	            missing.append(f"{name}: {text}")
	for text in re.findall(r'^\.It Sy "(.*)"$', man, re.M):
	    count += 1
	    pieces = re.split(r"[A-Z_]+\b|'[^']*'|\([^)]*\)", text)
	    words = [re.findall(r"[a-z0-9/-]+", piece) for piece in pieces]
	    pairs = [" ".join(w[i:i + 2]) for w in words for i in range(len(w) - 1)]
	    if not (any(pair in strings for pair in pairs) if pairs
	            else all(word in strings for w in words for word in w)):
	        missing.append(f"only in the page: {text}")
	print("\n".join(missing))
	sys.exit(bool(missing) or count < 180)
	END
}

@test "each message has a cause or a cure" {
	# Messages that stand together share one text.
	! awk '/^\.It Sy "/ { it = $0; next }
		it && (/^\.El/ || /^\.Sh/ || /^\.Bl/) { print it; bad = 1 }
		{ it = "" }
		END { exit !bad }' "$top/man/nsfwd-messages.7"
}

@test "the pages name each other, and sections that exist" {
	local page section
	for page in nsfwd.1 nsfwd.conf.5 nsfwd-messages.7; do
		while read -r section; do
			grep -qxE "\.S[hs] $section" "$top/man/$page" || {
				echo "$page: no section $section"
				return 1
			}
		done < <(sed -n 's/^\.Sx \([A-Za-z, ]*\).*/\1/p' "$top/man/$page" | sed 's/[ ,]*$//')
		[ "$(grep -cE '^\.Xr nsfwd(\.conf 5|-messages 7| 1)' "$top/man/$page")" -ge 2 ]
	done
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

@test "program, CHANGELOG and debian/changelog have the version of the Makefile" {
	local version
	version=$(sed -n 's/^VERSION = //p' "$top/Makefile")
	[ "$("$NSFWD" --version)" = "nsfwd $version" ]
	[[ $(head -1 "$top/CHANGELOG") == "$version,"* ]]
	[[ $(head -1 "$top/debian/changelog") == "nsfwd ($version)"* ]]
}

@test "the README names only files and targets that exist" {
	local word count=0
	for word in HACKING CHANGELOG LICENSE contrib/ tests/laws.bats tests/deps.sh \
		tests/proxy-clients bench/RESULTS.md; do
		grep -qF "$word" "$top/README"
		[ -e "$top/$word" ]
	done
	while read -r word; do
		[ -s "$top/man/$word" ]
	done < <(grep -oE '[a-z2.-]+\([1-8]\)' "$top/README" | grep nsfwd | sed 's/(\(.\))/.\1/')
	while read -r word; do
		grep -qE "^$word:" "$top/Makefile" || grep -qwE "^\.PHONY:.*$word" "$top/Makefile"
		count=$((count + 1))
	done < <(grep -oE '\bmake [a-z-]+' "$top/README" | cut -d' ' -f2 | sort -u)
	[ "$count" -ge 9 ]
	[ "$(head -1 "$top/LICENSE")" = 'ISC License' ]
	grep -qx 'License: ISC' "$top/debian/copyright"
}

@test "--help and completion know every key" {
	local key n=0 help
	help=$("$NSFWD" --help)
	while read -r key; do
		grep -qE -- "(^|[ -])$key(,|;|\$| [TN(])" <<<"$help" || {
			echo "no key '$key' in --help"
			return 1
		}
		grep -qE "(^|[^a-z-])$key=" "$top/contrib/nsfwd.bash" &&
			grep -qE "(^|[^a-z-])$key([^a-z-]|\$)" "$top/contrib/_nsfwd" || {
			echo "no key '$key' in a completion"
			return 1
		}
		n=$((n + 1))
	done < <(keys_of_code)
	[ "$n" -ge 28 ]
}
