#!/usr/bin/env bats
# constraints.bats - placement constraints: pinned tasks, spreads over racks, impossible ones.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 3 --attr zone=z1
    wait_until 20 replicas_agree 3
    wait_sql 20 3 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    cell_away
}

machines_of() # JOB
{
    ask "SELECT machine FROM task_list WHERE job = '$1' AND state = 'running' ORDER BY idx" |
        paste -sd' '
}

reason_of() # JOB
{
    ask "SELECT reason FROM job_list WHERE job = '$1' AND NOT dead"
}

reason_tells() # JOB TEXT
{
    grep -qF -- "$2" <<<"$(reason_of "$1")"
}

@test "machines list their attributes" {
    local attributes='.[] | select(.machine == "m2") | .attributes'
    borgctl machines
    borgctl -o json machines | jq -e "$attributes"' | .rack == "r2" and .zone == "z1"
        and (.os | length > 0) and (.arch | length > 0) and (.kernel | length > 0)
        and (.hostname | length > 0) and (.cpus | tonumber > 0)'
    same "racks" "m1=r1 m2=r2 m3=r3" "$(ask "SELECT name || '=' || value FROM machines JOIN
        machine_attributes ON machine_id = id WHERE key = 'rack' ORDER BY name" | paste -sd' ')"
}

@test "a job is pinned to a machine" {
    submit pinned 200 3 50m 'exec sleep 1000' '.task.constraints = ["machine = m2"]'
    wait_until 20 job_runs pinned 3
    same "its machines" "m2 m2 m2" "$(machines_of pinned)"
}

@test "a job is spread over the racks within its maximum" {
    submit spread 200 4 50m 'exec sleep 1000' '.task.spread = [{by: "rack", max: 1}]'
    wait_until 20 job_runs spread 3
    wait_until 20 reason_tells spread "3 of 3 are full with 1 per rack"
    same "its machines" "m1 m2 m3" "$(machines_of spread | tr ' ' '\n' | sort | paste -sd' ')"
}

@test "a soft constraint is met where possible and does not delay the job elsewhere" {
    submit wish 200 2 50m 'exec sleep 1000' \
        '.task.constraints = [{prefer: "rack = r3", weight: 50}, {prefer: "gpu exists"}]'
    wait_until 20 job_runs wish 2
    same "its machines" "m3 m3" "$(machines_of wish)"
}

@test "an unsatisfiable constraint is named as the reason" {
    submit ssd 200 1 50m 'exec sleep 1000' '.task.constraints = ["zone = z1", "ssd exists"]'
    wait_until 20 reason_tells ssd "3 of 3 fail ssd exists"
    task_is ssd 0 state pending
}

@test "a job goes to the rack of the job it wants to be near, and another stays away from it" {
    submit guest 200 2 50m 'exec sleep 1000' '.task.constraints = ["rack near host"]'
    wait_until 20 reason_tells guest "3 of 3 have no host in their rack"
    submit host 200 1 50m 'exec sleep 1000' '.task.constraints = ["machine = m3"]'
    wait_until 20 job_runs guest 2
    same "its machines" "m3 m3" "$(machines_of guest)"
    submit lonely 200 1 50m 'exec sleep 1000' \
        '.task.constraints = ["machine apart late", "machine = m1"]'
    wait_until 20 job_runs lonely 1
    submit late 200 1 50m 'exec sleep 1000' '.task.constraints = ["machine = m1"]'
    wait_until 20 reason_tells late "1 of 3 is kept free of it by lonely"
    borgctl why late | grep -F '1 is kept free of it by lonely'
    borgctl kill lonely
    wait_until 20 job_runs late 1
}

@test "a malformed constraint is refused with its path" {
    expect_exit 2 borgctl submit "$(spec bad 200 1 50m true \
        '.task.constraints = ["rack == r1"] | .task.spread = [{by: "rack"}]')"
    expect_text 'task.constraints\[0\]: "rack == r1": "==" is none of'
    expect_text 'task.spread\[0\]: says neither max nor weight'
}

@test "a borglet that returns with the attribute makes the task run" {
    local pid before
    before="$(running_tasks | grep -v '^ssd/')"
    pid="$(pid_of_borglet m1)"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    cell_up --replicas 3 --borglets 3 --attr ssd=yes
    wait_until 20 job_runs ssd 1
    same "its machine" m1 "$(machines_of ssd)"
    same "attributes" "ssd=yes zone=z1" "$(ask "SELECT key || '=' || value
        FROM machine_attributes JOIN machines ON machine_id = id
        WHERE name = 'm1' AND key IN ('ssd', 'zone') ORDER BY key" | paste -sd' ')"
    same "machines with an ssd" 1 "$(ask "SELECT count(*) FROM machine_attributes
        WHERE key = 'ssd'")"
    same "other tasks" "$before" "$(running_tasks | grep -v '^ssd/')"
}

@test "a master that starts from its database knows the attributes" {
    local id pid
    id="$(live_replica_ids | head -1)"
    pid="$(pid_of_replica "$id")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    cell_up --replicas 3 --borglets 3
    wait_until 20 replicas_agree 3
}
