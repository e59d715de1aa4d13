#!/usr/bin/env bats
# failover.bats - kill -9 of the leader while jobs are being submitted.
load lib.bash

SUBMITTERS=2
EACH=25

setup_file()
{
    cell_up --replicas 5 --borglets 3
}

teardown_file()
{
    cell_away
}

# Submit EACH jobs one after another; print a line "NAME EXIT-CODE END-MS" for each.
submit_many()
{
    local i name rc
    for ((i = 0; i < EACH; i++)); do
        name="load-$1-$i"
        rc=0
        # The job is too large for any machine: this tests the log and not the start of processes.
        borgctl --timeout 30 submit "$(spec "$name" 50 1 100 'exit 0')" >"$SPECS/$name.out" 2>&1 ||
            rc=$?
        echo "$name $rc $(now_ms)" >>"$SPECS/acks.$1"
    done
}

acks()
{
    cat "$SPECS"/acks.* 2>/dev/null | wc -l
}

enough_acks()
{
    (($(acks) >= $1))
}

@test "four tasks run" {
    wait_until 20 replicas_agree 5
    submit steady 200 4 50m 'exec sleep 1000'
    wait_until 20 job_runs steady 4
    running_tasks >"$SPECS/before"
}

@test "every submit succeeds although the leader is killed meanwhile" {
    local leader pid s
    leader="$(leader_id)"
    pid="$(pid_of_replica "$leader")"
    for ((s = 0; s < SUBMITTERS; s++)); do
        submit_many "$s" 3>&- 4>&- &
    done
    wait_until 30 enough_acks 10
    kill -KILL "$pid"
    echo "$leader" >"$SPECS/killed"
    wait
    same "submits that did not end with 0" "" \
        "$(awk '$2 != 0' "$SPECS"/acks.* | while read -r name rc _; do
            echo "$name: exit $rc: $(cat "$SPECS/$name.out")"; done)"
    figure "no submit was acknowledged for $(cut -d' ' -f3 "$SPECS"/acks.* | sort -n | awk '
        NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 } END { print gap }') ms" \
        "around a leader's death"
}

@test "another replica leads, and borgctl finds it" {
    [[ "$(leader_id)" != "$(cat "$SPECS/killed")" ]]
    wait_until 20 replicas_agree 4
}

@test "every acknowledged job exists exactly once" {
    same "jobs" "$(cut -d' ' -f1 "$SPECS"/acks.* | sort)" \
        "$(ask "SELECT name FROM jobs WHERE name LIKE 'load-%'" | sort)"
    same "submitted more than once" "" "$(ask "SELECT job_name FROM events WHERE kind =
        'submitted' GROUP BY job_name HAVING count(*) > 1")"
    same "tasks" $((SUBMITTERS * EACH)) "$(ask "SELECT count(*) FROM task_list
        WHERE job LIKE 'load-%'")"
}

@test "running tasks are not affected" {
    same "running tasks" "$(cat "$SPECS/before")" "$(running_tasks)"
    same "attempts" 4 "$(ask "SELECT count(*) FROM events WHERE kind = 'assigned' AND
        job_name = 'steady'")"
}

@test "the dead replica returns and has the same state" {
    cell_up --replicas 5 --borglets 3
    wait_until 20 replicas_agree 5
}
