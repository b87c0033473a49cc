#!/bin/bash
# A bare system: three commands of README, and after a reboot the page is served.
# disk: bare.img
# shellcheck disable=SC2016 # eval gets text
# shellcheck disable=SC1091
. ./lib.bash
page() {
	timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" || exit
		printf "GET / HTTP/1.0\r\n\r\n" >&3
		tail -n 1 <&3' "$1"
}

if [ ! -e rebooted ]; then
	# A namespace that a unit makes at boot, later than nsfwd starts.
	cat >/etc/systemd/system/vpn.service <<-'E'
		[Unit]
		After=nsfwd.service
		[Service]
		ExecStartPre=/bin/sh -c 'sleep 3; ip netns add vpn; ip -n vpn link set lo up'
		ExecStart=ip netns exec vpn busybox httpd -f -h /srv/vpn -p 127.0.0.1:9091
		TimeoutStartSec=infinity
		[Install]
		WantedBy=multi-user.target
	E
	mkdir -p /srv/vpn
	echo vpn >/srv/vpn/index.html
	systemctl -q enable vpn
	apt-get install -y ./nsfwd_*.deb >apt.log 2>&1
	echo 9091=vpn@9091 >>/etc/nsfwd.conf
	systemctl -q enable nsfwd
	touch rebooted
	sync
	systemctl reboot
	sleep infinity
fi
t 'apt-get installed nothing else' grep -q '^0 upgraded, 1 newly installed' apt.log
t 'the service was started at boot' within 60 eval 'is "$(show ActiveState)" active'
t 'a page of a namespace that came later' within 120 says 9091 vpn
t 'nothing of it failed' eval 'is "$(show NRestarts)" 0 && is "$(systemctl --failed --no-legend)" ""'
finish
