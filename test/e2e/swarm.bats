#!/usr/bin/env bats
# swarm.bats - scripts/swarm in small: it works, and asserts by itself that nothing was restarted.
load lib.bash

@test "its help says what it does" {
    expect_exit 0 "$ROOT/scripts/swarm" --help
    expect_text 'scripts/swarm \[--quick\] N \[TASKS\]'
    expect_exit 2 "$ROOT/scripts/swarm" none
}

@test "300 machines, 1,500 tasks, a leader, a rack and a switch that die" {
    BORG_BUILD="$BUILD" TMPDIR="$BATS_FILE_TMPDIR" expect_exit 0 \
        "$ROOT/scripts/swarm" --quick 300 1500
    expect_text 'the same until all its machines are driven \| [0-4]\.'
    expect_text 'until the shares are even'
    expect_text 'until all are declared down \| ([0-9]|10)\.'
    expect_text 'nobody declared down'
    expect_text 'of them 0 without cause'
    figure "$(grep 'all its machines' <<<"$output")"
}
