#!/usr/bin/env bats
# expired.bats - a command that may be older than all remembered answers is refused, and the replica
# continues.
load lib.bash

setup_file()
{
    cell_up --replicas 1 --borglets 1 --user ada
}

teardown_file()
{
    cell_away
}

remembers_all()
{
    (($(ask "SELECT coalesce(max(seq), 0) FROM requests") > 65536))
}

@test "a command of unknown age is refused, and the next command is answered" {
    local pid i
    pid="$(pid_of_replica 1)"
    for ((i = 0; i < 30; i++)); do
        "$TOOLS/flood" "$BORG_CELL" ada command 4 1000 2
        ! remembers_all || break
    done
    remembers_all
    run "$TOOLS/flood" "$BORG_CELL" ada late 1 10 1
    echo "$output"
    [[ "$output" =~ expired\ [1-9] ]]
    [[ "$output" =~ closed\ 0 ]]
    expect_exit 1 borgctl kill nobody
    expect_text "no job"
    same "replica 1" "$pid" "$(pid_of_replica 1)"
    still_runs=$(ps -o pid= -p "$pid")
    [ -n "$still_runs" ]
}
