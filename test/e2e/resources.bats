#!/usr/bin/env bats
# resources.bats - gpus are assigned individually, and machines offer named resources.
load lib.bash

setup_file()
{
    cell_up --replicas 1 --borglets 2 --capacity cpu=4,ram=1Gi,disk=1Gi,gpu=2,tape=3
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

@test "machines offer gpus and named resources" {
    borgctl machines
    borgctl -o json machines | jq -e 'length == 2 and all(.[]; .gpu_capacity == 2000 and
        .gpu_free == 2000 and .named_capacity == {"tape": 3} and .named_free == {"tape": 3})'
}

@test "a task gets the numbers of its gpus, and no other task has them" {
    submit whole 200 3 50m 'echo "gpus=$BORG_GPUS cuda=$CUDA_VISIBLE_DEVICES"; exec sleep 1000' \
        '.task.resources.gpu = 1'
    wait_until 20 job_runs whole 3
    same "gpus in use" 3 "$(ask "SELECT count(DISTINCT machine || gpus) FROM task_list
        WHERE job = 'whole'")"
    local number
    number=$(ask "SELECT gpus FROM task_list WHERE task = 'whole/0'" | tr -d '[]')
    same "what whole/0 was told" "gpus=$number cuda=$number" "$(borgctl logs whole/0)"
}

@test "shares of one gpu add up, and a task without a gpu sees none" {
    submit share 200 2 50m 'exec sleep 1000' '.task.resources.gpu = "500m"'
    submit none 200 1 50m 'echo "cuda=$CUDA_VISIBLE_DEVICES"; exec sleep 1000'
    wait_until 20 job_runs share 2
    wait_until 20 job_runs none 1
    same "devices shared" 1 "$(ask "SELECT count(DISTINCT machine || gpus) FROM task_list
        WHERE job = 'share'")"
    same "what none/0 was told" "cuda=" "$(borgctl logs none/0)"
    submit late 200 1 50m 'exec sleep 1000' '.task.resources.gpu = "100m"'
    wait_until 20 reason_tells late "2 of 2 lack gpu"
}

@test "named resources are counted, and one that no machine has is refused" {
    submit dump 200 3 50m 'exec sleep 1000' '.task.resources.tape = 2'
    wait_until 20 job_runs dump 2
    wait_until 20 reason_tells dump "2 of 2 lack tape; would fit with tape 1 instead of 2"
    borgctl why dump --machines | grep -F "lacks tape"
    expect_exit 1 borgctl submit "$(spec robots 200 1 50m 'true' '.task.resources.robot = 1')"
    expect_text 'no machine ever offered "robot"'
    expect_text 'there are: tape'
}

@test "a quota limits them" {
    borgctl quota set "$(id -un)" production gpu=5,tape=7
    expect_exit 1 borgctl submit "$(spec more 200 2 50m 'true' '.task.resources.tape = 1')"
    borgctl -o json quota | jq -e '.[] | select(.band == "production") |
        .named == {"tape": 7} and .named_used == {"tape": 6} and .gpu_milli == 5000'
}

@test "the usage of tasks is measured and reported" {
    submit busy 200 1 50m 'while :; do :; done'
    wait_until 20 job_runs busy 1
    wait_sql 40 1 "SELECT count(*) FROM task_list WHERE task = 'busy/0' AND used_cpu_milli > 100
        AND used_ram_bytes > 100000 AND kept_cpu_milli = 50 AND kept_ram_bytes = 16777216"
    wait_sql 20 1 "SELECT count(*) FROM machine_list WHERE used_cpu_milli > 100"
}
