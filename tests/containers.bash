# Of service.bats and long.bats: load it behind helpers.

SERVICE=$BATS_TEST_DIRNAME/service.py

service() {
	in_ns "$1" python3 "$SERVICE" "${@:2}" 3>&- 4>&-
}

# who NS NAME PORT: a server there that answers every line with NAME.
who() {
	spawn_ready "$1" "$2" python3 "$BATS_TEST_DIRNAME/faults.py" who "$2" "127.0.0.1/$3"
}

ends() {
	kill -KILL "${SPAWNED[$1]}"
	wait "${SPAWNED[$1]}" 2>/dev/null || true
	unset "SPAWNED[$1]"
}

# Restarts of a container, by name and by the number of its process, which here
# goes on with another namespace.
containers() {
	local i round=$1 pid before after
	ns box
	spawn_ready self process unshare -n python3 "$SERVICE" process
	pid=$(pid_of process)
	who box 1-box 8080
	start_nsfwd --drain 0 127.0.0.1:8000=box@127.0.0.1:8080 \
		"127.0.0.1:8001=pid:$pid@127.0.0.1:8080"
	service self follow 2 1-box 127.0.0.1/8000
	service self follow 2 1 127.0.0.1/8001
	before=$(tree | wc -l)
	for ((i = 2; i <= round; i++)); do
		ip netns del box
		ends "$((i - 1))-box"
		kill -USR1 "$pid"
		ip netns add box
		in_ns box ip link set lo up
		who box "$i-box" 8080
		service self follow 2 "$i-box" 127.0.0.1/8000
		service self follow 2 "$i" 127.0.0.1/8001
	done
	wait_until 2 no_connections
	[ "$(tree | wc -l)" = "$before" ]
	for pid in "${!FDS[@]}"; do
		[ "$pid" = "$NSFWD_PID" ] || unset "FDS[$pid]"
	done
}
