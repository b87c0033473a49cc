# What the scripts share that run in the virtual machine.
# shellcheck shell=bash
# shellcheck disable=SC2016 # eval gets text
# shellcheck disable=SC1091
[ ! -e settings ] || . ./settings
: "${SLOW:=1}" # how many times slower the machine is than others
export SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat LC_ALL=C.UTF-8
n=0 failed=0
since=$(date +%s)

t() { # NAME COMMAND...: one test
	local name=$1 output began=$SECONDS
	shift
	n=$((n + 1))
	if output=$("$@" 2>&1); then
		echo "ok $n $name"
	else
		echo "not ok $n $name"
		printf '%s\n' "$output" | sed 's/^/# /'
		failed=1
	fi
	echo "# $((SECONDS - began)) s"
}

finish() {
	echo "1..$n"
	exit "$failed"
}

is() { [ "$1" = "$2" ] || { echo "is '$1', not '$2'"; return 1; }; }
show() { systemctl show --value -p "$1" "${2:-nsfwd}"; }
# True if the service runs the file that is there now.
runs_new() { readlink "/proc/$(show MainPID "$@")/exe" | grep -qx /usr/bin/nsfwd; }
listens() { ss -Hln "sport = :$1" | grep -q .; }

within() { # SECONDS COMMAND...
	local end=$((SECONDS + SLOW * $1))
	shift
	until "$@" >/tmp/why 2>&1; do
		[ "$SECONDS" -lt "$end" ] || { cat /tmp/why; echo "not within: $*"; return 1; }
		sleep 0.2
	done
}

page() { curl -sS -m "${2:-60}" "http://127.0.0.1:$1/"; }
says() { is "$(page "$1")" "$2"; }

# conf LINE...: the maps of /etc/nsfwd.conf.
conf() { printf '%s\n' "$@" >/etc/nsfwd.conf; since=$(date +%s); }

# logged PRIORITY TEXT [UNIT]: the journal has that line since conf().
logged() {
	within 10 has_line "$@" || {
		journalctl -q -u "${3:-nsfwd}" --since "@$since" -o cat
		return 1
	}
}
has_line() {
	journalctl -q -u "${3:-nsfwd}" -p "$1" -o cat --since "@$since" | grep -q -- "$2"
}

# site NAME PORT: a namespace with a web server whose page is NAME.
site() {
	ip netns add "$1" && ip -n "$1" link set lo up && mkdir -p "/srv/$1" &&
		echo "$1" >"/srv/$1/index.html"
	systemd-run -q -u "site-$1" -p NetworkNamespacePath="/run/netns/$1" \
		python3 -m http.server -d "/srv/$1" --bind 127.0.0.1 "$2"
	within 60 eval "ip netns exec $1 ss -Hltn 'sport = :$2' | grep -q ."
}

# hold PORT SECONDS: a connection; prints how it ended, or "open" after SECONDS.
# It is there when the file "held" in the same folder is.
hold() {
	python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(float(sys.argv[2]))
open("/tmp/held." + sys.argv[1], "w")
try: print("eof" if s.recv(1) == b"" else "data")
except TimeoutError: print("open")
except OSError: print("reset")' "$@"
}
held() { within 30 test -e "/tmp/held.$1"; rm -f "/tmp/held.$1"; }
