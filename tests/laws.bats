#!/usr/bin/env bats
# The laws of the architecture, each read off the sources: without comments and
# strings, or, for what calls what, as gcc's object files have it.

bats_require_minimum_version 1.5.0

ROOMS=(base config proxy dial mapper tcp udp server)

setup_file() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export top code=$BATS_FILE_TMPDIR/code obj=$BATS_FILE_TMPDIR/obj
	local file
	cd "$top" || return
	for file in "${ROOMS[@]}"; do
		mkdir -p "$code/$file" "$obj/$file"
	done
	for file in $(sources) $(headers); do
		gcc -fpreprocessed -dD -E -P "$file" 2>/dev/null |
			sed -E 's/"(\\.|[^"\\])*"/""/g' >"$code/$file"
	done
	for file in $(sources); do
		echo gcc -std=c11 -D_GNU_SOURCE -I. -O0 -fno-pie -fno-common \
			-fno-stack-protector -c -o "$obj/${file%.c}.o" "$file"
	done | xargs -P 2 -I{} sh -c {}
}

# The files of the program, from its top.
sources() {
	(cd "$top" && find . -maxdepth 2 -name '*.c' | sed 's,^\./,,' | in_rooms)
}

headers() {
	(cd "$top" && find . -maxdepth 2 -name '*.h' | sed 's,^\./,,' | in_rooms)
}

in_rooms() {
	local IFS='|'
	grep -E "^([^/]+|(${ROOMS[*]})/[^/]+)\$" | sort
}

# no PATTERN FILE...: none of the files has a line that matches.
no() {
	local status=0
	grep -nEH -e "$@" || status=$?
	[ "$status" = 1 ]
}

# only WORDS FILE...: no source but the FILEs calls one of WORDS, a regular
# expression, by its name or by the number of its system call. Numbers alone are
# what base/sandbox.c lets the others call.
only() {
	local words=$1 file others=() sandbox=base/sandbox.c
	shift
	cd "$code" || return
	[[ " $* " == *" $sandbox "* ]] ||
		no "\<($words) *\(|syscall\((SYS|__NR)_($words)\>" "$sandbox" || return
	for file in $(sources) $(headers); do
		case " $* $sandbox " in
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

# Each for one kind of process: mapper, worker, connection, daemon, a reader of
# metrics, the one connection of "-".
@test "fork only where a kind of process begins" {
	only '_?[vr]?fork|posix_spawnp?|system|popen|exec[vl][pe]*|execveat|fexecve' \
		server/mapper_proc.c tcp/pool.c tcp/fork.c server/daemon.c \
		server/stats_socket.c tcp/stdio.c
}

# netns.c is here because it reaps the helper that it cloned, in the same call:
# nobody else knows of that process. The parent of a daemon has but one child.
@test "wait only where processes are children" {
	only 'wait|wait[34]|waitpid|waitid' server/reap.c tcp/pool.c tcp/fork.c \
		tcp/stdio.c netns.c server/daemon.c
}

@test "credentials, prctl and seccomp only in base/sandbox.c" {
	only 'set(e|re|res|fs)?[ug]id|setgroups|initgroups|capset|prctl|seccomp' \
		base/sandbox.c
}

@test "names are resolved only in dial/dial.c" {
	only 'getaddrinfo|getaddrinfo_a|getnameinfo|gethostby[a-z0-9_]*' dial/dial.c
}

@test "no signal handlers: dispositions are set in nsfwd.c, asked in server/setup.c" {
	local calls='(signal|sigaction|sigset|sigvec|bsd_signal|sysv_signal)'
	only "$calls" nsfwd.c server/setup.c
	sed -E 's/\<signal\([A-Z]+, SIG_(IGN|DFL)\)//; s/\<sigaction\([^,]*, NULL,//' \
		"$code/nsfwd.c" "$code/server/setup.c" >"$BATS_TEST_TMPDIR/rest"
	no "\<$calls *\(" "$BATS_TEST_TMPDIR/rest"
}

# relay.c has the buffers that bytes are copied through.
@test "variables outlive a function only where one process is one thing" {
	local file
	for file in $(sources); do
		case $file in
		server/server.c | server/mapper_proc.c | server/daemon.c | \
			server/systemd.c | \
			base/proctitle.c | tcp/pool.c | tcp/tcp.c | tcp/fork.c | \
			tcp/worker.c | udp/udp.c | base/log.c | base/errname.c) continue ;;
		relay.c) set -- buffers ;;
		*) set -- ;;
		esac
		nm --format=posix "$obj/${file%.c}.o" | awk -v spare="$*" -v file="$file" '
			$2 ~ /^[bBdDCsSgG]$/ && $1 != spare {
				print file ": " $1
				found = 1
			}
			END { exit found }'
	done
}

