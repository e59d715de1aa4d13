#!/usr/bin/env bats
# resize.bats - a running job gets new limits: in place where there is room, else task by task.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --capacity cpu=4,ram=1Gi,disk=1Gi
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    cell_away
}

limits_of() # JOB: "cpu_milli ram_bytes" of each task
{
    ask "SELECT cpu_milli || ' ' || ram_bytes FROM task_list WHERE job = '$1' ORDER BY idx"
}

@test "tasks with room for a new limit keep their processes" {
    submit web 200 2 1 'exec sleep 1000' '.max_disruptions = 1'
    wait_until 20 job_runs web 2
    local before
    before=$(running_tasks)
    borgctl update web --cpu 1500m --ram 64Mi
    same "limits" "1500 67108864
1500 67108864" "$(limits_of web)"
    borgctl update web --cpu 500m
    wait_sql 20 1000 'SELECT sum(reserved_cpu_milli) FROM machines'
    same "tasks" "$before" "$(running_tasks)"
    expect_exit 2 borgctl update web --cpu much
    expect_text '--cpu'
}

@test "diff tells in what a spec differs from the job that runs, and what a change takes" {
    local now='.max_disruptions = 1 | .task.resources.ram = "64Mi"'
    expect_exit 1 borgctl diff "$(spec web 200 2 1 'exec sleep 1000' '.max_disruptions = 1')"
    expect_text '^job web: differs$'
    expect_text '^  task.resources.cpu: "500m" -> "1"$'
    expect_text '^  task.resources.ram: "64Mi" -> "16Mi"$'
    expect_text 'borgctl update changes it'
    expect_no_text 'kill it'
    expect_exit 0 borgctl diff "$(spec web 200 2 500m 'exec sleep 1000' "$now")"
    expect_text '^job web: no difference$'
    now+=' | .task.env = {A: 1}'
    expect_exit 1 borgctl diff "$(spec web 200 3 500m 'exec sleep 1000' "$now")"
    expect_text '^  replicas: 2 -> 3$'
    expect_text '^  task.env: [{][}] -> [{]"A":"1"[}]$'
    expect_text 'kill it and submit it again'
    # The update that it speaks of does it.
    borgctl update web --replicas 3
    same "fields" 'task.env' "$(borgctl -o json diff "$SPECS/web.json" |
        jq -r '.[].differences[].path')"
    borgctl update web --replicas 2
    wait_until 20 job_runs web 2
    expect_exit 1 borgctl diff "$(spec nosuch 100 1 1 true)"
    expect_text '^job nosuch: does not run$'
    expect_exit 2 borgctl diff "$(spec web 200 3 nothing true)"
    expect_text 'task.resources.cpu'
}

@test "a borglet that was told of less starts who waited for the room" {
    submit fill 200 2 2500m 'exec sleep 1000'
    wait_until 20 job_runs fill 2
    submit wait 200 1 2500m 'exec sleep 1000'
    borgctl update fill --cpu 1
    wait_until 20 job_runs wait 1
    job_runs fill 2
}

@test "tasks without room move one at a time, and start with the new limit" {
    local fill
    fill=$(running_tasks | grep '^fill')
    borgctl update fill --replicas 1
    wait_sql 20 1 "SELECT count(*) FROM task_list WHERE job = 'fill' AND state = 'running'"
    borgctl kill wait --wait
    borgctl update web --cpu 3
    wait_sql 40 '3000 2' "SELECT min(cpu_milli) || ' ' || count(*) FROM task_list
        WHERE job = 'web' AND state = 'running' AND shape = 1"
    still_there "$(grep '^fill/0' <<<"$fill")"
    sql_is 0 "SELECT sum(failures) FROM task_list WHERE job = 'web'"
}

@test "limits survive a restart of the masters" {
    local before limits="SELECT id, cpu_milli, ram_bytes FROM jobs ORDER BY id"
    wait_until 20 replicas_agree 3
    before="$(ask "$limits")"
    borgctl cell down --dir "$BORG_CELL"
    cell_up
    wait_until 30 replicas_agree 3
    same "jobs" "$before" "$(ask "$limits")"
    wait_until 20 job_runs web 2
}
