#!/usr/bin/env bats
# chaos.bats - the short form of `make chaos`: twenty faults, with checks of what users observed.
load lib.bash

@test "after twenty faults no acknowledged write is lost or applied twice, and the cell converges" {
    # Use /tmp, because a failed run keeps its logs there; the story's own directory is removed.
    TMPDIR=/tmp run timeout -k 5 180 "$BUILD/test/chaos/chaos" --seconds 52 \
        --seed "${CHAOS_SEED:-1}" 3>&- 4>&- 5>&- 6>&-
    echo "$output"
    [[ $status -eq 0 ]]
    expect_text 'faults in all: 2[01];' # one more if a replica may be replaced
    expect_text 'passed: 0 violations'
    figure "$(grep 'worst unavailability' <<<"$output")"
}
