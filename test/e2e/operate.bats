#!/usr/bin/env bats
# operate.bats - drain with a disruption budget, quotas, and changes to running jobs.
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
    borgctl -o json machines | jq -e --arg name "$1" --arg state "$2" \
        'any(.[]; .machine == $name and .state == $state)'
}

@test "only root may drain" {
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
    expect_exit 1 borgctl --user ada drain m1
    expect_text 'user "ada" may not drain or undrain a machine: only an operator of the cell may'
    expect_exit 1 as_root drain m9
    expect_text 'no machine "m9"'
    machine_is m1 up
}

@test "the tasks of a drained machine stop with notice and run elsewhere" {
    submit web 200 4 500m 'trap "exit 0" TERM; while :; do sleep 0.1; done'
    wait_until 20 job_runs web 4
    as_root drain m1 --wait
    machine_is m1 draining
    wait_until 20 job_runs web 4
    sql_is 4 "SELECT count(*) FROM task_list WHERE job = 'web' AND machine = 'm2'"
    sql_is 0 "SELECT sum(failures) FROM task_list WHERE job = 'web'"
}

@test "a quota refuses a job that exceeds it, and says by how much" {
    expect_exit 1 borgctl --user ada quota set ada production cpu=4
    expect_text 'may not set a quota: only an operator of the cell may'
    expect_exit 2 as_root quota set ada free cpu=1
    expect_text 'free work needs no quota'
    expect_exit 1 as_root quota set ada batch cpu=1,colour=1
    expect_text 'no machine ever offered "colour"'
    as_root quota set ada production cpu=1,ram=1Gi,tasks=10
    borgctl --user ada submit "$(spec shop 200 2 400m 'exec sleep 1000')"
    expect_exit 1 borgctl --user ada submit "$(spec shop2 200 1 400m 'exec sleep 1000')"
    expect_text 'over the quota of user "ada" in band production: cpu: used 800m, asked 400m,'
    expect_text 'asked 400m, granted 1;'
    same "quota" "800 1000 2 10" "$(borgctl --user ada -o json quota | jq -r '.[] |
        select(.user == "ada") | "\(.cpu_used_milli) \(.cpu_milli) \(.tasks_used) \(.tasks)"')"
    as_root quota clear ada production
    borgctl --user ada submit "$(spec shop2 200 1 400m 'exec sleep 1000')"
    borgctl --user ada quota | grep -E '^ada +production +3 '
}

@test "a drain evicts at most max_disruptions tasks of a job at a time" {
    as_root undrain m1
    machine_is m1 up
    borgctl kill web --wait
    borgctl kill shop --wait
    borgctl kill shop2 --wait
    as_root drain m2 --wait
    borgctl submit --wait "$(spec careful 200 3 500m \
        'trap "sleep 0.5; exit 0" TERM; while :; do sleep 0.1; done' '.max_disruptions = 1')"
    sql_is 3 "SELECT count(*) FROM task_list WHERE job = 'careful' AND machine = 'm1'"
    as_root undrain m2
    as_root drain m1 --wait
    wait_until 20 job_runs careful 3
    # Each eviction but the first came after the previous task ran again.
    sql_is 3 "SELECT count(*) FROM events WHERE job_name = 'careful' AND kind = 'evicting'"
    sql_is 0 "SELECT count(*) FROM events e WHERE job_name = 'careful' AND kind = 'evicting' AND
        (SELECT count(*) FROM events b WHERE b.job_name = 'careful' AND b.kind = 'evicting'
            AND b.seq < e.seq) >
        (SELECT count(*) FROM events b WHERE b.job_name = 'careful' AND b.kind = 'running'
            AND b.attempt > 1 AND b.seq < e.seq)"
}

@test "replicas of a running job grow and shrink, and the other tasks are not affected" {
    as_root undrain m1
    local before after
    before="$(running_tasks)"
    expect_exit 1 borgctl --user ada update careful --replicas 4
    expect_text 'only that user and an operator of the cell may update it'
    expect_exit 2 as_root update careful
    expect_text 'nothing to change'
    expect_exit 2 as_root update careful --replicas 0
    borgctl update careful --replicas 5
    wait_until 20 job_runs careful 5
    still_there "$before"
    borgctl update careful --replicas 2
    wait_sql 20 2 "SELECT running FROM job_list WHERE job = 'careful'"
    same "indexes" "0
1" "$(borgctl -o json tasks careful | jq '.[].index')"
    borgctl update careful --replicas 3
    wait_until 20 job_runs careful 3
    task_is careful 2 state running
    (($(task_field careful 2 attempt) >= 2))
    after="$(running_tasks)"
    same "tasks 0 and 1" "$(grep -E '^careful/[01] ' <<<"$before")" \
        "$(grep -E '^careful/[01] ' <<<"$after")"
}

@test "a change of priority restarts nothing and is checked against the quota" {
    local before
    before="$(running_tasks)"
    borgctl update careful --priority batch
    sql_is "100 batch" "SELECT priority || ' ' || band FROM job_list WHERE job = 'careful'"
    borgctl --user ada submit "$(spec hers 100 2 500m 'exec sleep 1000')"
    as_root quota set '*' production cpu=500m
    expect_exit 1 borgctl --user ada update hers --priority production
    expect_text 'in band production: cpu: used 0, asked 1, granted 500m'
    as_root quota clear '*' production
    borgctl --user ada update hers --priority 210 --replicas 1
    wait_sql 20 "210 1" "SELECT priority || ' ' || replicas FROM job_list WHERE job = 'hers'"
    still_there "$(grep '^careful/' <<<"$before")"
}

@test "drained machines, quotas and updates survive a restart of the masters" {
    as_root quota set ada batch tasks=7
    as_root drain m2
    wait_sql 20 0 "SELECT count(*) FROM tasks WHERE machine_id =
        (SELECT id FROM machines WHERE name = 'm2')"
    local before jobs="SELECT name, priority, replicas, task_count FROM jobs ORDER BY id"
    wait_until 20 replicas_agree 3
    before="$(ask "$jobs")"
    borgctl cell down --dir "$BORG_CELL"
    cell_up
    wait_until 30 replicas_agree 3
    wait_until 20 machine_is m2 draining
    wait_until 20 machine_is m1 up
    same "jobs" "$before" "$(ask "$jobs")"
    sql_is 7 "SELECT tasks FROM quotas WHERE user = 'ada' AND band = 'batch'"
    wait_until 20 job_runs careful 3
    wait_until 20 replicas_agree 3
}
