# What the scripts share that run in the virtual machine.
# shellcheck shell=bash
# shellcheck disable=SC2016 # eval gets text
# shellcheck disable=SC1091
[ ! -e settings ] || . ./settings
: "${SLOW:=1}" # how many times slower the machine is than others
export SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat LC_ALL=C.UTF-8
n=0 failed=0
since=$(date +%s)

t() { # NAME COMMAND...: one test, if its name matches ONLY=
	local name=$1 output began=$SECONDS
	shift
	[[ $name =~ ${ONLY-} ]] || return 0
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

joe() {
	local home=~joe
	setpriv --reuid=1000 --regid=1000 --init-groups env -C "$home" HOME="$home" \
		USER=joe XDG_RUNTIME_DIR=/run/user/1000 \
		DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"
}

# maps MAP...: the service serves these.
maps() {
	printf '%s\n' "$@" >/etc/nsfwd.conf
	systemctl restart nsfwd
}

# Makes /srv/bb.tar, an image of busybox, whose program "serve" has a page with $NAME
# or the name of the host; and a page of this machine at its port 2280.
image() {
	local program
	mkdir -p /srv/rootfs/{bin,www,etc,tmp,proc,sys,dev,run,usr} /srv/host
	cp /bin/busybox /srv/rootfs/bin/
	for program in sh httpd hostname sleep cat nc false; do
		ln -sf busybox "/srv/rootfs/bin/$program"
	done
	cat >/srv/rootfs/bin/serve <<-'END'
		#!/bin/sh
		echo ${NAME-$(hostname)} >/www/index.html
		exec httpd -f -p 127.0.0.1:${PORT-8080} -h /www
	END
	cat >/srv/rootfs/bin/get <<-'END'
		#!/bin/sh
		printf 'GET / HTTP/1.0\r\n\r\n' | nc 127.0.0.1 $1
	END
	chmod +x /srv/rootfs/bin/{serve,get}
	echo ID=busybox >/srv/rootfs/etc/os-release
	tar -C /srv/rootfs -cf /srv/bb.tar .
	echo host >/srv/host/index.html
	systemd-run -q -u host busybox httpd -f -p 127.0.0.1:2280 -h /srv/host
}

# gets TOOL CONTAINER PORT PAGE: the container gets this page at a port of its own.
gets() { within 10 eval "$1 exec $2 get $3 | grep -qx $4"; }
