#!/usr/bin/env bats
# The laws of the architecture, checked in the sources without comments and strings,
# or in object files made by gcc. HACKING lists the rooms and the processes.

# bats file_tags=once

bats_require_minimum_version 1.5.0
load helpers

setup() {
	:
}

read -ra ROOMS < <(sed -n 's/^ROOMS = //p' "$BATS_TEST_DIRNAME/../Makefile")

setup_file() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export top code=$BATS_FILE_TMPDIR/code obj=$BATS_FILE_TMPDIR/obj
	local file
	cd "$top" || return
	mkdir -p "${ROOMS[@]/#/$code/}" "${ROOMS[@]/#/$obj/}"
	for file in $(sources) $(headers); do
		gcc -fpreprocessed -dD -E -P "$file" 2>/dev/null |
			sed -E 's/"(\\.|[^"\\])*"/""/g' >"$code/$file"
	done
	for file in $(sources); do
		echo gcc -std=c11 -D_GNU_SOURCE -I. -O0 -fno-pie -fno-common \
			-fno-stack-protector -c -o "$obj/${file%.c}.o" "$file"
	done | xargs -P 2 -I{} sh -c {}
	# Lines of file, name and type.
	for file in $(sources); do
		echo "${file%.c}.o"
	done | (cd "$obj" && xargs nm -A --format=posix) |
		sed -E 's/\.o: ([^ ]+) (.).*/.c \1 \2/' >"$obj/symbols"
}

# Print the .c files, and the headers, of the program, as FILE or ROOM/FILE.
sources() {
	files_named '*.c'
}

headers() {
	files_named '*.h'
}

files_named() {
	(
		cd "$top" || return
		find . -maxdepth 1 -name "$1"
		find "${ROOMS[@]}" -maxdepth 1 -name "$1"
	) | sed 's,^\./,,' | sort
}

# no PATTERN FILE...: true if no line of the files matches PATTERN.
no() {
	local status=0
	grep -nEH -e "$@" || status=$?
	[ "$status" = 1 ]
}

# only NAMES FILE...: true if no source but the FILEs calls a function of NAMES, a
# regular expression, or makes the system call. base/seccomp.c may have the numbers
# of all system calls, for its filters.
only() {
	local names=$1 file others=() filters=base/seccomp.c
	shift
	cd "$code" || return
	[[ " $* " == *" $filters "* ]] ||
		no "\<($names) *\(|syscall\((SYS|__NR)_($names)\>" "$filters" || return
	for file in $(sources) $(headers); do
		case " $* $filters " in
		*" $file "*) ;;
		*) others+=("$file") ;;
		esac
	done
	no "\<($names) *\(|\<(SYS|__NR)_($names)\>" "${others[@]}"
}

# Prints what the object of a file takes from other objects and from libc.
undefined() {
	nm -u --format=posix "$obj/$1.o" | cut -d' ' -f1
}

@test "setns, clone and unshare only in netns.c; tcp/fork.c forks by clone" {
	only 'setns|clone3|unshare' netns.c
	only 'clone' netns.c tcp/fork.c
	no '\<clone *\(|CLONE_' "$code/tcp/fork.c"
}

# In a connection, which tcp/fork.c starts, musl would signal its parent.
@test "nothing that needs the thread ID" {
	only 'abort|assert|raise|tkill|tgkill|pthread_[a-z_]+|call_once|thrd_[a-z]+' \
		server/reap.c
}

# In this order: mapper, opener, worker, connection, daemon, the process that
# answers a reader of --stats, the connection of "-", a target of --test, the new
# program, a tracker of containers; the program that answers a stranger.
@test "fork only where a kind of process starts" {
	only '_?[vr]?fork|posix_spawnp?|system|popen|exec[vl][pe]*|execveat|fexecve' \
		server/mapper_proc.c server/opener.c tcp/pool.c tcp/fork.c \
		server/daemon.c server/answer.c tcp/stdio.c tcp/trial.c \
		server/upgrade.c container/tracker.c server/stranger.c
}