# What the files of a room may include besides their own: rooms, whole, or single
# headers. HACKING says what the rooms are.
may_include() {
	case $1 in
	nsfwd.c) echo server config tcp/stdio.h netns.h base ;;
	server) echo tcp udp mapper config netns.h base relay.h ;;
	tcp) echo relay.h udp/associate.h dial proxy mapper config netns.h base ;;
	udp) echo dial proxy mapper config netns.h base ;;
	dial) echo proxy config netns.h base ;;
	proxy) echo dial udp/associate.h config base ;;
	mapper) echo config netns.h base ;;
	config) echo netns.h base ;;
	netns.[ch]) echo netns.h base ;;
	relay.[ch]) echo relay.h base ;;
	base) ;;
	*)
		echo "$1 has no row in the table of this test" >&2
		return 1
		;;
	esac
}

# strangers FILE...: prints the includes that the table does not have.
strangers() {
	local file room allowed header
	for file; do
		room=${file%%/*}
		allowed=" $room $(may_include "$room") " || return
		while read -r header; do
			[[ $allowed == *" $header "* || $allowed == *" ${header%%/*} "* ]] ||
				echo "$file includes $header"
		done < <(sed -n 's/^#include "\(.*\)"/\1/p' "$top/$file")
	done
}

@test "files include only what lies below their room" {
	run -0 strangers $(sources) $(headers)
	echo "$output"
	[ -z "$output" ]
}

@test "the test of includes finds one that is forbidden" {
	cp -r "$top"/*.[ch] "$top/base" "$BATS_TEST_TMPDIR"
	echo '#include "config/map.h"' >>"$BATS_TEST_TMPDIR/base/log.c"
	top=$BATS_TEST_TMPDIR
	run -0 strangers base/log.c base/log.h relay.c
	[ "$output" = 'base/log.c includes config/map.h' ]
}

@test "no header includes itself through others" {
	local file
	for file in $(headers); do
		sed -n "s,^#include \"\(.*\)\",$file \1,p" "$top/$file"
	done | tsort >/dev/null
}

# What moves bytes must not wait for memory or for a file of the locale. Only
# flow_init() makes the tables of a mapper, before it has a flow; those of
# connections are mapped.
@test "what moves bytes allocates nothing and formats no locale text" {
	local file names=(relay base/io tcp/{tcp,accept,fork,timers,conn,worker}
		udp/{udp,flow,target,datagram})
	for file in "${names[@]}"; do
		undefined "$file" >"$BATS_TEST_TMPDIR/${file##*/}"
		no '^(malloc|realloc(array)?|aligned_alloc|strn?dup|v?asprintf|open_memstream)$' \
			"$BATS_TEST_TMPDIR/${file##*/}"
		no '^(strerror.*|perror|psignal|v?syslog|openlog|setlocale|__assert_fail)$' \
			"$BATS_TEST_TMPDIR/${file##*/}"
		no '^(v?f?printf|f?puts|f?putc|putchar|fwrite|std(out|err)|__printf_chk)$' \
			"$BATS_TEST_TMPDIR/${file##*/}"
		[ "$file" = udp/flow ] || no '^calloc$' "$BATS_TEST_TMPDIR/${file##*/}"
	done
	awk '/^[a-z_]+\(/ { sub(/\(.*/, ""); name = $0 }
		/[^a-z_]calloc *\(/ { print FILENAME ": " name }' \
		"$code/udp/flow.c" >"$BATS_TEST_TMPDIR/callers"
	run ! grep -v '/flow\.c: flow_init$' "$BATS_TEST_TMPDIR/callers"
	[ -s "$BATS_TEST_TMPDIR/callers" ]
}

@test "the program needs the C library and nothing else" {
	gcc -no-pie -o "$BATS_TEST_TMPDIR/nsfwd" "$obj"/*.o "$obj"/*/*.o
	run -0 readelf -d "$BATS_TEST_TMPDIR/nsfwd"
	[ "$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$output")" = libc.so.6 ]
}

# Counted from the line of its name; its type stands on a line before.
@test "no function over 60 lines" {
	cd "$top" || return
	awk '
		/^[a-z_][A-Za-z0-9_]*\(/ { name = $0; from = FNR }
		/^}/ {
			if (from && FNR - from >= 60) {
				print FILENAME ": " FNR - from + 1 " lines: " name
				found = 1
			}
			from = 0
		}
		END { exit found }' $(sources)
}

@test "no file over 600 lines, no header over 200" {
	cd "$top" || return
	awk 'FNR == 601 { print FILENAME; found = 1 } END { exit found }' $(sources)
	awk 'FNR == 201 { print FILENAME; found = 1 } END { exit found }' $(headers)
}

@test "README is under 120 lines, HACKING under 80" {
	[ "$(wc -l <"$top/README")" -lt 120 ]
	[ "$(wc -l <"$top/HACKING")" -le 80 ]
}

@test "nothing in the tree names a place on somebody's machine" {
	no '/(work|farm|home|root)/[a-z]' -rI --exclude-dir=.git --exclude=.git \
		--exclude-dir=obj --exclude=nsfwd "$top"
}
