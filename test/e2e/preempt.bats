#!/usr/bin/env bats
# preempt.bats - production tasks evict batch tasks from a full cell, with notice.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1 --capacity cpu=2,ram=1Gi,disk=1Gi
}

teardown_file()
{
    cell_away
}

# Print the index of the batch task in state $1.
batch_in_state()
{
    ask "SELECT idx FROM task_list WHERE job = 'crunch' AND state = '$1'" | grep -xE '[0-9]+'
}

@test "batch tasks fill the cell" {
    wait_until 20 replicas_agree 3
    submit crunch 100 2 1 \
        'trap "echo told to stop; exit 0" TERM; echo up; while :; do sleep 0.1; done'
    wait_until 20 job_runs crunch 2
    both_up()
    {
        [[ "$(borgctl logs crunch/0)$(borgctl logs crunch/1)" == upup ]]
    }
    wait_until 10 both_up
}

@test "a batch job of the same priority waits" {
    submit more 100 1 1 'exec sleep 1000'
    wait_sql 10 1 "SELECT count(*) FROM jobs WHERE name = 'more' AND reason <> ''"
    job_runs crunch 2
    borgctl why more | grep -E '^ +1 lacks cpu$'
    borgctl why more | grep -E '^ +1 work of no lower priority$'
    borgctl why more | grep -xF 'nearest: m1 lacks cpu 1'
    same "in the way" "m1 crunch/1 100 its priority is not lower" "$(borgctl -o json why more |
        jq -r '.evictions[] | .machine as $m | .victims[] |
            "\($m) \(.task) \(.priority) \(.reason)"')"
    same "counts" "1 1 1" "$(borgctl -o json why more |
        jq -r '"\(.machines) \([.reasons[].machines] | add) \([.in_the_way[].machines] | add)"')"
    borgctl kill more
    wait_until 10 job_is more killed
}

@test "a production job evicts one batch task" {
    submit urgent 200 1 1 'exec sleep 1000'
    wait_until 20 job_runs urgent 1
    local index
    index="$(batch_in_state pending)"
    batch_in_state running
    task_is crunch "$index" cause preempted
    borgctl why urgent/0 | grep -E "^crunch/$index +1 for urgent/0: priority 200 over 100\$"
    same "decision" "m1 [100] [1] crunch/$index" "$(borgctl -o json why urgent/0 | jq -r '
        .machine + " " + (.decision.scores[0]["highest priority evicted"] | tojson) + " " +
        (.decision.scores[1]["tasks evicted"] | tojson) + " " + .victims[0].task')"
    echo "$index" >"$SPECS/displaced"
}

@test "the evicted task had notice: SIGTERM came first" {
    same "log" "up
told to stop" "$(borgctl logs --attempt 1 "crunch/$(cat "$SPECS/displaced")")"
    wait_sql 5 1 "SELECT count(*) FROM events WHERE kind = 'evicted' AND cause = 'preempted'"
}

@test "while it waits, jobs shows the reason" {
    wait_sql 10 1 "SELECT count(*) FROM jobs WHERE name = 'crunch' AND reason LIKE '%cpu%'"
}

@test "production never evicts production" {
    submit second 200 2 1 'exec sleep 1000'
    wait_until 20 job_runs second 1
    wait_sql 10 1 "SELECT count(*) FROM jobs WHERE name = 'second' AND reason <> ''"
    job_runs urgent 1
    borgctl why second | grep -E \
        '^m1: would have to evict (urgent|second)/0 \(priority 200, production is never evicted\)$'
    borgctl kill second
    wait_until 10 job_is second killed
}

@test "after the production job has ended, all batch tasks run again" {
    borgctl kill urgent
    wait_until 20 job_runs crunch 2
    (($(task_field crunch "$(cat "$SPECS/displaced")" attempt) >= 2))
}

@test "any replica explains placements and waits of tasks that have ended" {
    same "attempts" "1 preempted 2 null" "$(borgctl -o json why \
        "crunch/$(cat "$SPECS/displaced")" --attempt 1 |
        jq -r '[.attempts[] | "\(.attempt) \(.cause)"] | join(" ")')"
    borgctl why urgent/0 | grep -E '^urgent/0: attempt 1 was placed on m1, '
    borgctl why more | grep -E ' no machine fits: 1 of 1 lacks cpu; no change of one resource'
    expect_exit 1 borgctl why urgent/0 --attempt 7
    expect_text 'the history has no attempt 7 of urgent/0'
    expect_exit 2 borgctl why urgent --attempt 1
    expect_text '--attempt needs a task'
    same "among" "all all all" "$(for replica in 1 2 3; do
        sqlite3 "file:$BORG_CELL/master$replica/cell.db?mode=ro" \
            "SELECT json_extract(detail, '\$.among') FROM events
             WHERE kind = 'assigned' AND job_name = 'urgent'"
    done | paste -sd' ')"
}

@test "all replicas have the same state" {
    wait_until 20 replicas_agree 3
}
