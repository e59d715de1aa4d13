#!/usr/bin/env bats
# status.bats - cell status reports what is wrong and what to do.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 1
}

teardown_file()
{
    cell_away
}

healthy()
{
    borgctl cell status
}

@test "a healthy cell gives exit code 0 and the state of every master" {
    wait_until 20 replicas_agree 3
    wait_until 20 healthy
    status_json | jq -e '.healthy and .problems == [] and ([.replicas[] | select(
        .lag == 0 and .disk_free_bytes > 0 and .disk_bytes > .disk_free_bytes and
        .state_bytes > 100000 and .stored_index >= .commit_index and .store_behind_ms < 5000 and
        .disk_silent_ms < 20000 and .error == null)] | length) == 3'
}

@test "dead and hanging masters are distinguished, and the exit code is 6" {
    local follower pid
    follower=$(($(leader_id) % 3 + 1))
    pid="$(pid_of_replica "$follower")"
    kill -STOP "$pid"
    expect_exit 6 borgctl cell status
    expect_text "!! 2 of 3 masters answer: losing one more stops the cell"
    expect_text "!! replica $follower .* cannot be reached: .*answer"
    expect_text "the process hangs"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    says_refused()
    {
        expect_exit 6 borgctl cell status &&
            expect_text "!! replica $follower .* connection refused"
    }
    wait_until 5 says_refused # the kernel may still reset waiting connections
    expect_exit 6 borgctl cell status
    expect_text "it is not running"
    expect_exit 6 borgctl -o json cell status
    jq -e --argjson id "$follower" '(.healthy | not) and ([.problems[].replica] | index($id))
        and (.replicas[] | select(.id == $id) | .role == "unreachable" and .lag == null)' \
        <<<"$output"
}

@test "without a quorum status says so and exits with 3" {
    local pid
    pid="$(pid_of_replica "$(leader_id)")"
    kill -KILL "$pid"
    wait_until 5 is_gone "$pid"
    no_quorum()
    {
        expect_exit 3 borgctl cell status
    }
    wait_until 10 no_quorum
    expect_exit 3 borgctl cell status
    expect_text '!! 1 of 3 masters answer, 2 are needed'
    cell_up
    wait_until 20 healthy
}
