# Of service.bats and waits.bats: load it behind helpers.

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

# said NAME WHAT [N]: that process has printed the line N times.
said() {
	[ "$(grep -cx -- "$2" "$BATS_TEST_TMPDIR/$1.out")" = "${3:-1}" ]
}
