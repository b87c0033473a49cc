#!/usr/bin/env bats
# The laws of the architecture, each read off the sources: without comments and
# strings, or, for what calls what, as gcc's object files have it.

bats_require_minimum_version 1.5.0

setup_file() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export top code=$BATS_FILE_TMPDIR/code obj=$BATS_FILE_TMPDIR/obj
	local file
	mkdir "$code" "$obj"
	cd "$top" || return
	for file in *.[ch]; do
		gcc -fpreprocessed -dD -E -P "$file" 2>/dev/null |
			sed -E 's/"(\\.|[^"\\])*"/""/g' >"$code/$file"
	done
	for file in *.c; do
		gcc -std=c11 -D_GNU_SOURCE -O0 -fno-pie -fno-common \
			-fno-stack-protector -c -o "$obj/${file%.c}.o" "$file"
	done
}

# no PATTERN FILE...: none of the files has a line that matches.
no() {
	local status=0
	grep -nEH -e "$@" || status=$?
	[ "$status" = 1 ]
}

# only WORDS FILE...: no source but the FILEs calls one of WORDS, a regular
# expression, by its name or by the number of its system call. Numbers alone are
# what sandbox.c lets the others call.
only() {
	local words=$1 file others=()
	shift
	cd "$code" || return
	[[ " $* " == *" sandbox.c "* ]] ||
		no "\<($words) *\(|syscall\((SYS|__NR)_($words)\>" sandbox.c || return
	for file in *.[ch]; do
		case " $* sandbox.c " in
		*" $file "*) ;;
		*) others+=("$file") ;;
		esac
	done
	no "\<($words) *\(|\<(SYS|__NR)_($words)\>" "${others[@]}"
}

# What the object of a file takes from other objects and from libc.
undefined() {
	nm -u --format=posix "$obj/$1.o" | cut -d' ' -f1
}

@test "setns, clone and unshare only in netns.c" {
	only 'setns|clone|clone3|unshare' netns.c
}

# Each for one kind of process: mapper, worker, connection, daemon, a reader of metrics,
# the one connection of "-".
@test "fork only in mapper.c, crew.c, tcp.c, life.c, status.c, stdio.c" {
	only '_?[vr]?fork|posix_spawnp?|system|popen|exec[vl][pe]*|execveat|fexecve' \
		mapper.c crew.c tcp.c life.c status.c stdio.c
}

# netns.c is here because it reaps the helper that it cloned, in the same call:
# nobody else knows of that process. The parent of a daemon has but one child.
@test "wait only in serve.c, crew.c, tcp.c, stdio.c and, for their own child, netns.c and life.c" {
	only 'wait|wait[34]|waitpid|waitid' serve.c crew.c tcp.c stdio.c netns.c life.c
}

@test "credentials, prctl and seccomp only in sandbox.c" {
	only 'set(e|re|res|fs)?[ug]id|setgroups|initgroups|capset|prctl|seccomp' \
		sandbox.c
}

@test "names are resolved only in dial.c" {
	only 'getaddrinfo|getaddrinfo_a|getnameinfo|gethostby[a-z0-9_]*' dial.c
}

@test "no signal handlers: dispositions are set in nsfwd.c, asked in serve.c" {
	local calls='(signal|sigaction|sigset|sigvec|bsd_signal|sysv_signal)'
	only "$calls" nsfwd.c serve.c
	sed -E 's/\<signal\([A-Z]+, SIG_(IGN|DFL)\)//; s/\<sigaction\([^,]*, NULL,//' \
		"$code/nsfwd.c" "$code/serve.c" >"$BATS_TEST_TMPDIR/rest"
	no "\<$calls *\(" "$BATS_TEST_TMPDIR/rest"
}

# relay.c has the one buffer that it copies through, in two halves.
@test "variables outlive a function only in those files that are about one thing" {
	local file
	for file in "$obj"/*.o; do
		case ${file##*/} in
		serve.o | mapper.o | life.o | title.o | crew.o | tcp.o | worker.o | \
			udp.o | log.o) continue ;;
		relay.o) set -- copies ;;
		*) set -- ;;
		esac
		nm --format=posix "$file" | awk -v spare="$*" -v file="${file##*/}" '
			$2 ~ /^[bBdDCsSgG]$/ && $1 != spare {
				print file ": " $1
				found = 1
			}
			END { exit found }'
	done
}

@test "netns.c knows nothing of nsfwd" {
	no 'nsfwd\.h' "$top/netns.c" "$top/netns.h"
}

