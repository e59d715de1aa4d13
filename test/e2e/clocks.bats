#!/usr/bin/env bats
# clocks.bats - one master's clock is 400 days ahead: status reports it, cell time is not affected.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
}

# Start the missing processes with that clock.
up_with_clock() # OFFSET
{
    LD_PRELOAD="$(ls /usr/lib/*/faketime/libfaketime.so.1)" FAKETIME="$1" \
        FAKETIME_DONT_FAKE_MONOTONIC=1 cell_up
}

stop_replica() # ID
{
    local pid
    pid="$(pid_of_replica "$1")"
    kill -TERM "$pid"
    wait_until 10 is_gone "$pid"
}

# Return whether the time of the newest event is close to the present.
time_is_right()
{
    local ms
    ms="$(ask "SELECT max(time_ms) FROM events")"
    ((ms > $(now_ms) - 60000 && ms < $(now_ms) + 20000))
}

wrong_is_not_leading() # ID
{
    local leader
    leader="$(leader_id)" && [[ "$leader" != "$1" ]]
}

@test "status reports a master that is 400 days ahead, with exit code 6" {
    [[ -e "$(ls /usr/lib/*/faketime/libfaketime.so.1)" ]] || skip "faketime is not installed"
    local wrong
    wrong="$(live_replica_ids | grep -vx "$(leader_id)" | head -n 1)"
    echo "$wrong" >"$SPECS/wrong"
    stop_replica "$wrong"
    up_with_clock +400d
    wait_until 20 replicas_agree 3
    expect_exit 6 borgctl cell status
    expect_text "the clock of replica $wrong is (399|400) days ahead of the other masters' clocks"
}

@test "as leader it does not use its clock for time stamps, and hands leadership over" {
    [[ -e "$SPECS/wrong" ]] || skip "faketime is not installed"
    local wrong
    wrong="$(cat "$SPECS/wrong")"
    borgctl cell transfer-leader "$wrong" || true
    submit under-it 200 1 10m 'exit 0'
    wait_until 20 wrong_is_not_leading "$wrong"
    submit after-it 200 1 10m 'exit 0'
    time_is_right
    wait_until 20 job_is after-it finished
    grep -q 'clock.rejected ahead_ms=345' "$BORG_CELL/log/master$wrong.log"
}

@test "with the right clock status reports no problem" {
    [[ -e "$SPECS/wrong" ]] || skip "faketime is not installed"
    stop_replica "$(cat "$SPECS/wrong")"
    cell_up
    wait_until 20 replicas_agree 3
    time_is_right
    wait_until 20 borgctl cell status
}

# Make a directory of programs where borgmaster's clock is 400 days ahead if it is replica 1.
wrong_programs() # DIRECTORY
{
    mkdir -p "$1"
    cp "$BUILD"/borgctl "$BUILD"/borglet "$BUILD"/borg-shim "$1"
    cat >"$1/borgmaster" <<END
#!/bin/bash
[[ "\$*" != *"--id 1"* ]] || export FAKETIME=+400d FAKETIME_DONT_FAKE_MONOTONIC=1 \
    LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1)
exec "$BUILD/borgmaster" "\$@"
END
    chmod +x "$1/borgmaster"
}

@test "a cell that starts with such a master has the right time, whoever leads first" {
    [[ -e "$SPECS/wrong" ]] || skip "faketime is not installed"
    local first="$BORG_CELL" programs="$SPECS/bin" round
    wrong_programs "$programs"
    for round in 1 2; do
        BORG_E2E_DIR="$BATS_FILE_TMPDIR/$round" BUILD="$programs" cell_up --replicas 3 --borglets 1
        submit first 200 1 10m 'exit 0'
        wait_until 20 job_is first finished
        time_is_right
        cell_away
    done
    export BORG_CELL="$first"
}
