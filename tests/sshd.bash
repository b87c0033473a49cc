# sshd_start DIR: spawns an sshd in ns2 at 127.0.0.1:2222, with its files in DIR, and
# sets SSH to a command that logs in there as root.

sshd_start() {
	local DIR=$1
	needs ssh sshd ssh-keygen
	[ "$(awk '$1 == 0 { print $2 }' /proc/self/uid_map)" = 0 ] ||
		skip "sshd changes its user: that takes root"
	ssh-keygen -qt ed25519 -N '' -f "$DIR/key"
	mkdir -p /run/sshd
	cat >"$DIR/sshd_config" <<-END
		ListenAddress 127.0.0.1:2222
		HostKey $DIR/key
		AuthorizedKeysFile $DIR/key.pub
		PermitRootLogin prohibit-password
		PidFile none
		StrictModes no
		UsePAM no
	END
	spawn ns2 sshd "$(command -v sshd)" -De -f "$DIR/sshd_config"
	wait_until 5 listens ns2 2222
	SSH=(ssh -F none -i "$DIR/key" -o BatchMode=yes -o LogLevel=ERROR
		-o StrictHostKeyChecking=no -o "UserKnownHostsFile=$DIR/known")
}

# ssh_works DIR: true if `remote CMD`, which the caller defines, runs CMD in ns2 and
# passes on 16 MB there and back, the ends of both streams, and the status.
ssh_works() {
	local sum
	remote true </dev/null || {
		output_of sshd
		return 1
	}
	head -c 16000000 /dev/urandom >"$1/data"
	sum=$(sha256sum <"$1/data")
	[ "$(remote cat <"$1/data" | sha256sum)" = "$sum" ] || return
	[ "$(remote readlink /proc/self/ns/net </dev/null)" = \
		"$(in_ns ns2 readlink /proc/self/ns/net)" ] || return
	run remote exit 7 </dev/null
	[ "$status" = 7 ]
}
