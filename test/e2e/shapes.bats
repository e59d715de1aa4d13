#!/usr/bin/env bats
# shapes.bats - each task gets the best of its shapes that fits, and finds it in its environment.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1 --capacity cpu=3,ram=1Gi,disk=1Gi
    wait_until 20 replicas_agree 3
    wait_sql 20 1 "SELECT count(*) FROM machines WHERE state = 'up'"
}

teardown_file()
{
    cell_away
}

told() # TASK TEXT
{
    grep -qxF -- "$2" <<<"$(borgctl logs "$1")"
}

@test "each task gets the best shape that fits, and finds it in its environment" {
    submit web 100 2 1 'echo $BORG_SHAPE $BORG_CPU_MILLI; exec sleep 1000' \
        '.task.resources = [{cpu: 2, ram: "64Mi"}, {cpu: 1, ram: "96Mi"}]'
    wait_until 20 job_runs web 2
    wait_until 20 told web/0 '1 2000'
    wait_until 20 told web/1 '2 1000'
    same "shapes" '1 2' "$(ask "SELECT group_concat(shape, ' ') FROM task_list WHERE job = 'web'")"
    expect_exit 0 borgctl why web/1
    expect_text 'web/1: attempt 1 was placed on m1 in shape 2, '
    same "shape of the decision" 2 "$(borgctl -o json why web/1 | jq .decision.shape)"
    same "reserved" 3000 "$(ask 'SELECT reserved_cpu_milli FROM machines')"
    same "shapes in JSON" 1 "$(borgctl -o json jobs web | jq '.[0].other_limits | length')"
}

@test "why explains each shape" {
    submit more 100 1 1 true '.task.resources = [{cpu: 2}, {cpu: "500m"}]'
    wait_sql 20 1 \
        "SELECT count(*) FROM job_list WHERE job = 'more' AND reason LIKE '%in shape 2: %'"
    expect_exit 0 borgctl why more
    expect_text 'in shape 1, cpu 2'
    expect_text 'in shape 2, cpu 500m'
    same "shapes in JSON" cpu "$(borgctl -o json why more |
        jq -r '.other_shapes[0].nearest[0].missing | keys[0]')"
}
