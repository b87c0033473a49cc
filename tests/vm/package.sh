#!/bin/bash
# The package under systemd.
# shellcheck disable=SC2016 # eval gets text
# shellcheck disable=SC1091
. ./lib.bash
home=~joe
sysctl -q kernel.sysrq=1

t 'tests/deps.sh has nothing to do here' sh nsfwd/tests/deps.sh

# The package.
install_it() { apt-get install -y ./nsfwd_*.deb ./nsfwd-static_*.deb; }
t 'apt-get installs both packages' install_it
off() { is "$(show ActiveState)" inactive && is "$(systemctl is-enabled nsfwd)" disabled; }
t 'the service is off' off
t 'the user is there' getent passwd nsfwd
t 'the static program' eval 'is "$(nsfwd-static --version)" "$(nsfwd --version)"'
refused() {
	! systemctl start nsfwd && is "$(show ExecMainStatus)" 2 &&
		is "$(show ActiveState)" failed
}
conf
t 'the example has no map: refused, and not tried again' refused
t 'why it did not start is an error in the journal' logged err 'no map in'

# Start, reload, stop.
site vpn 9091
conf 9091=vpn@9091
start() { systemctl start nsfwd && listens 9091 && says 9091 vpn && is "$(show StatusText)" '1 map'; }
t 'start returns when it serves, the status says so' start
reload() {
	for ((p = 7000; p < 7005; p++)); do
		conf 9091=vpn@9091 "$p=vpn@9091"
		systemctl reload nsfwd && listens $p || return
	done
}
t 'reload returns when it has reloaded' reload
bad() {
	conf 9091=vpn@9091 9092=nonsense
	! systemctl reload nsfwd && logged err '9092=nonsense' && says 9091 vpn &&
		is "$(show ActiveState)" active
}
t 'reload of a broken file fails, is an error in the journal, changes nothing' bad
late() {
	conf 9091=vpn@9091 9093=late@9091
	systemctl reload nsfwd && show StatusText | grep -q '^1 of 2 maps' &&
		site late 9091 && within 20 says 9093 late
}
t 'a namespace made after the start' late
gone() {
	systemctl stop site-late
	ip link add ve0 type veth peer name ve1
	ip link set ve1 netns late && ip netns del late && within 20 eval '! ip link show ve0'
}
t 'a deleted namespace is freed' gone

# Killed processes.
conf 9091=vpn@9091
systemctl restart nsfwd
killed() { kill -9 "$(show MainPID)"; within 20 listens 9091 && says 9091 vpn; }
t 'a killed server is back' killed
hold 9091 900 >/tmp/one &
held 9091
mapper() {
	kill -9 "$(pgrep -f 'nsfwd: map 9091')"
	within 20 says 9091 vpn && [ ! -s /tmp/one ]
}
t 'a killed mapper is replaced, its connections stay' mapper
kill %%
wait
first() { pgrep -f 'nsfwd: 127.*9091' | head -n 1; }
hold 9091 900 >/tmp/one &
held 9091
pid=$(first)
hold 9091 900 >/tmp/two &
held 9091
oom() {
	echo 1000 >"/proc/$pid/oom_score_adj"
	echo f >/proc/sysrq-trigger
	within 20 grep -q reset /tmp/one || return
	# systemd hears of it, and would stop the service.
	sleep 10
	[ ! -s /tmp/two ] && is "$(show ActiveState)" active && says 9091 vpn
}
t 'a connection killed for memory: nobody else' oom
# shellcheck disable=SC2046 # numbers
kill $(jobs -p)
wait

# Upgrade.
newer() {
	dpkg-deb -R nsfwd_*.deb newer && sed -i 's/^Version.*/Version: 9.0/' newer/DEBIAN/control &&
		dpkg-deb -Znone -b newer newer.deb
}
t 'another version of the package' newer
conf 9091=vpn@9091
systemctl restart nsfwd
mkdir -p /etc/nsfwd
echo 9191=vpn@9091 >/etc/nsfwd/shop.conf
systemctl start nsfwd@shop
upgrade() {
	local pid status=0 held pages
	rm -f /tmp/enough
	pid=$(show MainPID)
	hold 9091 900 >/tmp/one 2>&1 &
	held=$!
	held 9091
	(until [ -e /tmp/enough ]; do
		page 9091 || echo failed
		page 9191 || echo failed
	done) >/tmp/pages 2>&1 &
	pages=$!
	dpkg -i newer.deb && within 60 runs_new && within 60 runs_new nsfwd@shop || status=1
	touch /tmp/enough
	wait "$pages"
	echo "$(wc -l </tmp/pages) pages"
	is "$(sort -u /tmp/pages)" vpn && is "$(show MainPID)" "$pid" &&
		is "$(show ActiveState)" active && [ ! -s /tmp/one ] || status=1
	kill "$held"
	return "$status"
}
t 'an upgrade refuses no client, and what is open goes on' upgrade
t 'the template has its folder' test -d /run/nsfwd-shop
systemctl stop nsfwd@shop