# netns.c reaps its helper in the call that cloned it. The parent of a daemon has
# one child, as has an upgrade.
@test "wait only in the files of processes with children" {
	only 'wait|wait[34]|waitpid|waitid' server/reap.c tcp/pool.c tcp/fork.c \
		tcp/kept.c tcp/stdio.c tcp/trial.c netns.c server/daemon.c server/upgrade.c
}

@test "credentials and prctl only in base/sandbox.c, filters in base/seccomp.c" {
	only 'set(e|re|res|fs)?[ug]id|setgroups|initgroups|capset|prctl' \
		base/sandbox.c
	only 'seccomp' base/seccomp.c
}

@test "no name is looked up by the C library" {
	only 'getaddrinfo|getaddrinfo_a|getnameinfo|gethostby[a-z0-9_]*|res_[a-z]*'
}

@test "no signal handlers: nsfwd.c sets dispositions, server/server.c reads them" {
	local calls='(signal|sigaction|sigset|sigvec|bsd_signal|sysv_signal)'
	only "$calls" nsfwd.c server/setup.c
	sed -E 's/\<signal\([A-Z]+, SIG_(IGN|DFL)\)//; s/\<sigaction\([^,]*, NULL,//' \
		"$code/nsfwd.c" "$code/server/setup.c" >"$BATS_TEST_TMPDIR/rest"
	no "\<$calls *\(" "$BATS_TEST_TMPDIR/rest"
}

# A process has one server, tracker, mapper, connection or log, and its secrets. relay.c has the
# buffers for copying, dial/dial.c the addresses of one host name, and tcp/conn.c
# the request and header of its client.
@test "file-scope variables only where a process has one of the thing" {
	local free='server/server.c server/mapper_proc.c server/daemon.c server/systemd.c
		server/upgrade.c base/proctitle.c tcp/pool.c tcp/tcp.c tcp/fork.c tcp/kept.c
		container/container.c container/tracker.c
		tcp/worker.c udp/udp.c dial/resolve.c base/log.c config/order.c base/errname.c
		base/secret.c'
	local spare='relay.c:relay_buffer relay.c:spills dial/dial.c:resolved
		tcp/conn.c:session tcp/conn.c:tlvs'
	[ "$(wc -l <"$obj/symbols")" -gt 1000 ]
	awk -v spare=" $(xargs <<<"$free $spare") " '
		$3 ~ /^[bBdDCsSgG]$/ && !index(spare, " " $1 " ") &&
			!index(spare, " " $1 ":" $2 " ") {
			print
			found = 1
		}
		END { exit found }' "$obj/symbols"
}

