#!/usr/bin/env bats
# hold.bats - most machines become silent at once: none is declared down until an operator agrees.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 6 --user ada
    wait_until 20 replicas_agree 3
    wait_sql 20 6 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    cell_away
}

hold_is() # STATE
{
    [[ "$(status_json | jq -r .hold)" == "$1" ]]
}

leader_clock() # in ms
{
    status_json | jq '[.replicas[] | select(.role == "leader") | .clock_ms] | first // 0'
}

leader_clock_reaches() # MS
{
    (($(leader_clock) >= $1))
}

@test "the cell's policy is shown, and only root may set it" {
    same "policy" stranding-aware "$(borgctl cell policy)"
    expect_exit 1 borgctl --user ada cell policy worst-fit
    expect_text 'may not set the cell'
    expect_exit 2 borgctl --user root cell policy fastest
    borgctl --user root cell policy worst-fit
    same "policy" worst-fit "$(borgctl -o json cell policy | jq -r .policy)"
    submit web 200 6 50m 'exec sleep 1000'
    wait_until 20 job_runs web 6
    same "machines" 6 "$(running_tasks | cut -d' ' -f5 | sort -u | wc -l)"
}

@test "with five of six machines silent none is declared down, and status reports it" {
    local m since
    expect_exit 1 borgctl --user root cell release
    expect_text 'does not hold still'
    for m in m2 m3 m4 m5 m6; do
        kill -STOP "$(pid_of_borglet "$m")"
    done
    wait_until 20 hold_is on
    expect_exit 6 borgctl cell status
    expect_text 'became silent at once that none is declared down'
    since="$(leader_clock)"
    wait_until 20 leader_clock_reaches $((since + 1000)) # ten timer ticks of the leader
    same "machines up" 6 "$(ask "SELECT count(*) FROM machines WHERE state = 'up'")"
    same "tasks" 6 "$(ask "SELECT count(*) FROM task_list WHERE job = 'web' AND state = 'running'")"
}

@test "when the machines are back the hold ends by itself, and no task was restarted" {
    local m
    for m in m2 m3 m4 m5 m6; do
        kill -CONT "$(pid_of_borglet "$m")"
    done
    wait_until 20 hold_is off
    same "attempts" 6 "$(ask "SELECT sum(attempt) FROM task_list WHERE job = 'web'")"
    same "events" holding,hold-over "$(ask "SELECT group_concat(kind) FROM (SELECT kind FROM events
        WHERE kind LIKE 'hold%' ORDER BY seq)")"
}

@test "after a release the silent machines are declared down and their tasks move" {
    local m
    for m in m2 m3 m4 m5 m6; do
        kill -KILL "$(pid_of_borglet "$m")"
    done
    wait_until 20 hold_is on
    borgctl --user root cell release
    wait_sql 10 5 "SELECT count(*) FROM machines WHERE state = 'down'"
    wait_until 20 hold_is off
    wait_until 20 job_runs web 6
}
