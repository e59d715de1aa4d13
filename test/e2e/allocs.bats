#!/usr/bin/env bats
# allocs.bats - an alloc set reserves room, and the tasks of two jobs run inside.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --capacity cpu=2,ram=1Gi,disk=1Gi --user ada
}

teardown_file()
{
    cell_away
}

room() # NAME CPU
{
    printf '{name: "%s", priority: 200, alloc: {resources: {cpu: %s, ram: "256Mi"}}}' "$1" "$2" \
        >"$SPECS/$1.jsonnet"
    echo "$SPECS/$1.jsonnet"
}

inside() # NAME REPLICAS COMMAND
{
    spec "$1" 200 "$2" 500m "$3" '.alloc_set = "room"'
}

alloc_is() # STATE TASKS CPU_USED_MILLI
{
    sql_is "$1	$2	$3" "SELECT state, tasks, cpu_used_milli FROM alloc_list WHERE alloc = 'room/0'"
}

@test "an alloc set reserves room and runs nothing" {
    wait_until 20 replicas_agree 3
    wait_sql 20 2 "SELECT count(*) FROM machines WHERE state = 'up'"
    borgctl submit --wait "$(room room 1.5)"
    alloc_is running 0 0
    sql_is 1500 "SELECT sum(reserved_cpu_milli) FROM machines"
    sql_is 0 "SELECT pid FROM task_list WHERE task = 'room/0'"
    borgctl allocs room | grep -E '^room/0 +[^ ]+ +200 +running +m[12]'
}

@test "two jobs run inside, and others run elsewhere" {
    borgctl submit --wait "$(inside web 2 'exec sleep 1000')"
    borgctl submit --wait "$(inside db 1 'exec sleep 1000')"
    alloc_is running 3 1500
    sql_is 1500 "SELECT sum(reserved_cpu_milli) FROM machines"
    sql_is 1 "SELECT count(DISTINCT machine) FROM task_list WHERE state = 'running'"
    sql_is 3 "SELECT count(*) FROM task_list WHERE alloc = 'room/0' AND pid > 0"
    expect_exit 0 borgctl why web/0
    expect_text 'web/0: attempt 1 was placed on m[12] in alloc room/0, '
    expect_text 'chosen among the allocs of its set'
    borgctl submit "$(inside late 1 'exec sleep 1000')"
    wait_sql 20 "no alloc fits: 1 of 1 lacks cpu; no change of one resource would do" \
        "SELECT reason FROM jobs WHERE name = 'late'"
    borgctl why late --machines | grep -E '^ +1 lacks cpu +room/0$'
}

@test "a job that leaves makes room for one that waits" {
    borgctl kill db --wait
    wait_until 20 job_runs late 1
    alloc_is running 3 1500
}

@test "a drain moves the alloc and all tasks inside" {
    local from
    from="$(ask "SELECT machine FROM alloc_list WHERE alloc = 'room/0'")"
    borgctl --user root drain "$from" --wait
    wait_until 20 job_runs web 2
    wait_until 20 job_runs late 1
    alloc_is running 3 1500
    sql_is 0 "SELECT count(*) FROM task_list WHERE machine = '$from'"
    sql_is 3 "SELECT count(*) FROM event_list WHERE kind = 'evicted' AND cause = 'drain' AND
        job IN ('web', 'late')"
    # The alloc moved after the last of its tasks had stopped.
    sql_is 1 "SELECT count(*) FROM event_list e WHERE kind = 'evicted' AND task = 'room/0' AND
        seq > (SELECT max(seq) FROM event_list WHERE kind = 'evicted' AND job IN ('web', 'late'))"
}

@test "restarted masters know the tasks inside" {
    local before
    before="$(running_tasks)"
    borgctl cell down --dir "$BORG_CELL"
    cell_up --replicas 3 --borglets 2
    wait_until 20 replicas_agree 3
    wait_until 20 job_runs web 2
    still_there "$before"
    alloc_is running 3 1500
}

@test "when the set is killed, its jobs wait for another set of that name" {
    borgctl kill room --wait
    wait_sql 20 'alloc set "room" is gone' "SELECT reason FROM jobs WHERE name = 'web'"
    sql_is 0 "SELECT sum(task_count) FROM machines"
    borgctl submit --wait "$(room room 1.5)"
    wait_until 20 job_runs web 2
    wait_until 20 job_runs late 1
}