# A child process has a copy of what was freed: base/secret.h has what clears it.
@test "config/ clears the text that it frees" {
	no '\<(free|getdelim|getline|open_memstream) *\(' "$code"/config/*.c
}

# may_include ROOM: prints what its files may include besides their own room: rooms
# or single headers.
may_include() {
	case $1 in
	nsfwd.c) echo server view config tcp/stdio.h tcp/trial.h netns.h base ;;
	server) echo tcp udp mapper dial/attempt.h dial/resolve.h dial/why.h config netns.h container base relay.h ;;
	view) echo base ;;
	tcp) echo relay.h udp/associate.h dial proxy dns mapper config netns.h base ;;
	udp) echo dial proxy dns mapper config netns.h base ;;
	dial) echo mapper/target_state.h proxy dns config netns.h base ;;
	proxy) echo config base ;;
	mapper) echo config netns.h base ;;
	config) echo dns/conf.h dns/result.h netns.h base ;;
	dns) echo base ;;
	netns.[ch]) echo netns.h container base ;;
	container) echo base ;;
	relay.[ch]) echo relay.h base ;;
	base) ;;
	*)
		echo "$1 has no row in the table of this test" >&2
		return 1
		;;
	esac
}

# forbidden_includes FILE...: prints the includes that the table does not allow.
forbidden_includes() {
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

@test "files include only headers of rooms below theirs" {
	# shellcheck disable=SC2046 # one word each
	run -0 forbidden_includes $(sources) $(headers)
	echo "$output"
	[ -z "$output" ]
}

@test "the test of includes finds a forbidden one" {
	cp -r "$top"/*.[ch] "$top/base" "$BATS_TEST_TMPDIR"
	echo '#include "config/map.h"' >>"$BATS_TEST_TMPDIR/base/log.c"
	top=$BATS_TEST_TMPDIR
	run -0 forbidden_includes base/log.c base/log.h relay.c
	[ "$output" = 'base/log.c includes config/map.h' ]
}

@test "no header includes itself through others" {
	local file
	for file in $(headers); do
		sed -n "s,^#include \"\(.*\)\",$file \1,p" "$top/$file"
	done | tsort >/dev/null
}

# The code that moves bytes must not wait for memory or for a file of the locale.
# Only flow_init() allocates, before there is a flow; the tables of connections are
# mapped.
@test "the code that moves bytes allocates nothing and uses no locale" {
	local file names=(relay base/io tcp/{tcp,accept,fork,kept,timers,conn,worker}
		udp/{udp,account,route,flow,target,datagram,error})
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

# Static functions and variables of all rooms share one name space, so that a name in
# a debugger or a search means one thing.
@test "a static name stands for one thing in the whole tree" {
	awk '$3 ~ /^[tbdr]$/ && $2 !~ /\./ { print $2, $1 }' "$obj/symbols" | sort | awk '
		{ files[$1] = files[$1] " " $2; count[$1]++ }
		END {
			for (name in count)
				if (count[name] > 1) {
					print name ":" files[name]
					found = 1
				}
			exit found
		}'
}

# From the line of its name to its last line; the type stands above the name.
@test "no function over 50 lines, half of them at most 14" {
	cd "$top" || return
	# shellcheck disable=SC2046 # one word each
	awk '
		FNR == 1 { first = 0 }
		/^[a-z_][A-Za-z0-9_]*\(/ { name = $0; first = FNR }
		/^}/ {
			lines = FNR - first + 1
			if (first) {
				count[lines]++
				all++
			}
			if (first && lines > 50) {
				print FILENAME ": " lines " lines: " name
				found = 1
			}
			first = 0
		}
		END {
			for (median = below = 0; 2 * below < all; below += count[median])
				median++
			print all " functions, median " median " lines"
			exit found || median > 14
		}' $(sources)
}

@test "no file over 500 lines, no header over 200" {
	local status=0
	cd "$top" || return
	# shellcheck disable=SC2046 # one word each
	wc -l $(sources) | awk '$2 != "total" && $1 > 500 { print; found = 1 }
		END { exit found }' || status=1
	# shellcheck disable=SC2046
	wc -l $(headers) | awk '$2 != "total" && $1 > 200 { print; found = 1 }
		END { exit found }' || status=1
	return "$status"
}

# Words that the dictionary of HACKING replaced, as parts of identifiers. Words with
# an ordinary meaning are not listed.
@test "no identifier has a word that the dictionary replaced" {
	local words='bear|born|births?|bury|buried|heirs?|bequeath|descent|crew|leash|hired?'
	words+='|obey|mend|mended|tally|tallies|retired?|recall|heard|told|halves|spares?'
	words+='|usual|admits|may_come|rested|other_side'
	cd "$code" || return
	# shellcheck disable=SC2046 # one word each
	no "\<([A-Za-z0-9]+_)*($words)(_[A-Za-z0-9]+)*\>" $(sources) $(headers)
}

# A string may be longer, because it is not cut.
@test "no line over 80 columns in a .c file or a header" {
	cd "$top" || return
	# shellcheck disable=SC2046 # one word each
	run -0 awk '{
			gsub(/\t/, "        ")
			if (length() > 80 && !/"/)
				print FILENAME ":" FNR ": " length() " columns"
		}' $(sources) $(headers)
	echo "$output"
	[ -z "$output" ]
}

@test "README is under 120 lines, HACKING under 80" {
	[ "$(wc -l <"$top/README")" -lt 120 ]
	[ "$(wc -l <"$top/HACKING")" -le 80 ]
}

@test "nothing in the tree names a place on somebody's machine" {
	no '(^|[^A-Za-z0-9_}])/(work|farm|home|root)/[a-z]' -rI --exclude-dir=.git --exclude=.git \
		--exclude-dir=obj --exclude=nsfwd "$top"
}
