#!/usr/bin/env bats
# Random schedules of both peers, compared with a model of what each must see
# (model.py). MODEL_RUNS=N runs N of them, MODEL_SEED=N begins with that seed.

load helpers

PAIRS=()
for n in {0..3}; do
	PAIRS+=("ns1@127.0.0.1:800$n=ns2@127.0.0.1:808$n")
done

# schedules [ARG...]: runs model.py through the maps of PAIRS.
schedules() {
	[ -z "${MODEL_SEED-}" ] || set -- --seed "$MODEL_SEED" "$@"
	python3 "$BATS_TEST_DIRNAME/model.py" --runs "${MODEL_RUNS:-200}" "$@" \
		"${PAIRS[@]}" 3>&-
}

# bats test_tags=workers,both
@test "random schedules: every byte, both ends, every reset" {
	start_nsfwd -q "ns1@8000-8003=ns2@8080-8083"
	schedules >&2
}

# bats test_tags=workers,both
@test "random schedules: the same with a UNIX socket at either end" {
	local dir=$BATS_TEST_TMPDIR
	for_nobody
	start_nsfwd -q "$dir/in=ns2@8080" "ns1@8000=$dir/out"
	PAIRS=("$dir/in=ns2@127.0.0.1:8080" "ns1@127.0.0.1:8000=$dir/out")
	schedules >&2
}

# bats test_tags=once
@test "the model itself: a connection without a forwarder" {
	local path=$BATS_TEST_TMPDIR/unix
	PAIRS=(ns1@127.0.0.1:8000=ns1@127.0.0.1:8000 "$path=$path")
	MODEL_RUNS=60 schedules >&2
}

# socat 1.7 and 1.8 turn a reset into a clean end and lose urgent bytes.
# bats test_tags=once
@test "the model itself: it finds the faults of socat" {
	listening() {
		[ -n "$(in_ns ns1 ss -Hltn 'sport = :8000')" ]
	}
	PAIRS=(ns1@127.0.0.1:8000=ns1@127.0.0.1:8080)
	spawn ns1 socat socat TCP4-LISTEN:8000,fork,reuseaddr TCP4:127.0.0.1:8080
	wait_until 5 listening
	MODEL_RUNS=30 MODEL_SEED=1 run schedules
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *'a clean end that was none, of a reset'* ]]
	[[ $output == *'wrong bytes'* ]]
}
