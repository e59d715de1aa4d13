#!/usr/bin/env bats
# gang.bats - gangs start all at once or not at all, and reserve nothing while they wait.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --capacity cpu=2,ram=1Gi,disk=1Gi
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    cell_away
}

reason_tells() # JOB TEXT
{
    grep -qF -- "$2" <<<"$(ask "SELECT reason FROM job_list WHERE job = '$1' AND NOT dead")"
}

@test "a gang that does not fit starts no task and reports how many would fit" {
    submit other 100 1 1 'exec sleep 1000'
    wait_until 20 job_runs other 1
    submit train 100 4 1 'exec sleep 1000' '.gang = true'
    wait_until 20 \
        reason_tells train '3 of 4 tasks would fit; the gang waits for all: 2 of 2 lack cpu'
    same "attempts" 0 "$(ask "SELECT sum(attempt) FROM task_list WHERE job = 'train'")"
    expect_exit 0 borgctl why train
    expect_text 'a gang, all start or none: 3 of the 4 pending tasks would have room now'
}

@test "when the missing room becomes free, all of its tasks start" {
    borgctl kill other
    wait_until 20 job_runs train 4
}

@test "a gang larger than one decision is refused" {
    expect_exit 2 borgctl submit "$(spec huge 100 1025 1 true '.gang = true')"
    expect_text 'replicas: 1025 are too many for a gang'
}

@test "a job on every machine runs once on each, and leaves a drained one" {
    borgctl kill train
    wait_until 20 job_is train killed
    submit logs 300 '"every-machine"' 100m 'exec sleep 1000'
    wait_until 20 job_runs logs 2
    same "its machines" "m1 m2" "$(ask "SELECT machine FROM task_list WHERE job = 'logs'
        AND state = 'running' ORDER BY machine" | paste -sd' ')"
    local index
    index="$(ask "SELECT idx FROM task_list WHERE job = 'logs' AND machine = 'm1'")"
    borgctl --user root drain m1
    wait_sql 20 unwanted "SELECT state FROM task_list WHERE task = 'logs/$index'"
    expect_exit 0 borgctl why "logs/$index"
    expect_text '1 is draining'
    borgctl --user root undrain m1
    wait_until 20 job_runs logs 2
}

@test "a machine that is added later gets its task" {
    cell_up --replicas 3 --borglets 3 --capacity cpu=2,ram=1Gi,disk=1Gi
    wait_until 20 job_runs logs 3
    same "tasks" 3 "$(borgctl -o json jobs | jq '.[] | select(.job == "logs") | .replicas')"
}
