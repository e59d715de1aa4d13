#!/usr/bin/env bats
# hold.bats - most machines fall silent at once: the cell holds still until it is told to go on.
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

@test "the cell's policy is shown, and set by root only" {
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

@test "five of six silent machines: nobody is declared down, and the cell says so" {
    local m
    expect_exit 1 borgctl --user root cell release
    expect_text 'does not hold still'
    for m in m2 m3 m4 m5 m6; do
        kill -STOP "$(pid_of_borglet "$m")"
    done
    wait_until 20 hold_is on
    expect_exit 6 borgctl cell status
    expect_text 'it holds still'
    sleep 1 # ten ticks of the leader
    same "machines up" 6 "$(ask "SELECT count(*) FROM machines WHERE state = 'up'")"
    same "tasks" 6 "$(ask "SELECT count(*) FROM task_list WHERE job = 'web' AND state = 'running'")"
}

@test "the machines are back: it goes on by itself, and nothing was restarted" {
    local m
    for m in m2 m3 m4 m5 m6; do
        kill -CONT "$(pid_of_borglet "$m")"
    done
    wait_until 20 hold_is off
    same "attempts" 6 "$(ask "SELECT sum(attempt) FROM task_list WHERE job = 'web'")"
    same "events" holding,hold-over "$(ask "SELECT group_concat(kind) FROM (SELECT kind FROM events
        WHERE kind LIKE 'hold%' ORDER BY seq)")"
}

@test "released, it declares them down and moves their tasks" {
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
