#!/usr/bin/env bats
# chaos.bats - the short form of `make chaos`: twenty faults, and what everybody saw is explained.
load lib.bash

@test "twenty faults: nothing acknowledged is lost, nothing happens twice, all comes to rest" {
    # In /tmp: a run that fails keeps its logs there, the story's own directory goes away.
    TMPDIR=/tmp run timeout -k 5 180 "$BUILD/test/chaos/chaos" --seconds 52 \
        --seed "${CHAOS_SEED:-1}" 3>&- 4>&- 5>&- 6>&-
    echo "$output"
    [[ $status -eq 0 ]]
    expect_text 'faults in all: 2[01];' # where it may, a replica is replaced too
    expect_text 'passed: 0 violations'
    figure "$(grep 'worst unavailability' <<<"$output")"
}