# Stop.
systemctl restart nsfwd
hold 9091 300 >/tmp/one &
held 9091
drain() {
	local began=$SECONDS
	systemctl stop nsfwd && is "$(cat /tmp/one)" reset &&
		[ $((SECONDS - began)) -ge 28 ] && is "$(show Result)" success
}
t 'stop: a connection has 30 s, then a reset' drain

# Socket activation.
cat >/etc/systemd/system/nsfwd.socket <<'E'
[Socket]
ListenStream=8081
FileDescriptorName=web
E
conf systemd:web=vpn@9091
systemctl daemon-reload
t 'socket activation' eval 'systemctl start nsfwd.socket && says 8081 vpn'
refuses_none() {
	(for ((i = 0; i < 20; i++)); do page 8081 || echo failed; done) >/tmp/pages &
	systemctl restart nsfwd
	wait $!
	is "$(sort -u /tmp/pages)" vpn
}
t 'socket activation: a restart refuses nobody' refuses_none
systemctl stop nsfwd nsfwd.socket
rm /etc/systemd/system/nsfwd.socket
systemctl daemon-reload

# Other ways to run it.
dynamic() {
	systemd-run -q -u dyn -p DynamicUser=yes -p Type=notify \
		-p AmbientCapabilities='CAP_SYS_ADMIN CAP_NET_BIND_SERVICE' \
		nsfwd 83=vpn@9091 && says 83 vpn && cp --remove-destination \
		/usr/bin/nsfwd /usr/bin/nsfwd.new && mv /usr/bin/nsfwd.new /usr/bin/nsfwd &&
		systemctl kill -s HUP --kill-who=main dyn && within 20 runs_new dyn &&
		says 83 vpn && systemctl stop dyn
}
t 'DynamicUser, with two capabilities; a new program has them, too' dynamic
user_unit() {
	loginctl enable-linger joe && within 60 test -S /run/user/1000/bus || return
	joe unshare -rn sh -c 'ip link set lo up; exec python3 -m http.server -d /srv/vpn \
		--bind 127.0.0.1 9091' >/dev/null 2>&1 &
	within 30 pgrep -u joe -f '^python3 -m http.server'
	mkdir -p "$home/.config"
	echo "9500=pid:$(pgrep -u joe -f '^python3 -m http.server')@9091" >"$home/.config/nsfwd.conf"
	chown -R joe: "$home"
	joe systemctl --user start nsfwd && within 30 says 9500 vpn &&
		joe systemctl --user reload nsfwd && joe systemctl --user stop nsfwd
}
t 'a unit of a user, for a namespace of that user' user_unit
address() {
	conf 127.0.0.9:80=vpn@9091 9092=vpn@9091 10.9.9.9:80=vpn@9091
	systemctl start nsfwd && within 5 says 9092 vpn
}
t 'an address that is not there yet does not hold back other maps' address
ip addr add 10.9.9.9/32 dev lo
t 'an address that comes is listened on' within 20 eval 'curl -sS -m 5 http://10.9.9.9/ | grep -q vpn'

# WireGuard over a UDP map: host -> nsfwd -> the peer in the namespace.
wireguard() {
	conf udp:5555=vpn@51820
	systemctl reload nsfwd || return
	modprobe wireguard || return
	wg genkey >/tmp/a && wg genkey >/tmp/b || return
	ip link add wg0 type wireguard
	wg set wg0 private-key /tmp/a peer "$(wg pubkey </tmp/b)" \
		endpoint 127.0.0.1:5555 allowed-ips 10.7.0.2/32 || return
	ip addr add 10.7.0.1/24 dev wg0 && ip link set wg0 up
	ip -n vpn link add wg1 type wireguard
	ip netns exec vpn wg set wg1 listen-port 51820 private-key /tmp/b \
		peer "$(wg pubkey </tmp/a)" allowed-ips 10.7.0.1/32 || return
	ip -n vpn addr add 10.7.0.2/24 dev wg1 && ip -n vpn link set wg1 up
	ping -c 3 -W 20 10.7.0.2
}
t 'WireGuard over a UDP map' wireguard

# Removed.
removed() {
	conf 9091=vpn@9091
	systemctl restart nsfwd && apt-get remove -y nsfwd && ! listens 9091 &&
		is "$(show ActiveState)" inactive
}
t 'remove stops the service' removed
purged() {
	rm -rf /etc/nsfwd/shop.conf
	apt-get purge -y nsfwd nsfwd-static || return
	! getent passwd nsfwd && ! getent group nsfwd || return
	left=$(find / -xdev \( -path /job -o -path /proc -o -path /sys -o -path /tmp \
		-o -path /var/log/journal -o -path '/srv/*' -o -path "$home/*" \) \
		-prune -o -name '*nsfwd*' -print)
	is "$left" ''
}
t 'purge leaves nothing' purged
finish
