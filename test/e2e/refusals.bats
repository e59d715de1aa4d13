#!/usr/bin/env bats
# refusals.bats - a refusal says what, where and why, with the documented exit code.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --capacity cpu=2,ram=1Gi,disk=1Gi
    wait_until 20 replicas_agree 3
}

teardown_file()
{
    cell_away
}

@test "a job that can never fit stays pending, with the reason" {
    submit huge 200 1 64 'exit 0'
    reason_told()
    {
        borgctl -o json jobs | jq -e '.[] | select(.job == "huge") | .state == "pending" and
            .pending == 1 and (.reason | test("cpu"))'
    }
    wait_until 15 reason_told
    borgctl jobs huge | grep -i cpu || borgctl job huge | grep -i cpu
}

@test "why counts machines by the missing resource and names the change that would help" {
    why_told()
    {
        borgctl -o json why huge/0 --machines | jq -e '.pending == 1 and .machines == 2 and
            (.reasons | length) == 1 and .reasons[0].reason == "lacks cpu" and
            .reasons[0].machines == 2 and (.reasons[0].names | sort) == ["m1", "m2"] and
            .change == {resource: "cpu", amount: 2000, machines: 2}'
    }
    wait_until 15 why_told
    borgctl why huge | grep -E '^ +2 +lacks cpu'
    borgctl why huge | grep -F 'fits on 2 machines with cpu 2 instead of 64'
    borgctl why huge | grep -E '^nearest: m[12] lacks cpu 62; m[12] lacks cpu 62$'
    expect_exit 1 borgctl why nobody
    expect_text 'nobody'
    expect_exit 1 borgctl why huge/7
    expect_text 'no task 7'
}

@test "every mistake of a malformed spec is listed with its path, and nothing is sent" {
    cat >"$SPECS/wrong.json" <<'END'
{"name": "Not A Name", "priority": 451, "replicas": 0, "surprise": 1,
 "task": {"command": [], "resources": {"cpu": "lots", "ram": -1}, "restart": "sometimes"}}
END
    expect_exit 2 borgctl submit "$SPECS/wrong.json"
    expect_text 'name'
    expect_text 'priority'
    expect_text 'replicas'
    expect_text 'surprise'
    expect_text 'task\.command'
    expect_text 'task\.resources\.cpu'
    expect_text 'task\.resources\.ram'
    expect_text 'task\.restart'
    same "jobs" 0 "$(ask "SELECT count(*) FROM jobs WHERE name <> 'huge'")"
}

@test "a syntax error in Jsonnet is reported with its line" {
    printf '{\n  name: "x",\n  task: {{\n}\n' >"$SPECS/broken.jsonnet"
    expect_exit 2 borgctl submit "$SPECS/broken.jsonnet"
    expect_text 'broken\.jsonnet:[0-9]+'
}

@test "a missing file is refused" {
    expect_exit 2 borgctl submit "$SPECS/nothing.json"
    expect_text 'nothing\.json'
}

@test "the name of a live job is refused" {
    submit taken 100 1 10m 'exec sleep 1000'
    expect_exit 1 borgctl submit "$SPECS/taken.json"
    expect_text 'taken'
    same "jobs of that name" 1 "$(ask "SELECT count(*) FROM jobs WHERE name = 'taken'")"
}

@test "why of a running job reports its state" {
    runs()
    {
        borgctl -o json why taken | jq -e '.pending == 0 and .tasks[0].state == "running" and
            (.tasks[0].machines | test("^m[12]$"))'
    }
    wait_until 15 runs
    borgctl why taken | grep -F 'taken: nothing is pending'
}

@test "an unknown job is refused" {
    expect_exit 1 borgctl kill nobody
    expect_text 'nobody'
    expect_exit 1 borgctl logs nobody/0
    expect_text 'nobody'
}

@test "wrong command lines exit with 2" {
    expect_exit 2 borgctl
    expect_exit 2 borgctl frobnicate
    expect_exit 2 borgctl jobs --frobnicate
    expect_exit 2 borgctl kill
    expect_exit 2 borgctl -o xml jobs
}

@test "queries are read-only single statements, and errors name the mistake" {
    expect_exit 1 borgctl query "DELETE FROM jobs"
    expect_exit 1 borgctl query "SELECT nothing FROM jobs"
    expect_text 'nothing'
    expect_exit 1 borgctl query "ATTACH '/tmp/x' AS x"
    expect_exit 1 borgctl query "SELECT 1; DELETE FROM jobs"
    expect_exit 1 borgctl query "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT count(*) FROM n"
    expect_exit 1 borgctl query "PRAGMA journal_mode = DELETE"
    same "jobs" 2 "$(ask "SELECT count(*) FROM jobs")"
}

@test "a missing cell is reported" {
    expect_exit 1 borgctl --cell "$SPECS/no-such-cell" jobs
    expect_text 'no-such-cell'
}

@test "all replicas have the same state" {
    wait_until 20 replicas_agree 3
}
