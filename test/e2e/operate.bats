#!/usr/bin/env bats
# operate.bats - drain with a budget, quotas, and jobs changed while they run.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --capacity cpu=4,ram=1Gi,disk=1Gi --user ada
}

teardown_file()
{
    cell_away
}

as_root()
{
    borgctl --user root "$@"
}

machine_is() # MACHINE STATE
{
    [[ "$(borgctl -o json machines | jq -r --arg m "$1" '.[] | select(.machine == $m) | .state')" == "$2" ]]
}

@test "only root drains" {
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
    expect_exit 1 borgctl --user ada drain m1
    expect_text 'user "ada" may not drain a machine: only "root" may'
    expect_exit 1 as_root drain m9
    expect_text 'no machine "m9"'
    machine_is m1 up
}

@test "a drained machine is emptied, with notice, and its tasks run elsewhere" {
    submit web 200 4 500m 'trap "exit 0" TERM; while :; do sleep 0.1; done'
    wait_until 20 job_runs web 4
    as_root drain m1 --wait
    machine_is m1 draining
    wait_until 20 job_runs web 4
    sql_is 4 "SELECT count(*) FROM task_list WHERE job = 'web' AND machine = 'm2'"
    sql_is 0 "SELECT sum(failures) FROM task_list WHERE job = 'web'"
}
