#!/usr/bin/env bats
# whose.bats - ownership of jobs, names, logs and priorities; rights and revocations.
load lib.bash

setup_file()
{
    cell_up --replicas 3 --borglets 2 --capacity cpu=4,ram=1Gi,disk=1Gi --user ada
    cell_up --user eve
    # Rights that `cell up` grants to other users are taken away again by the operator.
    borgctl ungrant eve production monitoring
}

teardown_file()
{
    cell_away
}

as_ada()
{
    borgctl --user ada "$@"
}

as_eve()
{
    borgctl --user eve "$@"
}

@test "the user who makes a cell is its operator, and the users he names may use every band" {
    wait_until 20 replicas_agree 3
    me="$(id -un)"
    [[ "$me" == root ]] || same "rights" "operator" "$(borgctl -o json identities |
        jq -r --arg me "user/$me" '.[] | select(.identity == $me).rights')"
    borgctl drain m2
    borgctl undrain m2
    same "rights" "production monitoring" "$(borgctl -o json identities |
        jq -r '.[] | select(.identity == "user/ada").rights')"
    before="$(ask "SELECT count(*) FROM events WHERE kind = 'identity'")"
    borgctl cell up
    same "nothing was said twice" "$before" \
        "$(ask "SELECT count(*) FROM events WHERE kind = 'identity'")"
}

@test "others can neither change nor kill a job nor take its name; an operator can" {
    as_ada submit --wait "$(spec web 200 1 100m 'echo secret; exec sleep 1000')"
    expect_exit 1 as_eve kill web
    expect_text 'job "web": it is of user "ada": only that user and an operator of the cell may'
    expect_exit 1 as_eve update web --replicas 3
    expect_text 'only that user and an operator of the cell may update it'
    expect_exit 1 as_eve submit "$(spec web 50 1 100m 'true')"
    expect_text 'job "web" of user "ada" exists and is live; choose another name'
    job_runs web 1
    as_ada submit "$(spec brief 50 1 100m 'exec sleep 1000')"
    borgctl kill brief --wait
    expect_exit 1 as_eve submit "$(spec brief 50 1 100m 'true')"
    expect_text 'was a job of user "ada", and the name stays with that user'
    as_ada submit "$(spec brief 50 1 100m 'exec sleep 1000')"
    same "who" "by ada
by $(id -un)
by ada" "$(ask "SELECT detail FROM events WHERE job_name = 'brief' AND
        kind IN ('submitted', 'killing') ORDER BY seq")"
}

@test "the job's user, readers and operators can read logs and ask why" {
    same "log" "secret" "$(as_ada logs web)"
    same "log" "secret" "$(borgctl logs web)"
    expect_exit 1 as_eve logs web
    expect_text 'only that user, a reader and an operator of the cell may read its logs'
    as_ada submit "$(spec large 50 1 64 'exec sleep 1000')"
    wait_sql 20 1 "SELECT count(*) FROM jobs WHERE name = 'large' AND reason <> ''"
    as_ada why large >/dev/null
    expect_exit 1 as_eve why large
    expect_text 'only that user, a reader and an operator of the cell may ask why'
    borgctl grant eve reader
    eve_reads() { [[ "$(as_eve logs web)" == secret ]]; }
    wait_until 10 eve_reads
    as_eve why large >/dev/null
    expect_exit 1 as_eve kill web
    # A machine that starts while no master answers still knows the readers.
    borgctl ungrant eve reader
    eve_is_refused() { ! as_eve logs web; }
    wait_until 10 eve_is_refused
}

@test "production and monitoring are closed to users without a grant" {
    expect_exit 1 as_eve submit "$(spec shop 200 1 100m 'exec sleep 1000')"
    expect_text 'the band production, which is closed to user "eve": an operator of the cell may'
    expect_text 'borgctl grant eve production'
    as_eve submit "$(spec shop 119 1 100m 'exec sleep 1000')"
    expect_exit 1 as_eve update shop --priority monitoring
    expect_text 'borgctl grant eve monitoring'
    expect_exit 1 as_eve grant eve production
    expect_text 'only an operator of the cell may'
    borgctl quota set eve production tasks=1,cpu=1
    as_eve update shop --priority production
    as_ada submit "$(spec watch 400 1 100m 'exec sleep 1000')"
    same "history" "eve production cpu=1 tasks=1, by $(id -un)" \
        "$(ask "SELECT detail FROM events WHERE kind = 'quota'")"
}

@test "an operator revokes certificates and makes them valid again" {
    expect_exit 1 as_ada revoke eve
    expect_exit 1 borgctl revoke root
    expect_text 'cannot be revoked'
    expect_exit 2 borgctl revoke 'e v e'
    expect_exit 2 borgctl grant eve everything
    expect_exit 2 borgctl grant borglet/m1 reader
    borgctl revoke borglet/m9
    same "revoked" "borglet/m9" "$(borgctl -o json identities |
        jq -r '.[] | select(.revoked_ms != null).identity')"
    borgctl unrevoke borglet/m9
    same "revoked" "" "$(borgctl -o json identities |
        jq -r '.[] | select(.revoked_ms != null).identity')"
}

@test "rights and revocations survive a restart of all masters and machines" {
    borgctl grant eve reader
    borgctl revoke borglet/m9
    before="$(borgctl -o json identities)"
    borgctl cell down
    # Rights that an operator took away are not granted again by `cell up`.
    borgctl cell up
    same "identities" "$before" "$(borgctl -o json identities)"
    wait_until 20 replicas_agree 3
    job_runs web 1
    same "log" "secret" "$(as_eve logs web)"
    expect_exit 1 as_eve kill web
}
