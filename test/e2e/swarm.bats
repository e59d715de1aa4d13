#!/usr/bin/env bats
# swarm.bats - a small scripts/swarm: it works, and checks itself that no task was restarted.
load lib.bash

@test "--help describes the measurement" {
    expect_exit 0 "$ROOT/scripts/swarm" --help
    expect_text 'scripts/swarm \[--quick\] N \[TASKS\]'
    expect_exit 2 "$ROOT/scripts/swarm" none
}

@test "300 machines with 1,500 tasks survive the death of a leader, a rack and a switch" {
    BORG_BUILD="$BUILD" TMPDIR="$BATS_FILE_TMPDIR" expect_exit 0 \
        "$ROOT/scripts/swarm" --quick 300 1500
    expect_text 'the same until all its machines are driven \| [0-4]\.'
    expect_text 'until the shares are even'
    expect_text 'until all are declared down \| ([0-9]|10)\.'
    expect_text 'nobody declared down'
    expect_text '0 of them without cause'
    figure "$(grep 'all its machines' <<<"$output")"
}