# What each file may call, no more than it does. In the picture of the files,
# nsfwd.c stands left of serve.c, that of listen.c, then come the mappers, dial.c
# and relay.c; the leaves are below all.
allowed() {
	case $1 in
	nsfwd) echo conf serve stdio gost spec key side netns title log ;;
	conf) echo spec key side log ;;
	gost) ;;
	serve) echo change service status mapper life listen spec netns sandbox log ;;
	change) echo service mapper listen spec log ;;
	service) echo mapper listen netns log ;;
	status) echo mapper sandbox title log ;;
	mapper) echo crew tcp udp netns sandbox title log ;;
	life) echo log ;;
	stdio) echo dial netns sandbox log ;;
	listen) echo dial relay datagram side netns log ;;
	crew) echo tcp title log ;;
	tcp) echo table conn worker dial title side log ;;
	conn) echo proxy header dial relay sandbox netns side log ;;
	worker) echo dial relay log ;;
	udp) echo dial flow datagram netns side log ;;
	proxy) echo associate dial hop side log ;;
	associate) echo dial hop datagram side log ;;
	dial) echo header hop relay side netns log ;;
	header) echo hop side ;;
	hop) echo side log ;;
	spec) echo key side netns ;;
	key) echo side ;;
	relay | table | side | flow | datagram | netns | sandbox | title | log) ;;
	*)
		echo "$1.c is not in the table of this test" >&2
		return 1
		;;
	esac
}

@test "no file calls one to its left or above" {
	local file name
	for file in "$obj"/*.o; do
		name=${file##*/} name=${name%.o}
		nm --defined-only --extern-only --format=posix "$file" |
			awk -v name="$name" '{ print $1, name }'
	done >"$BATS_TEST_TMPDIR/defined"
	for file in "$obj"/*.o; do
		name=${file##*/} name=${name%.o}
		allowed "$name" >"$BATS_TEST_TMPDIR/allowed"
		undefined "$name" | awk -v name="$name" '
			FILENAME ~ /allowed$/ { for (i = 1; i <= NF; i++) may[$i] = 1; next }
			FILENAME ~ /defined$/ { home[$1] = $2; next }
			$1 in home && !(home[$1] in may) {
				print name ".c calls " $1 "() of " home[$1] ".c"
				found = 1
			}
			END { exit found }' \
			"$BATS_TEST_TMPDIR/allowed" "$BATS_TEST_TMPDIR/defined" -
	done
}

# What moves bytes must not wait for memory or for a file of the locale. Only
# flow_table() of flow.c makes the tables of a mapper, before it has a flow; those
# of connections are mapped.
@test "what moves bytes allocates nothing and formats no locale text" {
	local name
	for name in relay tcp conn worker udp flow datagram; do
		undefined "$name" >"$BATS_TEST_TMPDIR/$name"
		no '^(malloc|realloc(array)?|aligned_alloc|strn?dup|v?asprintf|open_memstream)$' \
			"$BATS_TEST_TMPDIR/$name"
		no '^(strerror.*|perror|psignal|v?syslog|openlog|setlocale|__assert_fail)$' \
			"$BATS_TEST_TMPDIR/$name"
		no '^(v?f?printf|f?puts|f?putc|putchar|fwrite|std(out|err)|__printf_chk)$' \
			"$BATS_TEST_TMPDIR/$name"
	done
	no '^calloc$' "$BATS_TEST_TMPDIR"/{relay,tcp,conn,worker,udp,datagram}
	awk '/^[a-z_]+\(/ { sub(/\(.*/, ""); name = $0 }
		/[^a-z_]calloc *\(/ { print FILENAME ": " name }' \
		"$code/flow.c" >"$BATS_TEST_TMPDIR/callers"
	run ! grep -v '/flow\.c: flow_table$' \
		"$BATS_TEST_TMPDIR/callers"
	[ -s "$BATS_TEST_TMPDIR/callers" ]
}

@test "the program needs the C library and nothing else" {
	gcc -no-pie -o "$BATS_TEST_TMPDIR/nsfwd" "$obj"/*.o
	run -0 readelf -d "$BATS_TEST_TMPDIR/nsfwd"
	[ "$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$output")" = libc.so.6 ]
}

# Counted from the line of its name; its type stands on a line before.
@test "no function over 60 lines" {
	awk '
		/^[a-z_][A-Za-z0-9_]*\(/ { name = $0; from = FNR }
		/^}/ {
			if (from && FNR - from >= 60) {
				print FILENAME ": " FNR - from + 1 " lines: " name
				found = 1
			}
			from = 0
		}
		END { exit found }' "$top"/*.c
}

# Lines of code: what is left without comments and empty lines. 5,000 were wanted,
# and were enough for TCP and UDP alone; proxies, GOST's words, workers, reload and
# the sandbox took the rest. It is not to grow.
@test "no file over 600 lines, all .c together under 8800 of code" {
	awk 'FNR == 601 { print FILENAME; found = 1 } END { exit found }' "$top"/*.[ch]
	[ "$(cat "$code"/*.c | wc -l)" -lt 8800 ]
}

@test "README is under 120 lines" {
	[ "$(wc -l <"$top/README")" -lt 120 ]
}

@test "nothing in the tree names a place on somebody's machine" {
	no '(^|[^A-Za-z0-9_}])/(work|farm|home|root)/[a-z]' -rI --exclude-dir=.git --exclude=.git \
		--exclude-dir=obj --exclude=nsfwd "$top"
}
