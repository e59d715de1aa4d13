#!/usr/bin/env bats
# leader.bats - transfer of leadership, by command and by a leader that is told to stop.
load lib.bash

WRITERS=2

setup_file()
{
    cell_up --replicas 5 --borglets 2
    wait_until 20 replicas_agree 5
}

teardown_file()
{
    cell_away
}

more_writes() # COUNT
{
    wait_until 30 writes_reach $(($(cat "$SPECS"/acks.* | wc -l) + $1))
}

# The leader notices only after an election timeout that a replica does not answer.
transfer_is_refused() # ID
{
    local out rc=0
    out="$(borgctl --timeout 5 cell transfer-leader "$1" 2>&1)" || rc=$?
    ((rc == 3)) || return 1
    grep -qE "replica $1 has not answered for [0-9]+ ms; check that it runs" <<<"$out"
}

leader_is()
{
    [[ "$(leader_id)" == "$1" ]]
}

@test "a transfer moves leadership to the named replica" {
    local from to
    submit steady 200 4 50m 'exec sleep 1000'
    wait_until 20 job_runs steady 4
    running_tasks >"$SPECS/before"
    from="$(leader_id)"
    to=$((from % 5 + 1))
    expect_exit 0 borgctl cell transfer-leader "$to"
    expect_text "^replica $to leads now$"
    leader_is "$to"
    expect_exit 0 borgctl cell transfer-leader "$to"
    expect_text "^replica $to leads already$"
    expect_exit 0 borgctl -o json cell transfer-leader
    fails leader_is "$to"
}

@test "a transfer to a replica that cannot lead is refused with the reason" {
    local down pid
    expect_exit 1 borgctl cell transfer-leader 9
    expect_text 'there is no replica 9'
    expect_exit 2 borgctl cell transfer-leader first
    expect_text '"first" is not the number of a replica'
    down=$(($(leader_id) % 5 + 1))
    pid="$(pid_of_replica "$down")"
    kill -STOP "$pid"
    wait_until 30 transfer_is_refused "$down"
    kill -CONT "$pid"
    wait_until 20 replicas_agree 5
}

@test "after twenty transfers under load nothing is lost, and no write waited a second" {
    local i s
    for ((s = 0; s < WRITERS; s++)); do
        write_on "$s" 3>&- 4>&- &
    done
    gap_of_quiet_writes 40 >"$SPECS/quiet"
    for ((i = 0; i < 20; i++)); do
        borgctl cell transfer-leader
        more_writes 4
    done
    figure "longest gap of writes over 20 transfers: $(longest_gap_ms) ms"
    (($(longest_gap_ms) < 1000 + $(cat "$SPECS/quiet")))
}

@test "a leader that is told to stop transfers leadership first" {
    local leader pid
    leader="$(leader_id)"
    pid="$(pid_of_replica "$leader")"
    kill -TERM "$pid"
    wait_until 10 is_gone "$pid"
    more_writes 10
    writers_end
    grep -q 'leader.handed_over' "$BORG_CELL/log/master$leader.log"
    figure "longest gap of writes, and a stop of the leader: $(longest_gap_ms) ms"
    (($(longest_gap_ms) < 1000 + $(cat "$SPECS/quiet")))
}

@test "every acknowledged job exists once, and no task was affected" {
    same "submits that failed" "" "$(awk '$2 != 0' "$SPECS"/acks.*)"
    same "jobs" "$(cut -d' ' -f1 "$SPECS"/acks.* | sort)" \
        "$(ask "SELECT name FROM jobs WHERE name LIKE 'load-%'" | sort)"
    same "submitted more than once" "" "$(ask "SELECT job_name FROM events WHERE kind =
        'submitted' GROUP BY job_name HAVING count(*) > 1")"
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    cell_up
    wait_until 20 replicas_agree 5
}
